// simdjson finds the structure; this file checks everything that its on-demand parser passes over: values nobody asks
// for, how numbers are written, escapes, repeated fields, nesting.
#include "format/safetensors/json_reader.hpp"

#include "base/checked.hpp"
#include "format/metadata_builder.hpp"
#include "format/printable.hpp"
#include "format/safetensors/json_token.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headrace::format::safetensors {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::string_view kWhitespace = " \t\r\n";
constexpr std::uint64_t kJsonAt = 8;        // offset of the JSON in the file
constexpr int kMaxDepth = 127;              // as the reference
constexpr std::size_t kMaxRank = 64;        // as NumPy; torch's is the same
constexpr std::size_t kMinEntryBytes = 50;  // "":{"dtype":"U8","shape":[],"data_offsets":[0,0]},

// What simdjson holds of a document: its list of structural characters, 4 bytes each. It reserves more, for a text of
// nothing else and for decoded strings, but touches no page of that: strings are decoded in place. Counted too high
// where strings contain such characters; a scalar is one more entry after a bracket, colon or comma.
std::uint64_t index_bytes(std::string_view text) {
  std::uint64_t marks = 0, quotes = 0;
  for (const char c : text) {
    marks += (c == ',') | (c == ':') | (c == '{') | (c == '}') | (c == '[') | (c == ']');
    quotes += c == '"';
  }
  constexpr std::uint64_t kStacks = std::uint64_t{simdjson::DEFAULT_MAX_DEPTH} * 16;
  return 4 * (std::min<std::uint64_t>(2 * marks + quotes, text.size()) + 64) + kStacks;
}

std::string_view trimmed(std::string_view token) {
  const std::size_t last = token.find_last_not_of(kWhitespace);
  return token.substr(0, last + 1);  // npos + 1 is 0
}

std::optional<DType> dtype_named(std::string_view name) {
  for (const DTypeInfo& row : all_dtypes()) {
    if (!row.safetensors_name.empty() && row.safetensors_name == name) return row.dtype;
  }
  return std::nullopt;
}

class JsonReader {
 public:
  JsonReader(const io::ByteSource& source, std::size_t length, const Allowance& allowance)
      : file_(source.name()), length_(length), allowance_(allowance), metadata_(allowance) {
    allowance_.require(length_ + simdjson::SIMDJSON_PADDING);
    text_ = std::make_unique_for_overwrite<char[]>(length_ + simdjson::SIMDJSON_PADDING);
    source.read_at(kJsonAt, std::as_writable_bytes(std::span(text_.get(), length_)));
    // Padding must look like no bracket: simdjson peeks at it where brackets don't match.
    std::memset(text_.get() + length_, 0, simdjson::SIMDJSON_PADDING);
    parser_bytes_ = length_ + simdjson::SIMDJSON_PADDING + index_bytes(text());
    allowance_.require(parser_bytes_);
  }

  Header read();

 private:
  struct Fields {
    std::optional<DType> dtype;
    bool has_shape = false, has_offsets = false;
    std::size_t rank = 0;
    std::uint64_t begin = 0, end = 0;
  };

  void check_ends() const;
  void reserve();
  void read_entry(ondemand::field& field);
  void read_metadata(ondemand::value& value);
  void read_tensor(std::string_view name, const char* at, ondemand::value& value);
  void read_tensor_field(ondemand::field& field, Fields& fields);
  void read_shape(ondemand::value& value, Fields& fields);
  void read_offsets(ondemand::value& value, Fields& fields);
  void add_tensor(std::string_view name, const char* at, const Fields& fields);

  void skip(ondemand::value& value, int depth);
  std::string_view scalar_of(ondemand::value& value) const;
  std::string_view key_of(ondemand::field& field);
  std::string_view string_of(ondemand::value& value, const char* what);
  std::string_view decode(const char* after_quote);
  std::uint64_t integer_of(ondemand::value& value, const char* what);
  template <class Container, class Item, class Each>
  void each(Container& container, const Each& use);

  std::uint64_t held() const noexcept { return parser_bytes_ + tensors_.memory() + metadata_.memory(); }
  std::string_view text() const noexcept { return {text_.get(), length_}; }
  std::uint64_t offset_of(const char* at) const noexcept {
    return kJsonAt + static_cast<std::uint64_t>(at - text_.get());
  }
  [[noreturn]] void fail(const char* at, std::string problem, std::string expected = {}, std::string found = {}) const;
  [[noreturn]] void fail(simdjson::error_code error);

