#include "io/spool.hpp"

#include "support/temp_folder.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace headrace::io {
namespace {

using test::TempFolder;

/// Sets TMPDIR for as long as it lives.
class TemporaryFolderIs {
 public:
  explicit TemporaryFolderIs(const std::string& folder) {
    if (const char* before = std::getenv("TMPDIR")) before_ = before;
    ::setenv("TMPDIR", folder.c_str(), 1);
  }
  ~TemporaryFolderIs() { before_ ? ::setenv("TMPDIR", before_->c_str(), 1) : ::unsetenv("TMPDIR"); }

 private:
  std::optional<std::string> before_;
};

void put(Spool& spool, std::uint64_t at, std::string_view text) { spool.write_at(at, std::as_bytes(std::span(text))); }

std::string get(const Spool& spool, std::uint64_t at, std::size_t bytes) {
  std::string text(bytes, ' ');
  spool.read_at(at, std::as_writable_bytes(std::span(text)));
  return text;
}

void expect_error(ErrorCode code, std::string_view part, auto&& action) {
  try {
    action();
    ADD_FAILURE() << "accepted, but should say: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
    EXPECT_NE(std::string_view(error.what()).find("TMPDIR"), std::string_view::npos) << error.what();
  }
}

TEST(Spool, KeepsWhatIsWrittenWithoutAName) {
  const TempFolder folder;
  const TemporaryFolderIs here(folder.path());
  Spool spool;
  const std::uint64_t first = spool.reserve(6), second = spool.reserve(3);
  put(spool, second, "xyz");
  put(spool, first + 3, "def");
  put(spool, first, "abc");
  EXPECT_EQ(get(spool, first, 6), "abcdef");
  EXPECT_EQ(get(spool, second, 3), "xyz");
  EXPECT_TRUE(folder.names().empty());
}

TEST(Spool, MakesNoFileUntilItIsUsed) {
  const TemporaryFolderIs nowhere("/no/such/folder");
  Spool spool;
  expect_error(ErrorCode::io, "/no/such/folder", [&] { spool.reserve(1); });
}

TEST(Spool, FindsAFullFolderFirst) {
  const TempFolder folder;
  const TemporaryFolderIs here(folder.path());
  Spool spool;
  expect_error(ErrorCode::no_space, folder.path().string(), [&] { spool.reserve(std::uint64_t{1} << 60); });
  expect_error(ErrorCode::no_space, folder.path().string(), [&] { spool.reserve(~std::uint64_t{0}); });
  put(spool, spool.reserve(1), "x");
}

TEST(Spool, ReportsBytesThatNobodyWrote) {
  const TempFolder folder;
  const TemporaryFolderIs here(folder.path());
  Spool spool;
  const std::uint64_t at = spool.reserve(10);
  put(spool, at, "01234");
  expect_error(ErrorCode::io, "temporary file", [&] { get(spool, at, 10); });
}

}  // namespace
}  // namespace headrace::io
