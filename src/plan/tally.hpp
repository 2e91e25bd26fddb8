// Tally: one note or error about many tensors, or other things with names.
#pragma once

#include "format/printable.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace headrace::plan {

/// Counts the things something happens to and remembers the first. Names must outlive it.
struct Tally {
  std::size_t count = 0;
  std::string_view first;

  void add(std::string_view name) {
    if (count++ == 0) first = name;
  }
  /// "tensor 'a'", "3 tensors, the first 'a'".
  std::string text(std::string_view noun = "tensor") const {
    const std::string name = format::printable(first);
    return count == 1 ? fmt::format("{} '{}'", noun, name) : fmt::format("{} {}s, the first '{}'", count, noun, name);
  }
};

}  // namespace headrace::plan
