#include "cli/memory_peak.hpp"

#include <fstream>
#include <string>

namespace headrace::cli {

std::optional<std::uint64_t> memory_peak() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::uint64_t kibibytes = 0;
    if (word == "VmHWM:" && status >> kibibytes) return kibibytes << 10;
  }
  return std::nullopt;
}

void reset_memory_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace headrace::cli
