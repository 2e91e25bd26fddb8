// Rules from a file.
#include <headrace/error.hpp>
#include <headrace/rules.hpp>

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace headrace {
namespace {

constexpr std::size_t kLongest = std::size_t{1} << 20;  // bytes

// Also of a pipe, which a shell may give.
std::string text_of(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  std::string text(kLongest + 1, '\0');
  if (file) text.resize(std::fread(text.data(), 1, text.size(), file));
  const bool failed = !file || std::ferror(file) != 0;
  const int reason = errno;
  if (file) std::fclose(file);
  if (failed)
    throw Error(ErrorCode::io, fmt::format("can't read the rules: {}", std::strerror(reason)), {.file = path});
  if (text.size() > kLongest)
    throw Error(ErrorCode::invalid_argument, "this is too long for a file of rules", {.file = path});
  return text;
}

}  // namespace

std::vector<Rule> read_rules(const std::filesystem::path& file) {
  return parse_rules(text_of(file.string()), file.string());
}

}  // namespace headrace
