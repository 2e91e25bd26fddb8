#include "plan/material.hpp"

namespace headrace::plan {

std::vector<Range> Material::ranges_of(std::size_t i) const {
  if (const Derived* made = derived_of(i)) return made->ranges;
  return {{first_of(i), 0, source_of(i).elements}};
}

std::uint64_t Material::bytes_in_inputs(std::size_t i) const noexcept {
  const Derived* made = derived_of(i);
  if (!made) return source_of(i).bytes;
  std::uint64_t bytes = 0;
  for (const Range& range : made->ranges) bytes += bytes_of(at(range.from).dtype, range.elements).value_or(0);
  return bytes;
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
