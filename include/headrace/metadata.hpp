// Metadata: a checkpoint's key-value pairs, kept in the bytes they came in.
//
// A language model's GGUF carries its tokenizer here: hundreds of thousands of strings. They are held as one run of
// bytes (GGUF v3 encoding, little-endian) with a small index, decoded when asked for and copied unchanged to a new
// file. Source: GGUF specification, "metadata key-value pairs".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

/// GGUF's value types, with the numbers the file format gives them.
// clang-format off
enum class ValueType : std::uint32_t {
  u8 = 0, i8 = 1, u16 = 2, i16 = 3, u32 = 4, i32 = 5, f32 = 6, boolean = 7, string = 8, array = 9, u64 = 10, i64 = 11, f64 = 12,
};
// clang-format on

/// "u32", "string", "array", … Static storage.
std::string_view name(ValueType type) noexcept;
/// Bytes of one value of a fixed-size type; 0 for string and array.
std::size_t size_of(ValueType type) noexcept;

/// One value. A view into a Metadata: valid until that is changed or destroyed.
class MetadataValue {
 public:
  MetadataValue(ValueType type, std::span<const std::byte> bytes) : type_(type), bytes_(bytes) {}

  /// The bytes of an array of i32, for Metadata::append and set.
  static std::vector<std::byte> i32_array(std::span<const std::int32_t> numbers);

  ValueType type() const noexcept { return type_; }
  /// The value as the file has it, without its type.
  std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// The text of a string value; nothing for another type.
  std::optional<std::string_view> as_string() const noexcept;
  /// An integer or bool value that fits; nothing for another type.
  std::optional<std::uint64_t> as_u64() const noexcept;

  /// For arrays (else `array`, 0).
  ValueType element_type() const noexcept;
  std::uint64_t element_count() const noexcept;
  /// An array of i32 as numbers; nothing for another type.
  std::optional<std::vector<std::int32_t>> as_i32_array() const;
  /// An array of strings; nothing for another type. The texts are views into the Metadata.
  std::optional<std::vector<std::string_view>> as_string_array() const;

  /// For people: `"text"`, `32`, `[1, 2, 3, … 32000 of i32]` with at most `max_elements` elements shown.
  std::string to_string(std::size_t max_elements = 8) const;

 private:
  ValueType type_;
  std::span<const std::byte> bytes_;
};

/// An ordered list of unique keys with their values.
/// Thread-safety: const members from any thread; changes need exclusive use.
class Metadata {
 public:
  std::size_t size() const noexcept { return entries_.size(); }
  bool empty() const noexcept { return entries_.empty(); }
  /// `i` below size().
  std::string_view key(std::size_t i) const noexcept;
  MetadataValue value(std::size_t i) const noexcept;
  /// The value of a key; nothing when there is none. Linear in size(): there are tens of keys, not thousands.
  std::optional<MetadataValue> find(std::string_view key) const noexcept;

  /// Add a pair, or replace the value of a key in place.
  void set(std::string_view key, ValueType type, std::span<const std::byte> bytes);
  void set_string(std::string_view key, std::string_view text);
  void set_u32(std::string_view key, std::uint32_t number);
  void set_i32_array(std::string_view key, std::span<const std::int32_t> numbers);
  void set_string_array(std::string_view key, std::span<const std::string_view> texts);
  void erase(std::string_view key);
  void reserve(std::size_t pairs, std::size_t bytes);
  /// Appends without looking for the key: for readers, which check uniqueness on their own.
  void append(std::string_view key, ValueType type, std::span<const std::byte> bytes);

  /// Bytes of memory held.
  std::size_t memory() const noexcept;

 private:
  struct Entry {
    std::size_t key_at, value_at, value_bytes;
    std::uint32_t key_bytes;
    ValueType type;
  };
  std::optional<std::size_t> index_of(std::string_view key) const noexcept;

  std::vector<std::byte> arena_;
  std::vector<Entry> entries_;
};

}  // namespace headrace
