// What GGUF's reader and writer both know about the format.
// Source: the GGUF specification and ggml's gguf.cpp.
#pragma once

#include <headrace/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace headrace::format::gguf {

inline constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
inline constexpr std::uint32_t kVersion = 3;         // written; 2 has the same encoding and is read too
inline constexpr std::uint32_t kDefaultAlignment = 32;
/// Any power of two is read. Written headers are padded to the alignment in memory, so there it has a cap.
inline constexpr std::uint64_t kMaxAlignmentWritten = std::uint64_t{1} << 20;
inline constexpr std::string_view kAlignmentKey = "general.alignment";

/// ggml has 4 dimensions, so files for it can have no more; tools for image models write 5, which are read.
inline constexpr std::size_t kMaxRankRead = 8;
inline constexpr std::size_t kMaxRankWritten = 4;

/// ggml's dimensions and sizes are signed.
inline constexpr std::uint64_t kMaxCount = INT64_MAX;

// The least that these take in the file: what a count is checked against before it is believed.
inline constexpr std::uint64_t kMinKeyValueBytes = 8 + 4 + 1;    // key length, type, a value of one byte
inline constexpr std::uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;  // name length, rank, type, offset

}  // namespace headrace::format::gguf
