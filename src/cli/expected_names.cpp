#include "cli/expected_names.hpp"

#include <headrace/error.hpp>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>
#include <system_error>

namespace headrace::cli {
namespace {

constexpr std::size_t kGlance = 4096;

bool is_url(std::string_view location) { return location.find("://") != location.npos; }

// Every binary format has a zero in its first bytes: safetensors in the header's length, GGUF in its version.
bool looks_like_text(std::string_view start) { return start.find('\0') == start.npos && !start.starts_with('{'); }

[[noreturn]] void fail(const std::string& file, const std::string& problem) {
  const int reason = errno;
  throw Error(ErrorCode::io, problem + ": " + std::strerror(reason), {.file = file, .system = reason});
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream rest(text);
  for (std::string line; std::getline(rest, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

std::vector<std::string> expected_names(const std::string& location, const OpenOptions& options) {
  std::error_code ignored;
  if (!is_url(location) && !std::filesystem::is_directory(location, ignored)) {
    std::ifstream file(location, std::ios::binary);
    if (!file) fail(location, "can't open the names that are expected");
    // A pipe can't be read twice: what was looked at is put in front of the rest.
    std::string start(kGlance, '\0');
    file.read(start.data(), static_cast<std::streamsize>(start.size()));
    start.resize(static_cast<std::size_t>(file.gcount()));
    if (looks_like_text(start)) {
      start.append(std::istreambuf_iterator<char>(file), {});
      if (file.bad()) fail(location, "can't read the names that are expected");
      return lines_of(start);
    }
  }
  const Checkpoint checkpoint = Checkpoint::open(location, options);
  std::vector<std::string> names;
  names.reserve(checkpoint.tensors().size());
  for (const TensorInfo& tensor : checkpoint.tensors()) names.emplace_back(tensor.name);
  return names;
}

}  // namespace headrace::cli
