// The errors of a change of type, as callers of the library see them.
#pragma once

#include <headrace/dtype.hpp>
#include <headrace/error.hpp>

#include <cstdint>

namespace headrace::codec {

/// Throws Error(invalid_argument), with `where` in it, unless the types are the same or one can be read and the other
/// made.
void require_pair(DType from, DType to, ErrorDetail where);

/// Throws Error(value), with `where` in it: element `element` has a value that `to` can't represent.
[[noreturn]] void refuse_value(std::uint64_t element, double value, DType to, ErrorDetail where);

}  // namespace headrace::codec
