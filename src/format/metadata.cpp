#include "format/value_walk.hpp"

#include <headrace/error.hpp>
#include <headrace/metadata.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <string>

namespace headrace {

static_assert(std::endian::native == std::endian::little, "values are kept in the file's byte order");

namespace {

using format::load_little;

struct TypeRow {
  std::string_view name;
  std::size_t bytes;  // 0: of varying size
};

constexpr std::array<TypeRow, 13> kTypes = {{{"u8", 1},
                                             {"i8", 1},
                                             {"u16", 2},
                                             {"i16", 2},
                                             {"u32", 4},
                                             {"i32", 4},
                                             {"f32", 4},
                                             {"bool", 1},
                                             {"string", 0},
                                             {"array", 0},
                                             {"u64", 8},
                                             {"i64", 8},
                                             {"f64", 8}}};

constexpr std::size_t kArrayPrefix = 4 + 8;  // element type, count
constexpr std::size_t kStringPrefix = 8;     // length

std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

template <class T>
std::optional<std::uint64_t> unsigned_of(std::span<const std::byte> bytes) {
  const T number = load_little<T>(bytes.data());
  if (number < T{}) return std::nullopt;
  return static_cast<std::uint64_t>(number);
}

// Not vector::insert: g++ 12 warns of an overflow in it that can't happen.
void append_bytes(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const std::size_t at = out.size();
  out.resize(at + bytes.size());
  std::memcpy(out.data() + at, bytes.data(), bytes.size());
}

template <class T>
void append_little(std::vector<std::byte>& out, T number) {
  append_bytes(out, std::as_bytes(std::span(&number, 1)));
}

void append_text(std::vector<std::byte>& out, std::string_view text) {
  append_little(out, std::uint64_t{text.size()});
  append_bytes(out, as_bytes(text));
}

}  // namespace

std::string_view name(ValueType type) noexcept {
  const auto number = static_cast<std::size_t>(type);
  return number < kTypes.size() ? kTypes[number].name : "unknown";
}

std::size_t size_of(ValueType type) noexcept {
  const auto number = static_cast<std::size_t>(type);
  return number < kTypes.size() ? kTypes[number].bytes : 0;
}

std::optional<std::string_view> MetadataValue::as_string() const noexcept {
  if (type_ != ValueType::string || bytes_.size() < kStringPrefix) return std::nullopt;
  const auto text = bytes_.subspan(kStringPrefix);
  if (load_little<std::uint64_t>(bytes_.data()) != text.size()) return std::nullopt;
  return std::string_view(reinterpret_cast<const char*>(text.data()), text.size());
}

std::optional<std::uint64_t> MetadataValue::as_u64() const noexcept {
  const std::size_t size = size_of(type_);
  if (size == 0 || bytes_.size() != size) return std::nullopt;
  switch (type_) {
    case ValueType::u8: return unsigned_of<std::uint8_t>(bytes_);
    case ValueType::i8: return unsigned_of<std::int8_t>(bytes_);
    case ValueType::u16: return unsigned_of<std::uint16_t>(bytes_);
    case ValueType::i16: return unsigned_of<std::int16_t>(bytes_);
    case ValueType::u32: return unsigned_of<std::uint32_t>(bytes_);
    case ValueType::i32: return unsigned_of<std::int32_t>(bytes_);
    case ValueType::u64: return unsigned_of<std::uint64_t>(bytes_);
    case ValueType::i64: return unsigned_of<std::int64_t>(bytes_);
    case ValueType::boolean: return bytes_[0] != std::byte{0} ? 1 : 0;
    default: return std::nullopt;
  }
}

ValueType MetadataValue::element_type() const noexcept {
  if (type_ != ValueType::array || bytes_.size() < kArrayPrefix) return ValueType::array;
  return static_cast<ValueType>(load_little<std::uint32_t>(bytes_.data()));
}

std::uint64_t MetadataValue::element_count() const noexcept {
  if (type_ != ValueType::array || bytes_.size() < kArrayPrefix) return 0;
  return load_little<std::uint64_t>(bytes_.data() + 4);
}

std::vector<std::byte> MetadataValue::i32_array(std::span<const std::int32_t> numbers) {
  const auto type = static_cast<std::uint32_t>(ValueType::i32);
  const std::uint64_t count = numbers.size();
  std::vector<std::byte> bytes(kArrayPrefix + numbers.size_bytes());
  std::memcpy(bytes.data(), &type, sizeof type);
  std::memcpy(bytes.data() + sizeof type, &count, sizeof count);
  if (!numbers.empty()) std::memcpy(bytes.data() + kArrayPrefix, numbers.data(), numbers.size_bytes());
  return bytes;
}

std::optional<std::vector<std::int32_t>> MetadataValue::as_i32_array() const {
  if (type_ != ValueType::array || element_type() != ValueType::i32) return std::nullopt;
  const auto elements = bytes_.subspan(kArrayPrefix);
  if (elements.size() % 4 != 0 || elements.size() / 4 != element_count()) return std::nullopt;
  std::vector<std::int32_t> numbers(elements.size() / 4);
  if (!numbers.empty()) std::memcpy(numbers.data(), elements.data(), elements.size());
  return numbers;
}

std::optional<std::vector<std::string_view>> MetadataValue::as_string_array() const {
  if (type_ != ValueType::array || element_type() != ValueType::string) return std::nullopt;
  std::vector<std::string_view> texts;
  auto rest = bytes_.subspan(kArrayPrefix);
  for (std::uint64_t i = 0; i < element_count(); ++i) {
    const std::optional<std::size_t> length = format::value_length(ValueType::string, rest);
    if (!length) return std::nullopt;
    texts.push_back(*MetadataValue(ValueType::string, rest.first(*length)).as_string());
    rest = rest.subspan(*length);
  }
  return texts;
}

std::string_view Metadata::key(std::size_t i) const noexcept {
  const Entry& entry = entries_[i];
  return {reinterpret_cast<const char*>(arena_.data()) + entry.key_at, entry.key_bytes};
}

MetadataValue Metadata::value(std::size_t i) const noexcept {
  const Entry& entry = entries_[i];
  return {entry.type, std::span(arena_).subspan(entry.value_at, entry.value_bytes)};
}

std::optional<std::size_t> Metadata::index_of(std::string_view wanted) const noexcept {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (key(i) == wanted) return i;
  }
  return std::nullopt;
}

