// What the reader makes of files that aren't checkpoints.
#include "format/detect.hpp"
#include "format/support.hpp"

namespace headrace::test {
namespace {

using std::string_literals::operator""s;

TEST(Recognition, SaysWhatTheFileLooksLike) {
  const std::string tail(100, 'x');
  expect_error("", ErrorCode::format, "empty");
  expect_error("lmgg" + tail, ErrorCode::format, "legacy GGML");
  expect_error("tjgg" + tail, ErrorCode::format, "legacy GGJT");
  expect_error("<!DOCTYPE html>" + tail, ErrorCode::format, "HTML");
  expect_error("version https://git-lfs.github.com/spec/v1\n" + tail, ErrorCode::format, "git lfs pull");
  expect_error("\x89HDF\r\n\x1a\n" + tail, ErrorCode::format, "HDF5");
  expect_error(std::string(4096, '\0'), ErrorCode::format, "zeros");
  expect_error("what is this" + tail, ErrorCode::format, "77 68 61 74");
  expect_error("\x1B[2Jx", ErrorCode::format, "\\u001b[2Jx");
}

TEST(Recognition, TellsTheFormatsApart) {
  const auto kind_of = [](std::string bytes) { return format::detect(MemorySource(std::move(bytes))); };
  const std::string tail(100, 'x');
  EXPECT_EQ(kind_of("PK\x03\x04" + tail), format::Kind::zip);
  EXPECT_EQ(kind_of("PK\x05\x06" + tail), format::Kind::zip);  // an empty one
  EXPECT_EQ(kind_of("\x80\x02" + tail), format::Kind::pickle);
  EXPECT_EQ(kind_of("\x93NUMPY\x01" + tail), format::Kind::numpy);
  EXPECT_EQ(kind_of("\n {\"metadata\":{}}" + tail), format::Kind::json);
  EXPECT_EQ(kind_of("[{\"paths\":[]}]" + tail), format::Kind::json);
  EXPECT_EQ(kind_of("GGUF" + tail), format::Kind::gguf);
  EXPECT_EQ(kind_of(safetensors_file("{}")), format::Kind::safetensors);
}

TEST(Recognition, ShortFilesNeverConfuseIt) {
  for (const std::string& whole :
       {"GGUF\x03\0\0\0"s, "\x02\0\0\0\0\0\0\0{}"s, "PK\x03\x04\0"s, "version https://git-lfs"s}) {
    for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_TRUE(error_of(whole.substr(0, size)));
  }
}

// The length 640 begins with the bytes 80 02, as an old pickle does.
TEST(Recognition, ASafetensorsHeaderIsNoPickle) {
  EXPECT_FALSE(error_of(safetensors_file("{" + std::string(638, ' ') + "}")));
}

TEST(Recognition, LengthsThatCantBeRightAreExplained) {
  expect_error(raw(std::uint64_t{1} << 40) + "{\"a\":", ErrorCode::format, "too long");
  expect_error(raw(std::uint64_t{5000}) + "{\"a\":", ErrorCode::format, "past the end of the file");
}

}  // namespace
}  // namespace headrace::test
