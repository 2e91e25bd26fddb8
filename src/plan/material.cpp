#include "plan/material.hpp"

namespace headrace::plan {

std::vector<Range> Material::ranges_of(std::size_t i) const {
  if (const Derived* made = derived_of(i)) return made->ranges;
  return {{first_of(i), 0, source_of(i).elements}};
}

std::uint64_t Material::bytes_in_inputs(std::size_t i, std::uint64_t elements) const noexcept {
  const TensorInfo& source = source_of(i);
  if (elements == source.elements && !derived_of(i)) return source.bytes;  // only the data tells how long texts are
  return bytes_of(at(first_of(i)).dtype, elements).value_or(0);
}

std::size_t Material::memory_of_lists() const noexcept {
  std::size_t bytes = origins.capacity() * sizeof(Origin) + derived.capacity() * sizeof(Derived);
  for (const Derived& made : derived) bytes += made.ranges.capacity() * sizeof(Range);
  return bytes;
}

std::size_t memory_of(const std::vector<Source>& sources) noexcept {
  std::size_t bytes = 0;
  for (const Source& source : sources) bytes += source->memory();
  return bytes;
}

}  // namespace headrace::plan
