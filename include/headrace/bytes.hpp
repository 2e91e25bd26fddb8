// Byte counts as people write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace headrace {

/// Reads "64MiB", "1G", "512k", "1.5GB", "4096". K/M/G/T and KiB/MiB/… are powers of 1024 (as in dd and llama.cpp);
/// KB/MB/GB/TB are powers of 1000. Case doesn't matter. Nothing when it isn't a byte count or doesn't fit 64 bits.
std::optional<std::uint64_t> parse_bytes(std::string_view text);

/// "3.20 GB": decimal units, three significant digits. "512 B" below 1000.
std::string format_bytes(std::uint64_t bytes);

}  // namespace headrace
