#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <algorithm>

namespace headrace {
namespace {

using test::random_bytes;
using test::TempFolder;

TEST(FileMapping, IsTheFileAndOutlivesIt) {
  const TempFolder folder;
  const auto tensor = random_bytes("w", DType::F32, {3000, 50}, 1);
  test::save(folder / "m.safetensors", {tensor});
  std::shared_ptr<const FileMapping> mapping;
  std::uint64_t offset = 0;
  {
    const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
    offset = checkpoint.find("w")->offset;
    EXPECT_TRUE(lies_plain(*checkpoint.find("w")));
    mapping = FileMapping::map(checkpoint, 0);
  }
  ASSERT_TRUE(mapping);
  mapping->populate();
  std::filesystem::remove(folder / "m.safetensors");
  const auto bytes = mapping->bytes().subspan(offset, tensor.bytes.size());
  EXPECT_TRUE(std::ranges::equal(bytes, tensor.bytes));
}

TEST(FileMapping, WritesNeverReachTheFile) {
  const TempFolder folder;
  test::save(folder / "m.safetensors", {random_bytes("w", DType::U8, {100}, 1)});
  const auto before = test::read_file(folder / "m.safetensors");
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
  const auto mapping = FileMapping::map(checkpoint, 0);
  std::ranges::fill(mapping->bytes(), std::byte{7});
  EXPECT_EQ(test::read_file(folder / "m.safetensors"), before);
  EXPECT_NE(test::bytes_in(checkpoint, *checkpoint.find("w")).front(), std::byte{7});
}

TEST(FileMapping, SaysWhereAFileEndsTooSoon) {
  const TempFolder folder;
  test::save(folder / "m.safetensors", {random_bytes("w", DType::F32, {100'000}, 1)});
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
  const auto mapping = FileMapping::map(checkpoint, 0);
  std::filesystem::resize_file(folder / "m.safetensors", 10'000);
  try {
    mapping->populate();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_EQ(error.problem(), "the file ends too soon");
    EXPECT_EQ(error.detail().offset, 10'000U);
  }
}

TEST(FileMapping, CanBeCancelled) {
  const TempFolder folder;
  test::save(folder / "m.safetensors", {random_bytes("w", DType::F32, {10}, 1)});
  const auto mapping = FileMapping::map(Checkpoint::open(folder / "m.safetensors"), 0);
  const CancelToken cancel;
  cancel.cancel();
  EXPECT_THROW(mapping->populate(1, cancel), Error);
}

TEST(FileMapping, KnowsWhichTensorsLieAsTheyAre) {
  TensorInfo tensor;
  tensor.dtype = DType::F32;
  tensor.bytes = 8;
  tensor.offset = 64;
  EXPECT_TRUE(lies_plain(tensor));
  tensor.offset = 66;
  EXPECT_FALSE(lies_plain(tensor));
  tensor.dtype = DType::Q8_0;
  EXPECT_TRUE(lies_plain(tensor));
  tensor.encoding = Encoding::strided;
  EXPECT_FALSE(lies_plain(tensor));
}

}  // namespace
}  // namespace headrace
