#include "format/gguf/pairs_reader.hpp"

#include "base/checked.hpp"
#include "format/gguf/gguf.hpp"
#include "format/printable.hpp"
#include "format/value_walk.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace headrace::format::gguf {

Metadata PairsReader::read(std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) read_pair();
  return std::move(pairs_).take();
}

void PairsReader::read_pair() {
  read_key();
  const ValueType type = read_type();
  value_.clear();
  read_value(type, 0);
  if (!pairs_.add(key_, type, value_, scratch())) {
    throw Error(ErrorCode::format, fmt::format("the metadata key '{}' is there twice", printable(key_)),
                {.file = file_, .offset = key_at_});
  }
  if (key_ == kAlignmentKey) alignment_at_ = key_at_;
}

void PairsReader::read_key() {
  key_at_ = cursor_.position();
  const std::uint64_t length = cursor_.u64("a key's length");
  cursor_.require(length, "a key");
  if (length == 0 || length > UINT32_MAX) {
    throw Error(ErrorCode::format, "a metadata key has an impossible length",
                {.file = file_, .offset = key_at_, .expected = "1 to 4294967295", .found = fmt::to_string(length)});
  }
  allowance_.require(held() + key_.capacity() + length);
  key_.resize(static_cast<std::size_t>(length));
  cursor_.read(std::as_writable_bytes(std::span(key_)), "a key");
}

ValueType PairsReader::read_type() {
  const std::uint64_t at = cursor_.position();
  const std::uint32_t number = cursor_.u32("a value's type");
  if (!is_value_type(number)) {
    throw Error(ErrorCode::format, fmt::format("the value of '{}' has an unknown type", printable(key_)),
                {.file = file_, .offset = at, .expected = "0 to 12", .found = fmt::to_string(number)});
  }
  return static_cast<ValueType>(number);
}

void PairsReader::read_value(ValueType type, int depth) {
  if (type == ValueType::array) return read_array(depth);
  if (type != ValueType::string) return copy_to_value(size_of(type), size_of(type), "a value");
  const std::size_t length_at = value_.size();
  copy_to_value(8, 8, "a string's length");
  copy_to_value(load_little<std::uint64_t>(value_.data() + length_at), 1, "a string");
}

void PairsReader::read_array(int depth) {
  const std::uint64_t at = cursor_.position();
  if (depth >= kMaxArrayDepth) {
    throw Error(ErrorCode::format, fmt::format("the arrays of '{}' are nested too deeply", printable(key_)),
                {.file = file_, .offset = at, .expected = fmt::format("at most {} deep", kMaxArrayDepth)});
  }
  const std::size_t prefix_at = value_.size();
  const ValueType type = read_type();
  const auto number = static_cast<std::uint32_t>(type);
  allowance_.require(held() + 4);
  value_.resize(prefix_at + 4);
  std::memcpy(value_.data() + prefix_at, &number, 4);
  copy_to_value(8, 8, "an array's length");
  const auto count = load_little<std::uint64_t>(value_.data() + prefix_at + 4);

  const std::size_t element = size_of(type);
  const std::uint64_t least = element != 0 ? element : type == ValueType::string ? 8 : 12;
  const std::optional<std::uint64_t> bytes = base::checked_mul(count, least);
  if (!bytes || *bytes > cursor_.left()) {
    throw Error(ErrorCode::format, fmt::format("the array '{}' is longer than the file", printable(key_)),
                {.file = file_,
                 .offset = at,
                 .expected = fmt::format("at most {} elements", cursor_.left() / least),
                 .found = fmt::to_string(count)});
  }
  if (element != 0) return copy_to_value(*bytes, element, "an array");
  for (std::uint64_t i = 0; i < count; ++i) read_value(type, depth + 1);
}

// `width`: of the numbers that these bytes are.
void PairsReader::copy_to_value(std::uint64_t bytes, std::size_t width, const char* what) {
  cursor_.require(bytes, what);
  const std::uint64_t needed = value_.size() + bytes;
  if (needed > value_.capacity()) {  // the old buffer, counted in held(), lives until the new one is filled
    value_.reserve(static_cast<std::size_t>(allowance_.grown(held(), value_.capacity(), needed)));
  }
  const std::size_t at = value_.size();
  value_.resize(static_cast<std::size_t>(needed));
  cursor_.read_numbers(std::span(value_).subspan(at), width, what);
}

std::uint64_t PairsReader::scratch() const noexcept { return Cursor::kWindow + key_.capacity() + value_.capacity(); }

std::uint64_t PairsReader::held() const noexcept { return scratch() + pairs_.memory(); }

}  // namespace headrace::format::gguf
