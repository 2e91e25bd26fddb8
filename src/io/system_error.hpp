// The one place where errno becomes an Error.
#pragma once

#include <headrace/error.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace headrace::io {

/// An Error for the system call that has just failed with `number`: `what` says what was being done ("read",
/// "create the output"). A full disk or quota is Error(no_space), an existing file Error(conflict), all else Error(io).
Error system_error(int number, const std::string& what, const std::string& file,
                   std::optional<std::uint64_t> offset = std::nullopt);

}  // namespace headrace::io
