// Retyping: numbers of one element type become numbers of another, in memory.
//
// The same codecs as in a conversion, so the same bytes. Thread-safety: pure functions; any threads at once.
#pragma once

#include <headrace/dtype.hpp>
#include <headrace/nonfinite.hpp>

#include <cstddef>
#include <span>

namespace headrace {

/// True for every type whose numbers can be read: all but C64, STRING and ggml's two internal ones.
bool can_read(DType dtype) noexcept;
/// True for every type that numbers can be turned into: of those, all but integers, BOOL and the IQ types with a grid.
bool can_make(DType dtype) noexcept;

/// Turns the numbers of `from` in `src` into as many of `to` in `dst`, rounding to nearest even where a float type is
/// narrower, and quantising without weights. Integers of more than 24 bits are rounded to float32 first. Where both
/// types are the same, the bytes are copied.
/// Bytes are little-endian and need no alignment; the two must not overlap. Sets the floating-point mode for itself.
/// Throws Error: invalid_argument (`from` can't be read or `to` made; `src` is no whole number of blocks of both, or
/// `dst` not exactly what it takes), value (see Nonfinite; names the element by its index in `src`). After a throw the
/// contents of `dst` are unspecified.
void retype(DType from, std::span<const std::byte> src, DType to, std::span<std::byte> dst,
            Nonfinite nonfinite = Nonfinite::refuse);

}  // namespace headrace