  const std::string& file_;
  std::size_t length_;
  std::uint64_t parser_bytes_ = 0;  // the text and simdjson's index of it
  const Allowance& allowance_;
  std::unique_ptr<char[]> text_;  // strings are decoded in place
  ondemand::parser parser_;
  ondemand::document document_;
  TensorTable tensors_;
  MetadataBuilder metadata_;
  bool indexed_ = false;  // simdjson has found the structure, so it knows places
  bool has_metadata_ = false;
  std::string tensor_;  // the one being read, for errors
  std::array<std::uint64_t, kMaxRank> shape_{};
  std::vector<std::byte> value_;  // of the metadata pair being read
};

Header JsonReader::read() {
  check_ends();
  reserve();
  const simdjson::padded_string_view padded(text_.get(), length_, length_ + simdjson::SIMDJSON_PADDING);
  if (const auto error = parser_.iterate(padded).get(document_)) fail(error);
  indexed_ = true;
  ondemand::object root;
  if (const auto error = document_.get_object().get(root)) fail(error);
  each<ondemand::object, ondemand::field>(root, [this](ondemand::field& field) { read_entry(field); });
  if (const char* after = nullptr; !document_.current_location().get(after)) {
    fail(after, "something follows the header's JSON");
  }
  Header header;
  header.format = Format::safetensors;
  header.tensors = std::move(tensors_);
  header.metadata = std::move(metadata_).take();
  return header;
}

// Said here in plain words; simdjson would only say that something is wrong.
void JsonReader::check_ends() const {
  const std::size_t first = text().find_first_not_of(kWhitespace);
  if (first == std::string_view::npos) fail(text_.get(), "the header is empty", "a JSON object");
  const std::size_t last = text().find_last_not_of(kWhitespace);
  if (text_[first] != '{') {
    fail(text_.get() + first, "the header is no JSON object", "'{'",
         fmt::format("'{}'", printable(text().substr(first, 1))));
  }
  if (text_[last] != '}') {
    fail(text_.get() + last, "the header's JSON doesn't end with its object", "'}'",
         fmt::format("'{}'", printable(text().substr(last, 1))));
  }
}

// One brace a tensor: a good guess saves growing the table. A file can't make it larger than its entries could be.
void JsonReader::reserve() {
  const auto braces = static_cast<std::size_t>(std::count(text().begin(), text().end(), '{'));
  const std::size_t tensors = std::min(braces, length_ / kMinEntryBytes + 1);
  allowance_.require(held() + TensorTable::memory_to_reserve(tensors));
  tensors_.reserve(tensors);
}

void JsonReader::read_entry(ondemand::field& field) {
  const char* at = field.key().raw();
  const std::string_view name = key_of(field);
  ondemand::value value = field.value();
  if (name != kMetadata) return read_tensor(name, at, value);
  if (has_metadata_) fail(at, "__metadata__ is there twice");
  has_metadata_ = true;
  if (trimmed(value.raw_json_token()) == "null") {
    scalar_of(value);
  } else {
    read_metadata(value);
  }
}

void JsonReader::read_metadata(ondemand::value& value) {
  if (value.raw_json_token().front() != '{') fail(value.raw_json_token().data(), "__metadata__ is no JSON object");
  ondemand::object pairs;
  if (const auto error = value.get_object().get(pairs)) fail(error);
  each<ondemand::object, ondemand::field>(pairs, [this](ondemand::field& field) {
    const char* at = field.key().raw();
    const std::string_view key = key_of(field);
    ondemand::value pair_value = field.value();
    const std::string_view text = string_of(pair_value, "a metadata value");
    const std::uint64_t size = text.size();
    allowance_.require(held() + value_.capacity() + sizeof size + text.size());
    value_.resize(sizeof size + text.size());
    std::memcpy(value_.data(), &size, sizeof size);
    std::copy(text.begin(), text.end(), reinterpret_cast<char*>(value_.data()) + sizeof size);
    if (!metadata_.add(key, ValueType::string, value_, held() - metadata_.memory() + value_.capacity())) {
      fail(at, fmt::format("the metadata key '{}' is there twice", printable(key)));
    }
  });
}

