#include "device/host/machine.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string_view>

namespace headrace::device::host {
namespace {

// What follows `key` in the first line that begins with it, without the colon and the spaces in between.
std::optional<std::string> value_of(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t first = line.find_first_not_of(": \t", key.size());
    if (first != std::string::npos) return line.substr(first);
  }
  return std::nullopt;
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t number = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), number).ec != std::errc()) return std::nullopt;
  return number;
}

std::optional<std::uint64_t> number_of_file(const std::string& path) {
  std::string text;
  std::ifstream in(path);
  if (!std::getline(in, text)) return std::nullopt;
  return number_in(text);  // "max": no limit, no number
}

// Bytes of files that the group's share holds as a cache, and gives up when memory is asked for.
std::uint64_t cached_by_group() {
  std::uint64_t bytes = 0;
  for (const char* key : {"active_file ", "inactive_file "}) {
    if (const auto value = value_of("/sys/fs/cgroup/memory.stat", key)) bytes += number_in(*value).value_or(0);
  }
  return bytes;
}

// A container sees its own group at the root, and the machine's memory in /proc.
void apply_group_limit(Machine& machine) {
  const auto limit = number_of_file("/sys/fs/cgroup/memory.max");
  if (!limit || *limit >= machine.total_bytes) return;
  machine.total_bytes = *limit;
  const std::uint64_t current = number_of_file("/sys/fs/cgroup/memory.current").value_or(0);
  const std::uint64_t used = current - std::min(current, cached_by_group());
  if (machine.free_bytes) machine.free_bytes = std::min(*machine.free_bytes, *limit - std::min(used, *limit));
}

}  // namespace

Machine look_at_machine() {
  Machine machine;
  const auto pages = ::sysconf(_SC_PHYS_PAGES);
  const auto page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) machine.total_bytes = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  if (const auto available = value_of("/proc/meminfo", "MemAvailable")) {
    if (const auto kib = number_in(*available)) machine.free_bytes = *kib << 10;
  }
  apply_group_limit(machine);
  return machine;
}

std::string processor_name() {
  static const std::string name = value_of("/proc/cpuinfo", "model name").value_or("processor");
  return name;
}

}  // namespace headrace::device::host
