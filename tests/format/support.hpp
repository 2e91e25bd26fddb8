// Files made by hand, and what the readers say of them.
#pragma once

#include "format/header.hpp"
#include "support/memory_source.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::test {

inline constexpr std::uint64_t kRoomy = std::uint64_t{64} << 20;

inline format::Header read_bytes(std::string bytes, std::uint64_t memory = kRoomy) {
  return format::read_header(MemorySource(std::move(bytes)), memory);
}

/// The error that reading throws; nothing when the file is accepted. Any other exception fails the test.
inline std::optional<Error> error_of(std::string bytes, std::uint64_t memory = kRoomy) {
  try {
    read_bytes(std::move(bytes), memory);
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

inline void expect_error(const std::string& bytes, ErrorCode code, std::string_view part) {
  const std::optional<Error> error = error_of(bytes);
  ASSERT_TRUE(error.has_value()) << "accepted, but should say: " << part;
  EXPECT_EQ(error->code(), code) << error->what();
  EXPECT_NE(std::string_view(error->what()).find(part), std::string_view::npos) << error->what();
}

/// A safetensors file with that JSON and so many zero bytes of data.
inline std::string safetensors_file(std::string_view json, std::size_t data_bytes = 0) {
  return raw(std::uint64_t{json.size()}) + std::string(json) + std::string(data_bytes, '\0');
}

/// Writes a GGUF file number by number, without the checks of the real writer.
class GgufFile {
 public:
  GgufFile(std::uint64_t tensors, std::uint64_t pairs, std::uint32_t version = 3) {
    bytes_ = "GGUF" + raw(version) + raw(tensors) + raw(pairs);
  }
  GgufFile& add(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  GgufFile& string(std::string_view text) { return add(raw(std::uint64_t{text.size()}) + std::string(text)); }
  GgufFile& pair(std::string_view key, std::uint32_t type, std::string_view value) {
    return string(key).add(raw(type)).add(value);
  }
  /// `dims` innermost first, as in the file.
  GgufFile& tensor(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                   std::uint64_t offset) {
    string(name).add(raw(static_cast<std::uint32_t>(dims.size())));
    for (const std::uint64_t dim : dims) add(raw(dim));
    return add(raw(type)).add(raw(offset));
  }
  /// Pads to `alignment` and appends so many bytes of data.
  std::string with_data(std::size_t data_bytes, std::size_t alignment = 32) const {
    std::string padded = bytes_;
    padded.resize((padded.size() + alignment - 1) / alignment * alignment);
    return padded + std::string(data_bytes, '\0');
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace headrace::test