void JsonReader::read_tensor(std::string_view name, const char* at, ondemand::value& value) {
  tensor_ = name.size() <= 256 ? name : name.substr(0, 256);
  if (value.raw_json_token().front() != '{')
    fail(value.raw_json_token().data(), "the tensor's entry is no JSON object");
  ondemand::object entry;
  if (const auto error = value.get_object().get(entry)) fail(error);
  Fields fields;
  each<ondemand::object, ondemand::field>(entry, [&](ondemand::field& field) { read_tensor_field(field, fields); });
  add_tensor(name, at, fields);
  tensor_.clear();
}

void JsonReader::read_tensor_field(ondemand::field& field, Fields& fields) {
  const char* at = field.key().raw();
  const std::string_view key = key_of(field);
  ondemand::value value = field.value();
  const auto once = [&](bool there) {
    if (there) fail(at, fmt::format("the field '{}' is there twice", key));
  };
  if (key == "dtype") {
    once(fields.dtype.has_value());
    const char* value_at = value.raw_json_token().data();
    const std::string_view name = string_of(value, "dtype");
    fields.dtype = dtype_named(name);
    if (!fields.dtype)
      fail(value_at, "unknown dtype", "a name such as F32 or BF16", fmt::format("'{}'", printable(name)));
  } else if (key == "shape") {
    once(fields.has_shape);
    read_shape(value, fields);
  } else if (key == "data_offsets") {
    once(fields.has_offsets);
    read_offsets(value, fields);
  } else {
    skip(value, 3);
  }
}

void JsonReader::read_shape(ondemand::value& value, Fields& fields) {
  const char* at = value.raw_json_token().data();
  if (*at != '[') fail(at, "the shape is no JSON array");
  ondemand::array dimensions;
  if (const auto error = value.get_array().get(dimensions)) fail(error);
  each<ondemand::array, ondemand::value>(dimensions, [&](ondemand::value& dimension) {
    if (fields.rank == kMaxRank) fail(at, "the tensor has too many dimensions", fmt::format("at most {}", kMaxRank));
    shape_[fields.rank++] = integer_of(dimension, "a dimension");
  });
  fields.has_shape = true;
}

void JsonReader::read_offsets(ondemand::value& value, Fields& fields) {
  const char* at = value.raw_json_token().data();
  if (*at != '[') fail(at, "data_offsets is no JSON array");
  ondemand::array offsets;
  if (const auto error = value.get_array().get(offsets)) fail(error);
  std::size_t count = 0;
  each<ondemand::array, ondemand::value>(offsets, [&](ondemand::value& offset) {
    const std::uint64_t number = integer_of(offset, "a data offset");
    if (count == 0) fields.begin = number;
    if (count == 1) fields.end = number;
    ++count;
  });
  if (count != 2) fail(at, "data_offsets has the wrong length", "2", fmt::to_string(count));
  if (fields.begin > fields.end) {
    fail(at, "the tensor ends before it begins", {}, fmt::format("[{}, {}]", fields.begin, fields.end));
  }
  fields.has_offsets = true;
}

void JsonReader::add_tensor(std::string_view name, const char* at, const Fields& fields) {
  const char* missing = !fields.dtype         ? "dtype"
                        : !fields.has_shape   ? "shape"
                        : !fields.has_offsets ? "data_offsets"
                                              : nullptr;
  if (missing != nullptr) fail(at, fmt::format("the tensor's entry lacks '{}'", missing));
  TensorInfo tensor{.name = name,
                    .shape = Shape(shape_.data(), fields.rank),
                    .offset = fields.begin,
                    .bytes = fields.end - fields.begin,
                    .dtype = *fields.dtype};
  const std::optional<std::uint64_t> elements = base::checked_product(tensor.shape);
  if (!elements) fail(at, "the tensor's number of elements doesn't fit 64 bits", {}, to_string(tensor.shape));
  tensor.elements = *elements;
  const std::optional<std::uint64_t> bytes = bytes_of(tensor.dtype, *elements);
  if (!bytes) {
    fail(at, "the tensor's size is no whole number of bytes, or doesn't fit 64 bits", {},
         fmt::format("{} elements of {}", *elements, headrace::name(tensor.dtype)));
  }
  if (*bytes != tensor.bytes) {
    fail(at, "the tensor's data_offsets don't fit its dtype and shape",
         fmt::format("{} bytes for {} of {}", *bytes, to_string(tensor.shape), headrace::name(tensor.dtype)),
         fmt::to_string(tensor.bytes));
  }
  allowance_.require(held() - tensors_.memory() + tensors_.memory_while_adding(name.size(), fields.rank));
  if (!tensors_.add(tensor)) fail(at, "two tensors have this name");
}

