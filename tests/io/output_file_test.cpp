#include "io/output_file.hpp"

#include "support/temp_folder.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <string>

namespace headrace::io {
namespace {

using test::read_file;
using test::TempFolder;
using test::write_file;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_of(const std::filesystem::path& path) {
  const auto content = read_file(path);
  return {reinterpret_cast<const char*>(content.data()), content.size()};
}

ErrorCode code_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(OutputFile, AppearsOnCommitAndNotBefore) {
  const TempFolder folder;
  {
    OutputFile file(folder / "out", 6, false);
    file.write_at(3, bytes("def"));
    EXPECT_FALSE(std::filesystem::exists(folder / "out"));
    file.write_at(0, bytes("abc"));
    file.commit();
    EXPECT_EQ(text_of(folder / "out"), "abcdef");
  }
  EXPECT_EQ(folder.names(), std::vector<std::string>{"out"});
}

TEST(OutputFile, LeavesNothingWithoutCommit) {
  const TempFolder folder;
  { OutputFile(folder / "out", 100, false).write_at(0, bytes("abc")); }
  EXPECT_TRUE(folder.names().empty());
}

TEST(OutputFile, KeepsTheOldFileUntilCommit) {
  const TempFolder folder;
  write_file(folder / "out", std::string_view("old"));
  EXPECT_EQ(code_of([&] { OutputFile(folder / "out", 3, false); }), ErrorCode::conflict);
  { OutputFile(folder / "out", 3, true).write_at(0, bytes("new")); }
  EXPECT_EQ(text_of(folder / "out"), "old");
  OutputFile file(folder / "out", 3, true);
  file.write_at(0, bytes("new"));
  file.commit();
  EXPECT_EQ(text_of(folder / "out"), "new");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"out"});
}

TEST(OutputFile, DoesNotReplaceWhatAppearedMeanwhile) {
  const TempFolder folder;
  OutputFile file(folder / "out", 3, false);
  file.write_at(0, bytes("new"));
  write_file(folder / "out", std::string_view("somebody else's"));
  EXPECT_EQ(code_of([&] { file.commit(); }), ErrorCode::conflict);
  EXPECT_EQ(text_of(folder / "out"), "somebody else's");
}

TEST(OutputFile, ReplacesTheFileBehindALink) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "elsewhere");
  write_file(folder / "elsewhere/real", std::string_view("old"));
  std::filesystem::create_symlink("elsewhere/real", folder / "out");
  OutputFile file(folder / "out", 3, true);
  file.write_at(0, bytes("new"));
  file.commit();
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "out"));
  EXPECT_EQ(text_of(folder / "elsewhere/real"), "new");
}

TEST(OutputFile, RefusesFoldersDevicesAndMissingFolders) {
  const TempFolder folder;
  EXPECT_EQ(code_of([&] { OutputFile(folder.path(), 3, true); }), ErrorCode::conflict);
  EXPECT_EQ(code_of([&] { OutputFile("/dev/null", 3, true); }), ErrorCode::conflict);
  EXPECT_EQ(code_of([&] { OutputFile(folder / "no/such/out", 3, true); }), ErrorCode::io);
}

TEST(OutputFile, FindsAFullDiskFirst) {
  const TempFolder folder;
  EXPECT_EQ(code_of([&] { OutputFile(folder / "out", std::uint64_t{1} << 60, false); }), ErrorCode::no_space);
  EXPECT_TRUE(folder.names().empty());
}

TEST(OutputFile, CopiesFromAnotherFile) {
  const TempFolder folder;
  write_file(folder / "in", std::string_view("0123456789"));
  const File source = File::open(folder / "in");
  OutputFile file(folder / "out", 4, false);
  if (!file.copy_from(source, 3, 0, 4)) GTEST_SKIP() << "this file system can't copy by itself";
  file.commit();
  EXPECT_EQ(text_of(folder / "out"), "3456");
}

TEST(File, ReadsByPositionAndReportsTheEnd) {
  const TempFolder folder;
  write_file(folder / "in", std::string_view("0123456789"));
  const File file = File::open(folder / "in");
  EXPECT_EQ(file.size(), 10U);
  std::string out(4, ' ');
  file.read_at(5, std::as_writable_bytes(std::span(out)));
  EXPECT_EQ(out, "5678");
  try {
    file.read_at(8, std::as_writable_bytes(std::span(out)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_EQ(error.detail().offset, 10U);
  }
  EXPECT_EQ(code_of([&] { File::open(folder.path()); }), ErrorCode::io);
  EXPECT_EQ(code_of([&] { File::open(folder / "none"); }), ErrorCode::io);
}

TEST(File, IsItselfUnderEveryName) {
  const TempFolder folder;
  write_file(folder / "a", std::string_view("x"));
  write_file(folder / "b", std::string_view("x"));
  std::filesystem::create_hard_link(folder / "a", folder / "hard");
  std::filesystem::create_symlink("a", folder / "soft");
  EXPECT_EQ(file_id(folder / "a"), file_id(folder / "hard"));
  EXPECT_EQ(file_id(folder / "a"), file_id(folder / "soft"));
  EXPECT_NE(file_id(folder / "a"), file_id(folder / "b"));
  EXPECT_EQ(file_id(folder / "none"), std::nullopt);
}

}  // namespace
}  // namespace headrace::io
