#include "cli/json.hpp"

#include <cmath>
#include <cstring>
#include <headrace/error.hpp>
#include <span>
#include <string>
#include <type_traits>

namespace headrace::cli {
namespace {

// Arrays of arrays nest as deep as a file says; the readers' own limit is lower.
constexpr int kDeepest = 64;

std::span<const std::byte> take(std::span<const std::byte>& bytes, std::uint64_t count) {
  if (count > bytes.size()) throw Error(ErrorCode::internal, "a metadata value ends too early");
  const auto taken = bytes.first(static_cast<std::size_t>(count));
  bytes = bytes.subspan(taken.size());
  return taken;
}

template <typename T>
T take_number(std::span<const std::byte>& bytes) {
  T number{};
  std::memcpy(&number, take(bytes, sizeof(T)).data(), sizeof(T));
  return number;
}

template <typename T>
void write_number(Output& out, std::span<const std::byte>& bytes) {
  const T number = take_number<T>(bytes);
  if constexpr (std::is_floating_point_v<T>) {
    if (!std::isfinite(number)) {
      out.write("null");  // JSON has no other way to say it
      return;
    }
  }
  if constexpr (sizeof(T) == 1) {
    out.print("{}", static_cast<int>(number));
  } else {
    out.print("{}", number);  // the shortest digits that give the number back
  }
}

// Writes one value and moves `bytes` behind it.
void write_value(Output& out, ValueType type, std::span<const std::byte>& bytes, int depth) {
  switch (type) {
    case ValueType::u8: return write_number<std::uint8_t>(out, bytes);
    case ValueType::i8: return write_number<std::int8_t>(out, bytes);
    case ValueType::u16: return write_number<std::uint16_t>(out, bytes);
    case ValueType::i16: return write_number<std::int16_t>(out, bytes);
    case ValueType::u32: return write_number<std::uint32_t>(out, bytes);
    case ValueType::i32: return write_number<std::int32_t>(out, bytes);
    case ValueType::f32: return write_number<float>(out, bytes);
    case ValueType::u64: return write_number<std::uint64_t>(out, bytes);
    case ValueType::i64: return write_number<std::int64_t>(out, bytes);
    case ValueType::f64: return write_number<double>(out, bytes);
    case ValueType::boolean: return out.write(take_number<std::uint8_t>(bytes) != 0 ? "true" : "false");
    case ValueType::string: {
      const auto text = take(bytes, take_number<std::uint64_t>(bytes));
      return out.write(to_text(std::string(reinterpret_cast<const char*>(text.data()), text.size())));
    }
    case ValueType::array: break;
  }
  if (depth == kDeepest) throw Error(ErrorCode::unsupported, "a metadata value nests too deeply to be printed");
  const auto element = static_cast<ValueType>(take_number<std::uint32_t>(bytes));
  const auto count = take_number<std::uint64_t>(bytes);
  out.write("[");
  for (std::uint64_t i = 0; i < count && !out.closed(); ++i) {
    if (i != 0) out.write(",");
    write_value(out, element, bytes, depth + 1);
  }
  out.write("]");
}

Json text_or_null(std::string_view text) { return text.empty() ? Json(nullptr) : Json(text); }

}  // namespace

std::string to_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

JsonDocument::JsonDocument(Output& out) : out_(out) { out_.write("{"); }

void JsonDocument::member(std::string_view key, const Json& value) {
  out_.print("{}\n  {}: {}", first_member_ ? "" : ",", to_text(key), to_text(value));
  first_member_ = false;
}

void JsonDocument::begin_list(std::string_view key) {
  out_.print("{}\n  {}: [", first_member_ ? "" : ",", to_text(key));
  first_member_ = false;
  first_element_ = true;
}

void JsonDocument::next_element() {
  out_.write(first_element_ ? "\n    " : ",\n    ");
  first_element_ = false;
}

void JsonDocument::element(const Json& value) {
  next_element();
  out_.write(to_text(value));
}

void JsonDocument::element(std::string_view key, const MetadataValue& value) {
  next_element();
  out_.print(R"({{"key":{},"type":{},)", to_text(key), to_text(name(value.type())));
  if (value.type() == ValueType::array) {
    out_.print(R"("element_type":{},"count":{},)", to_text(name(value.element_type())), value.element_count());
  }
  out_.write(R"("value":)");
  auto bytes = value.bytes();
  write_value(out_, value.type(), bytes, 0);
  out_.write("}");
}

void JsonDocument::end_list() { out_.write(first_element_ ? "]" : "\n  ]"); }

void JsonDocument::end() { out_.write("\n}\n"); }

Json error_document(std::string_view code, std::string_view message) {
  Json error{{"code", code},      {"message", message},  {"file", nullptr},  {"tensor", nullptr},
             {"offset", nullptr}, {"expected", nullptr}, {"found", nullptr}, {"hint", nullptr}};
  return Json{{"error", std::move(error)}};
}

Json error_document(const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  if (known == nullptr) return error_document(to_string(ErrorCode::internal), error.what());
  const ErrorDetail& detail = known->detail();
  Json document = error_document(to_string(known->code()), known->what());
  Json& fields = document["error"];
  fields["file"] = text_or_null(detail.file);
  fields["tensor"] = text_or_null(detail.tensor);
  if (detail.offset) fields["offset"] = *detail.offset;
  fields["expected"] = text_or_null(detail.expected);
  fields["found"] = text_or_null(detail.found);
  fields["hint"] = text_or_null(detail.hint);
  return document;
}

}  // namespace headrace::cli
