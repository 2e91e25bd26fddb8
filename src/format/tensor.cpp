#include <headrace/tensor.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace headrace {

std::string to_string(Shape shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace headrace