std::optional<MetadataValue> Metadata::find(std::string_view wanted) const noexcept {
  const std::optional<std::size_t> i = index_of(wanted);
  if (!i) return std::nullopt;
  return value(*i);
}

void Metadata::append(std::string_view key, ValueType type, std::span<const std::byte> bytes) {
  Entry entry{.key_at = arena_.size(),
              .value_at = arena_.size() + key.size(),
              .value_bytes = bytes.size(),
              .key_bytes = static_cast<std::uint32_t>(key.size()),
              .type = type};
  const auto key_bytes = as_bytes(key);
  arena_.insert(arena_.end(), key_bytes.begin(), key_bytes.end());
  arena_.insert(arena_.end(), bytes.begin(), bytes.end());
  entries_.push_back(entry);
}

// What is set here ends up in a file that others must be able to read, so a malformed value stops at the door.
// Key and bytes are copied first: they may be views into this very object.
void Metadata::set(std::string_view key, ValueType type, std::span<const std::byte> bytes) {
  if (key.empty() || key.size() > UINT32_MAX) {
    throw Error(ErrorCode::invalid_argument, "a metadata key must have 1 to 4294967295 bytes",
                {.found = std::to_string(key.size())});
  }
  if (format::value_length(type, bytes) != bytes.size()) {
    throw Error(ErrorCode::invalid_argument, "the bytes of a metadata value don't fit its type",
                {.expected = "one " + std::string(name(type)), .found = std::to_string(bytes.size()) + " bytes"});
  }
  const std::string own_key(key);
  const std::vector<std::byte> own_bytes(bytes.begin(), bytes.end());
  const std::optional<std::size_t> i = index_of(own_key);
  if (!i) return append(own_key, type, own_bytes);

  Entry& entry = entries_[*i];
  const auto begin = arena_.begin() + static_cast<std::ptrdiff_t>(entry.value_at);
  const auto after = arena_.erase(begin, begin + static_cast<std::ptrdiff_t>(entry.value_bytes));
  arena_.insert(after, own_bytes.begin(), own_bytes.end());
  const std::size_t shift = own_bytes.size() - entry.value_bytes;  // wraps where the value shrinks, and back again
  entry.type = type;
  entry.value_bytes = own_bytes.size();
  for (std::size_t later = *i + 1; later < entries_.size(); ++later) {
    entries_[later].key_at += shift;
    entries_[later].value_at += shift;
  }
}

void Metadata::set_string(std::string_view key, std::string_view text) {
  std::vector<std::byte> bytes;
  bytes.reserve(kStringPrefix + text.size());
  append_text(bytes, text);
  set(key, ValueType::string, bytes);
}

void Metadata::set_u32(std::string_view key, std::uint32_t number) {
  set(key, ValueType::u32, std::as_bytes(std::span(&number, 1)));
}

void Metadata::set_i32_array(std::string_view key, std::span<const std::int32_t> numbers) {
  set(key, ValueType::array, MetadataValue::i32_array(numbers));
}

void Metadata::set_string_array(std::string_view key, std::span<const std::string_view> texts) {
  std::vector<std::byte> bytes;
  append_little(bytes, static_cast<std::uint32_t>(ValueType::string));
  append_little(bytes, std::uint64_t{texts.size()});
  for (const std::string_view text : texts) append_text(bytes, text);
  set(key, ValueType::array, bytes);
}

void Metadata::erase(std::string_view key) {
  const std::optional<std::size_t> i = index_of(key);
  if (!i) return;
  const Entry gone = entries_[*i];
  const std::size_t bytes = gone.key_bytes + gone.value_bytes;
  const auto begin = arena_.begin() + static_cast<std::ptrdiff_t>(gone.key_at);
  arena_.erase(begin, begin + static_cast<std::ptrdiff_t>(bytes));
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(*i));
  for (std::size_t later = *i; later < entries_.size(); ++later) {
    entries_[later].key_at -= bytes;
    entries_[later].value_at -= bytes;
  }
}

void Metadata::reserve(std::size_t pairs, std::size_t bytes) {
  entries_.reserve(pairs);
  arena_.reserve(bytes);
}

std::size_t Metadata::memory() const noexcept { return arena_.capacity() + entries_.capacity() * sizeof(Entry); }

}  // namespace headrace
