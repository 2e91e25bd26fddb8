// Stored: how a tensor lies in its file where its bytes there aren't simply its elements. See Encoding.
#pragma once

#include <headrace/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

namespace headrace::format {

/// Encoding::strided. Element (i, j, …) lies i × strides[0] + j × strides[1] + … elements after the tensor's offset.
/// The reader of the header has checked that all of them lie inside the file.
struct Strided {
  std::vector<std::uint64_t> strides;  // of each dimension, in elements; 0 repeats
  bool swapped = false;                // and each element is in the other byte order
};

/// Encoding::affine, as TensorFlow.js has it: the tensor's numbers are stored × scale + min, computed in double. Where
/// `stored` is F16 they are just widened.
struct Affine {
  DType stored = DType::U8;  // U8, U16 or F16
  double scale = 1, min = 0;
};

using Stored = std::variant<Strided, Affine>;

}  // namespace headrace::format
