// Tally: one note or error about many tensors.
#pragma once

#include "format/printable.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace headrace::plan {

/// Counts the tensors something happens to and remembers the first. Names must outlive it.
struct Tally {
  std::size_t count = 0;
  std::string_view first;

  void add(std::string_view name) {
    if (count++ == 0) first = name;
  }
  std::string text() const {
    const std::string name = format::printable(first);
    return count == 1 ? fmt::format("tensor '{}'", name) : fmt::format("{} tensors, the first '{}'", count, name);
  }
};

}  // namespace headrace::plan
