// The other byte order: numbers and blocks written by machines that put the high byte first.
//
// Source: ggml's block structs (ggml-common.h), and for those whose bytes are written through wider integers, the code
// that writes them (ggml-quants.c).
#pragma once

#include <headrace/dtype.hpp>

#include <cstddef>
#include <span>

namespace headrace::codec {

/// Turns each number in `bytes` round, in place: elements of a scalar type (of C64 both parts), the fields of more than
/// one byte in a block. Types made of single bytes stay as they are. Applied twice it changes nothing.
/// `bytes` is a whole number of elements or blocks and needs no alignment. Thread-safe: it keeps no state.
void swap_byte_order(DType dtype, std::span<std::byte> bytes) noexcept;

}  // namespace headrace::codec
