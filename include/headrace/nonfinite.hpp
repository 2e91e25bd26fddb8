// Nonfinite: what becomes of numbers that a type can't hold.
#pragma once

#include <cstdint>

namespace headrace {

/// What to do with numbers that the wanted type can't represent: NaN or infinity in a tensor to be quantised,
/// a finite number that a cast would turn into infinity or NaN.
enum class Nonfinite : std::uint8_t {
  refuse,  ///< stop with an Error(value) naming the tensor and its first such element
  keep,    ///< take what the type's conversion makes of it
};

}  // namespace headrace
