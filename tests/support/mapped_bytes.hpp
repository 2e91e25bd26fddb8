// How much of a file is in this process's memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace headrace::test {

/// Bytes of its pages that are mapped now. (RssFile in /proc/self/status counts those of programs and libraries too,
/// which come when they are first run.)
inline std::uint64_t mapped_bytes_of(const std::filesystem::path& path) {
  std::ifstream in("/proc/self/smaps");
  std::uint64_t kib = 0;
  bool ours = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("Rss:")) kib += ours ? std::stoull(line.substr(4)) : 0;
    if (line.find(':') == line.find(' ') - 1) continue;  // a figure; else the head of the next mapping
    ours = line.ends_with(path.string());
  }
  return kib << 10;
}

}  // namespace headrace::test
