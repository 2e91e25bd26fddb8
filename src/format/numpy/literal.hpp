// Literal: the little of Python that the header of a .npy file is written in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace headrace::format::numpy {

/// Goes through one dictionary of strings, booleans and tuples of whole numbers. After the first thing that is
/// something else it has failed: it reads nothing more, and what it returns is empty. Nothing nests, nothing is
/// escaped. `text` must outlive it.
class Literal {
 public:
  explicit Literal(std::string_view text) : rest_(text) {}

  /// Reads "{'key': value, …}" and nothing after it but white space; `read_value` reads each value.
  void read_dictionary(const std::function<void(std::string_view key)>& read_value);

  std::string_view read_string();
  bool read_bool();
  std::vector<std::uint64_t> read_tuple();  // of at most kMostDimensions

  /// True when the next character is `c`.
  bool at(char c);
  void fail() { failed_ = true; }
  bool failed() const { return failed_; }

  static constexpr std::size_t kMostDimensions = 64;  // NumPy's own limit

 private:
  void skip_space();
  bool take(char c);
  void expect(char c);
  std::uint64_t read_number();

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace headrace::format::numpy
