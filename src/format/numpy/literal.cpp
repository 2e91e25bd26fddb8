#include "format/numpy/literal.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>

namespace headrace::format::numpy {

void Literal::skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }

bool Literal::at(char c) {
  skip_space();
  return !failed_ && rest_.starts_with(c);
}

bool Literal::take(char c) {
  if (!at(c)) return false;
  rest_.remove_prefix(1);
  return true;
}

void Literal::expect(char c) {
  if (!take(c)) fail();
}

void Literal::read_dictionary(const std::function<void(std::string_view key)>& read_value) {
  expect('{');
  while (!failed_ && !at('}')) {
    const std::string_view key = read_string();
    expect(':');
    if (failed_) return;
    read_value(key);
    if (!at('}')) expect(',');
  }
  expect('}');
  skip_space();
  if (!rest_.empty()) fail();
}

std::string_view Literal::read_string() {
  skip_space();
  const char quote = at('\'') ? '\'' : '"';
  expect(quote);
  const std::size_t end = failed_ ? rest_.npos : rest_.find_first_of("'\"\\\n");
  if (end == rest_.npos || rest_[end] != quote) {
    fail();
    return {};
  }
  const std::string_view text = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  return text;
}

bool Literal::read_bool() {
  skip_space();
  for (const std::string_view word : {"True", "False"}) {
    if (failed_ || !rest_.starts_with(word)) continue;
    rest_.remove_prefix(word.size());
    return word == "True";
  }
  fail();
  return false;
}

std::uint64_t Literal::read_number() {
  skip_space();
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
  if (error != std::errc{}) {
    fail();
    return 0;
  }
  rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
  if (rest_.starts_with('L')) rest_.remove_prefix(1);  // as Python 2 wrote them
  return number;
}

// "()", "(3,)", "(3, 4)" or "(3, 4,)"; "(3)" is no tuple.
std::vector<std::uint64_t> Literal::read_tuple() {
  std::vector<std::uint64_t> numbers;
  expect('(');
  bool comma = true;
  while (!failed_ && !at(')')) {
    if (!comma || numbers.size() == kMostDimensions) {
      fail();
      return {};
    }
    numbers.push_back(read_number());
    comma = take(',');
  }
  expect(')');
  if (numbers.size() == 1 && !comma) fail();
  return numbers;
}

}  // namespace headrace::format::numpy
