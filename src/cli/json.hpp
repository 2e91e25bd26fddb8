// JSON documents, written as they are made.
#pragma once

#include "cli/output.hpp"

#include <exception>
#include <headrace/metadata.hpp>
#include <nlohmann/json.hpp>
#include <string_view>

namespace headrace::cli {

/// Keeps members in the order they were added, as a reader expects them.
using Json = nlohmann::ordered_json;

/// One JSON object on `out`, a member a line. Lists are written element by element, so that a file of 100,000 tensors
/// never is one big value in memory. Bytes of names that are no UTF-8 become U+FFFD.
class JsonDocument {
 public:
  explicit JsonDocument(Output& out);
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;

  void member(std::string_view key, const Json& value);

  void begin_list(std::string_view key);
  void element(const Json& value);
  /// A metadata pair as an element: {"key", "type", "value"}, arrays in full.
  void element(std::string_view key, const MetadataValue& value);
  void end_list();

  /// Closes the object.
  void end();

 private:
  void next_element();

  Output& out_;
  bool first_member_ = true;
  bool first_element_ = true;
};

/// The text of a value, on one line.
std::string to_text(const Json& value);

/// {"error": {"code", "message", "file", "tensor", "offset", "expected", "found", "hint"}}; what isn't known is null.
Json error_document(std::string_view code, std::string_view message);
Json error_document(const std::exception& error);

}  // namespace headrace::cli
