// Small sets of files for tests, each tensor holding its own name, so that it shows which bytes were found.
#pragma once

#include "format/contents.hpp"
#include "format/support.hpp"
#include "support/temp_folder.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headrace::test {

using Names = std::vector<std::string>;

/// A safetensors file of U8 tensors whose bytes are their names, after `mark`. `metadata`: JSON, "" for none.
inline std::string named_safetensors(const Names& names, const std::string& metadata = "",
                                     const std::string& mark = "") {
  std::string json = metadata.empty() ? "{" : "{\"__metadata__\":" + metadata + (names.empty() ? "" : ",");
  std::string data;
  for (const std::string& name : names) {
    const std::string bytes = mark + name;
    json += (&name == names.data() ? "\"" : ",\"") + name + "\":{\"dtype\":\"U8\",\"shape\":[" +
            std::to_string(bytes.size()) + "],\"data_offsets\":[" + std::to_string(data.size()) + "," +
            std::to_string(data.size() + bytes.size()) + "]}";
    data += bytes;
  }
  return safetensors_file(json + "}") + data;
}

/// {"weight_map": …} with those pairs of tensor and file.
inline std::string index_of(const std::vector<std::pair<std::string, std::string>>& places) {
  std::string map;
  for (const auto& [tensor, file] : places) map += (map.empty() ? "\"" : ",\"") + tensor + "\":\"" + file + "\"";
  return R"({"metadata":{"total_size":1},"weight_map":{)" + map + "}}";
}

inline format::Contents open_at(const std::filesystem::path& path, const SourceOptions& options = {},
                                std::uint64_t memory = kRoomy) {
  const io::Location location(path.string());
  return format::open_contents({location, options, memory});
}

inline Names names_of(const format::Contents& contents) {
  Names names;
  for (const TensorInfo& tensor : contents.header.tensors.tensors()) names.emplace_back(tensor.name);
  return names;
}

/// The tensor's bytes.
inline std::string bytes_of(const format::Contents& contents, std::string_view name) {
  const auto i = contents.header.tensors.find(name);
  if (!i) return "no such tensor";
  const TensorInfo& tensor = contents.header.tensors.tensors()[*i];
  std::string bytes(tensor.bytes, '\0');
  contents.files.at(tensor.file)->read_at(tensor.offset, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

/// "key=value" of all pairs, in order.
inline Names pairs_of(const format::Contents& contents) {
  Names pairs;
  const Metadata& metadata = contents.header.metadata;
  for (std::size_t i = 0; i < metadata.size(); ++i) {
    const auto text = metadata.value(i).as_string();
    pairs.push_back(std::string(metadata.key(i)) + "=" + (text ? std::string(*text) : metadata.value(i).to_string()));
  }
  return pairs;
}

/// What opening says against it. Any other exception than an Error fails the test.
template <class Open>
std::optional<Error> error_when(const Open& open) {
  try {
    open();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

template <class Open>
void expect_refused(const Open& open, ErrorCode code, const Names& parts) {
  const std::optional<Error> error = error_when(open);
  ASSERT_TRUE(error) << "accepted, but should say: " << parts.front();
  EXPECT_EQ(error->code(), code) << error->what();
  for (const std::string& part : parts)
    EXPECT_NE(std::string_view(error->what()).find(part), std::string_view::npos)
        << error->what() << "\nlacks " << part;
}

}  // namespace headrace::test