// The token of a string, number or literal. simdjson only looks at what follows when it is asked for the next value,
// and takes `"a":` for a key then; so a colon where a value must end is caught here.
std::string_view JsonReader::scalar_of(ondemand::value& value) const {
  const std::string_view token = value.raw_json_token();
  const char* next = token.data() + token.size();
  if (next >= text_.get() + length_ || (*next != ',' && *next != '}' && *next != ']')) {
    fail(next, "the value doesn't end here", "',', '}' or ']'");
  }
  return token;
}

// A value that nobody wants must still be JSON.
void JsonReader::skip(ondemand::value& value, int depth) {
  const std::string_view token = value.raw_json_token();
  if (token.front() == '"') {
    if (!valid_string(scalar_of(value).data() + 1)) fail(token.data(), "a string has an invalid escape");
  } else if (token.front() != '[' && token.front() != '{') {
    if (!valid_scalar(trimmed(scalar_of(value)))) fail(token.data(), "this is no JSON value");
  } else if (depth > kMaxDepth) {
    fail(token.data(), "the header's JSON is nested too deeply", fmt::format("at most {} levels", kMaxDepth));
  } else if (token.front() == '[') {
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) fail(error);
    each<ondemand::array, ondemand::value>(array, [&](ondemand::value& element) { skip(element, depth + 1); });
  } else {
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) fail(error);
    each<ondemand::object, ondemand::field>(object, [&](ondemand::field& field) {
      if (!valid_string(field.key().raw())) fail(field.key().raw(), "a string has an invalid escape");
      ondemand::value inner = field.value();
      skip(inner, depth + 1);
    });
  }
}

template <class Container, class Item, class Each>
void JsonReader::each(Container& container, const Each& use) {
  for (auto result : container) {
    Item item;
    if (const auto error = std::move(result).get(item)) fail(error);
    use(item);
  }
}

std::string_view JsonReader::key_of(ondemand::field& field) { return decode(field.key().raw()); }

std::string_view JsonReader::string_of(ondemand::value& value, const char* what) {
  const std::string_view token = value.raw_json_token();
  if (token.front() != '"')
    fail(token.data(), fmt::format("{} is no string", what), "a string", printable(trimmed(token)));
  return decode(scalar_of(value).data() + 1);
}

std::string_view JsonReader::decode(const char* after_quote) {
  char* begin = text_.get() + (after_quote - text_.get());  // ours to write to
  const JsonText decoded = decode_string(begin);
  if (!decoded.valid()) fail(begin + decoded.bad, "a string has an invalid escape");
  return decoded.text;
}

std::uint64_t JsonReader::integer_of(ondemand::value& value, const char* what) {
  const std::string_view token = trimmed(value.raw_json_token());
  const std::optional<std::uint64_t> number = plain_integer(token);
  if (!number) {
    fail(token.data(), fmt::format("{} is no plain non-negative integer", what), "digits only, below 2^64",
         fmt::format("'{}'", printable(token, 40)));
  }
  scalar_of(value);
  return *number;
}

void JsonReader::fail(const char* at, std::string problem, std::string expected, std::string found) const {
  throw Error(ErrorCode::format, std::move(problem),
              {.file = file_,
               .tensor = printable(tensor_),
               .offset = offset_of(at),
               .expected = std::move(expected),
               .found = std::move(found)});
}

void JsonReader::fail(simdjson::error_code error) {
  if (error == simdjson::MEMALLOC) throw std::bad_alloc();
  if (error == simdjson::UTF8_ERROR) {
    fail(text_.get() + first_invalid_utf8(text()), "the header is not valid UTF-8");
  }
  const char* at = text_.get();
  if (indexed_ && (document_.current_location().get(at) || at < text_.get() || at > text_.get() + length_)) {
    at = text_.get() + length_;  // simdjson lost its place because the text ends too soon
  }
  fail(at, fmt::format("the header is not valid JSON: {}", simdjson::error_message(error)));
}

}  // namespace

Header read_json(const io::ByteSource& source, std::size_t length, const Allowance& allowance) {
  return JsonReader(source, length, allowance).read();
}

}  // namespace headrace::format::safetensors
