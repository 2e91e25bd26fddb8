// Hostile files (tests/data/bad, made by make.py there): each is refused for its own reason, which the error names.
#include "format/support.hpp"

#include <headrace/checkpoint.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <set>

namespace headrace::test {
namespace {

namespace fs = std::filesystem;

struct BadFile {
  fs::path path;
  nlohmann::json expected;
};

std::string folder_of(std::string_view format) { return HEADRACE_TEST_DATA "/bad/" + std::string(format) + "/"; }

std::vector<BadFile> bad_files(std::string_view format) {
  std::vector<BadFile> files;
  const auto reasons = nlohmann::json::parse(read_file(folder_of(format) + "reasons.json"));
  for (const auto& [file, expected] : reasons.items()) files.push_back({folder_of(format) + file, expected});
  return files;
}

void expect_refused(const BadFile& bad, const Error& error) {
  EXPECT_EQ(to_string(error.code()), bad.expected.value("code", "format")) << error.what();
  EXPECT_NE(std::string_view(error.what()).find(bad.expected.at("error").get<std::string>()), std::string_view::npos)
      << error.what();
  EXPECT_EQ(error.detail().file, bad.path.string());
  EXPECT_EQ(error.detail().tensor, bad.expected.value("tensor", "")) << error.what();
  const bool nowhere = bad.expected.contains("offset") && bad.expected["offset"].is_null();
  ASSERT_EQ(error.detail().offset.has_value(), !nowhere) << error.what();
  if (!nowhere && bad.expected.contains("offset")) {
    EXPECT_EQ(*error.detail().offset, bad.expected["offset"].get<std::uint64_t>()) << error.what();
  }
}

class BadFiles : public testing::TestWithParam<const char*> {};

TEST_P(BadFiles, HaveAReasonEachAndNoneIsMissing) {
  std::set<std::string> listed, there;
  for (const BadFile& bad : bad_files(GetParam())) {
    listed.insert(bad.path.filename());
    EXPECT_FALSE(bad.expected.at("reason").get<std::string>().empty()) << bad.path;
    EXPECT_FALSE(bad.expected.at("error").get<std::string>().empty()) << bad.path;
  }
  for (const auto& file : fs::directory_iterator(folder_of(GetParam()))) {
    if (file.path().filename() != "reasons.json") there.insert(file.path().filename());
  }
  EXPECT_EQ(listed, there);
  EXPECT_GE(there.size(), 100u);
}

TEST_P(BadFiles, DifferInTheirBytes) {
  std::map<std::string, fs::path> known;
  for (const BadFile& bad : bad_files(GetParam())) {
    const auto [at, added] = known.emplace(read_file(bad.path), bad.path);
    EXPECT_TRUE(added || at->first.empty()) << bad.path << " is " << at->second;
  }
}

TEST_P(BadFiles, AreRefusedForTheirReason) {
  for (const BadFile& bad : bad_files(GetParam())) {
    SCOPED_TRACE(bad.path.filename());
    try {
      Checkpoint::open(bad.path);
      ADD_FAILURE() << "accepted, but: " << bad.expected.at("reason");
    } catch (const Error& error) {
      expect_refused(bad, error);
    }
  }
}

// No memory is taken on a file's word: what is refused with much memory is refused with little, too.
TEST_P(BadFiles, NeedLittleMemoryToBeRefused) {
  for (const BadFile& bad : bad_files(GetParam())) {
    const std::optional<Error> error = error_of(read_file(bad.path), std::uint64_t{1} << 20);
    ASSERT_TRUE(error) << bad.path;
    EXPECT_NE(error->code(), ErrorCode::budget) << bad.path << ": " << error->what();
  }
}

// A file cut short anywhere may be refused for another reason, or be whole by chance; it must do no worse than that.
TEST_P(BadFiles, CutAnywhereAreHandled) {
  for (const BadFile& bad : bad_files(GetParam())) {
    const std::string bytes = read_file(bad.path);
    for (std::size_t size = 0; size < bytes.size(); ++size) error_of(bytes.substr(0, size));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, BadFiles, testing::Values("safetensors", "gguf"),
                         [](const auto& format) { return std::string(format.param); });

}  // namespace
}  // namespace headrace::test
