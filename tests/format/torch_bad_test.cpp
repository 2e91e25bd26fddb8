// Hostile PyTorch files (tests/data/bad/torch, made by make.py there): each is refused for its own reason, which the
// error names; and cut anywhere, none does worse.
#include "format/torch/torch.hpp"
#include "support/memory_source.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/error.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace headrace::test {
namespace {

namespace fs = std::filesystem;

const fs::path kFolder = HEADRACE_TEST_DATA "/bad/torch";

std::map<std::string, nlohmann::json> reasons() {
  return nlohmann::json::parse(read_file(kFolder.string() + "/reasons.json"))
      .get<std::map<std::string, nlohmann::json>>();
}

std::optional<Error> error_of(const fs::path& path, std::uint64_t memory = kDefaultMemory) {
  try {
    Checkpoint::open(path.string(), {.memory = memory});
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

TEST(BadTorchFiles, HaveAReasonEachAndNoneIsMissing) {
  std::set<std::string> listed, there;
  for (const auto& [file, expected] : reasons()) {
    listed.insert(file);
    EXPECT_FALSE(expected.at("reason").get<std::string>().empty()) << file;
    EXPECT_FALSE(expected.at("error").get<std::string>().empty()) << file;
  }
  for (const auto& file : fs::directory_iterator(kFolder)) {
    if (file.path().extension() == ".pt") there.insert(file.path().filename());
  }
  EXPECT_EQ(listed, there);
  EXPECT_GE(there.size(), 130u);
}

TEST(BadTorchFiles, AreRefusedForTheirReason) {
  for (const auto& [file, expected] : reasons()) {
    SCOPED_TRACE(file);
    const std::optional<Error> error = error_of(kFolder / file);
    if (!error) {
      ADD_FAILURE() << "accepted, but: " << expected.at("reason");
      continue;
    }
    EXPECT_EQ(to_string(error->code()), expected.value("code", "format")) << error->what();
    EXPECT_NE(std::string_view(error->what()).find(expected.at("error").get<std::string>()), std::string_view::npos)
        << error->what();
    EXPECT_EQ(error->detail().file, (kFolder / file).string());
    const bool any_tensor = expected.contains("tensor") && expected["tensor"].is_null();
    if (!any_tensor) {
      EXPECT_EQ(error->detail().tensor, expected.value("tensor", "")) << error->what();
    }
    const std::optional<std::uint64_t> offset =
        expected["offset"].is_null() ? std::nullopt : std::optional(expected["offset"].get<std::uint64_t>());
    EXPECT_EQ(error->detail().offset, offset) << error->what();
  }
}

// No memory is taken on a file's word: what is refused with much memory is refused with little, too.
TEST(BadTorchFiles, NeedLittleMemoryToBeRefused) {
  for (const auto& [file, expected] : reasons()) {
    const std::optional<Error> error = error_of(kFolder / file, std::uint64_t{1} << 20);
    ASSERT_TRUE(error) << file;
    EXPECT_NE(error->code(), ErrorCode::budget) << file << ": " << error->what();
  }
}

// Of the old format, as it has no directory that would be missing.
TEST(BadTorchFiles, CutAnywhereAreHandled) {
  const io::Location location("cut.pt");
  const SourceOptions options;
  for (const auto& [file, expected] : reasons()) {
    if (!file.starts_with("legacy")) continue;
    const std::string bytes = read_file((kFolder / file).string());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto source = std::make_shared<const MemorySource>(bytes.substr(0, size), "cut.pt");
      EXPECT_THROW(format::torch::open_legacy(source, {location, options, kDefaultMemory}), Error)
          << file << " " << size;
    }
  }
}

}  // namespace
}  // namespace headrace::test
