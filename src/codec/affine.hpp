// Affine: small integers that stand for a range of numbers, as TensorFlow.js stores quantised weights.
//
// Source: tfjs-core's io_utils.ts, whose results these are, number for number.
#pragma once

#include <headrace/dtype.hpp>

#include <cstddef>

namespace headrace::codec {

/// Decodes `n` numbers of type `stored` (U8, U16 or F16) to type `to` (F32, or I32 where `stored` is no F16).
///
/// An integer v stands for v × scale + min, computed in double. F32 is that rounded to the nearest. I32 is it rounded
/// to the nearest integer, halves upwards, then cut to its low 32 bits, 0 for NaN and infinity: what JavaScript's
/// Math.round and an Int32Array make of it. F16 is only widened; `scale` and `min` don't matter then.
///
/// `in` and `out` need no alignment and must not overlap, but for one case: `in` may be the end of `out`, so that a
/// buffer of n × 4 bytes, filled from behind, is decoded in place. Thread-safe: it keeps no state.
void decode_affine(DType stored, double scale, double min, DType to, const std::byte* in, std::byte* out,
                   std::size_t n) noexcept;

}  // namespace headrace::codec
