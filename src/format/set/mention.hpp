// Mention: an error about many things names the first few.
#pragma once

#include "format/printable.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace headrace::format::set {

/// Counts all, remembers the first few. Names must be added through add(), which makes them printable.
class Mention {
 public:
  /// In quotes.
  void add(std::string_view name) {
    if (is_full()) return add_unnamed(1);
    add_words(fmt::format("'{}'", printable(name)));
  }
  void add_words(std::string_view words) {
    if (is_full()) return add_unnamed(1);
    if (!shown_.empty()) shown_ += ", ";
    shown_ += words;
    ++count_;
  }
  void add_unnamed(std::size_t count) noexcept { count_ += count; }
  /// No more names will be shown.
  bool is_full() const noexcept { return count_ >= kShown; }
  std::size_t count() const noexcept { return count_; }
  /// "'a'", "'a', 'b', 'c', 'd' and 12 more".
  std::string text() const {
    return count_ <= kShown ? shown_ : fmt::format("{} and {} more", shown_, count_ - kShown);
  }

 private:
  static constexpr std::size_t kShown = 4;
  std::size_t count_ = 0;
  std::string shown_;
};

}  // namespace headrace::format::set
