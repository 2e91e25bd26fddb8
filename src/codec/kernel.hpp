// The shape of a codec's inner functions, and the row that joins them for one element type.
//
// Thread-safety: pure functions and constant data.
#pragma once

#include <headrace/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace headrace::codec {

/// Bytes of one type to float32. `src` needs no alignment; `elements` is a whole number of blocks.
using DecodeFn = void (*)(const std::byte* src, float* dst, std::size_t elements);
/// float32 to the bytes of one type. `dst` needs no alignment; `elements` is a whole number of blocks.
using EncodeFn = void (*)(const float* src, std::byte* dst, std::size_t elements);

/// How much each number of a run matters: an encoder that searches for a scale then minimises the weighted error.
struct Weights {
  const float* of;  ///< one a number, beside the source; finite and not negative
  /// One for each 32 numbers: the mean of the squares of their whole row, summed in float32 in the row's order. Only
  /// Q4_0 to Q5_1 ask for it; null for the others.
  const float* row_mean_squares;
};
/// The same as EncodeFn with an importance matrix's weights.
using WeightedEncodeFn = void (*)(const float* src, Weights weights, std::byte* dst, std::size_t elements);

/// Magnitudes (float32 bits without the sign, so NaN is above infinity) that a type can't represent: those from
/// `first` to `last`. When first > last there is nothing it can't.
struct BadRange {
  std::uint32_t first, last;
  bool positive_only = false;  ///< nor can it represent zero and negative numbers
};

struct Kernels {
  DecodeFn decode;
  EncodeFn encode;                             ///< null when numbers of the type are never made
  WeightedEncodeFn encode_weighted = nullptr;  ///< null when weights make no difference
};

/// A row of the table of codecs.
struct Row {
  DType dtype;
  BadRange bad;         ///< what the check looks for when encoding to this type
  Kernels fast;         ///< vectorised for the processor at hand, where that pays
  Kernels scalar;       ///< the readable reference, which `fast` must equal byte for byte
  DecodeFn decode_odd;  ///< rounds to odd, for a narrower rounding to follow; same as fast.decode where that is exact
};

/// The types so far. A new type is a new row here (table.cpp), and nothing else changes.
std::span<const Row> all_rows() noexcept;
/// Null for a type without a codec.
const Row* find_row(DType dtype) noexcept;

}  // namespace headrace::codec
