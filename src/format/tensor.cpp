#include <headrace/tensor.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace headrace {

std::string to_string(Shape shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::string_view to_string(Encoding encoding) noexcept {
  switch (encoding) {
    case Encoding::plain: return "plain";
    case Encoding::byte_swapped: return "byte_swapped";
    case Encoding::strided: return "strided";
    case Encoding::affine: return "affine";
    case Encoding::joined: return "joined";
    case Encoding::scaled: return "scaled";
  }
  return "unknown";
}

}  // namespace headrace
