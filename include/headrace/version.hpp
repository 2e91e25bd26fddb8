// The version of this library, as the build file states it.
#pragma once

namespace headrace {

/// "0.1.0". Static storage.
const char* version() noexcept;

}  // namespace headrace
