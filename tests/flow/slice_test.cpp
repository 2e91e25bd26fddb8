#include "flow/runs.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/error.hpp>
#include <headrace/retype.hpp>
#include <headrace/slice.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <random>

namespace headrace {
namespace {

using test::random_bytes;
using test::TempFolder;
using Bytes = std::vector<std::byte>;

std::optional<ErrorCode> code_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return std::nullopt;
}

// Of a tensor's numbers, `size` bytes each, those of the region, one by one.
Bytes picked(const Bytes& all, Shape shape, Region region, std::size_t size) {
  std::uint64_t count = 1;
  for (const Range& range : region) count *= range.count;
  Bytes out(count * size);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t at = 0, rest = i, inside = 1;
    for (std::size_t d = shape.size(); d-- > 0; inside *= shape[d]) {
      at += (region[d].first + rest % region[d].count * region[d].step) * inside;
      rest /= region[d].count;
    }
    std::memcpy(out.data() + i * size, all.data() + at * size, size);
  }
  return out;
}

std::vector<Range> random_region(Shape shape, std::mt19937& random) {
  std::vector<Range> region;
  for (const std::uint64_t size : shape) {
    Range range;
    range.step = random() % 3 == 0 ? 1 + random() % (size + 2) : 1;
    range.first = random() % (size + 1);
    const std::uint64_t most = range.first < size ? (size - 1 - range.first) / range.step + 1 : 0;
    range.count = random() % 2 == 0 ? most : random() % (most + 1);
    if (random() % 3 == 0) range = {0, size, 1};
    region.push_back(range);
  }
  return region;
}

Bytes slice(const Checkpoint& checkpoint, const TensorInfo& tensor, Region region, const SliceOptions& options = {}) {
  Bytes out(slice_bytes(tensor, region, options.as));
  read_slice(checkpoint, tensor, region, out, options);
  return out;
}

TEST(Slice, EqualsWhatIsPickedFromTheWhole) {
  const TempFolder folder;
  const std::vector<test::TestTensor> tensors = {
      random_bytes("a", DType::F16, {13, 7, 5}, 1), random_bytes("b", DType::F64, {300, 70}, 2),
      random_bytes("c", DType::U8, {900}, 3),       random_bytes("d", DType::C64, {2, 3, 2, 3}, 4),
      random_bytes("e", DType::F32, {40, 9000}, 5), random_bytes("f", DType::F32, {}, 6),
      random_bytes("g", DType::BF16, {0, 4}, 7)};
  test::save(folder / "m.safetensors", tensors);
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
  std::mt19937 random(1);
  for (int i = 0; i < 400; ++i) {
    const auto& tensor = tensors[static_cast<std::size_t>(i) % tensors.size()];
    const TensorInfo& info = *checkpoint.find(tensor.spec.name);
    const auto region = random_region(info.shape, random);
    EXPECT_EQ(slice(checkpoint, info, region),
              picked(tensor.bytes, info.shape, region, headrace::info(info.dtype).block_bytes))
        << tensor.spec.name << " " << i;
  }
}

TEST(Slice, DecodesAndCutsBlocks) {
  const TempFolder folder;
  const auto numbers = test::random_floats("w", {24, 512}, 1);
  test::TestTensor blocks{{"w", DType::Q4_K, {24, 512}}, Bytes(24 * 2 * 144)};
  retype(DType::F32, numbers.bytes, DType::Q4_K, blocks.bytes);
  test::save(folder / "m.gguf", {blocks});
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.gguf");
  const TensorInfo& info = *checkpoint.find("w");
  Bytes decoded(numbers.bytes.size());
  retype(DType::Q4_K, blocks.bytes, DType::F32, decoded);
  std::mt19937 random(2);
  for (int i = 0; i < 200; ++i) {
    const auto region = random_region(info.shape, random);
    EXPECT_EQ(slice(checkpoint, info, region, {.as = DType::F32}), picked(decoded, info.shape, region, 4)) << i;
  }
  const std::vector<Range> one_block = {{3, 2, 4}, {256, 256, 1}}, no_block = {{0, 24, 1}, {0, 100, 1}};
  EXPECT_EQ(slice(checkpoint, info, one_block).size(), 2 * 144U);
  EXPECT_EQ(code_of([&] { slice(checkpoint, info, no_block); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { slice(checkpoint, info, no_block, {.as = DType::Q8_0}); }), ErrorCode::invalid_argument);
}

TEST(Slice, ConvertsOnSeveralThreadsAsOnOne) {
  const TempFolder folder;
  const auto numbers = test::random_floats("w", {700, 1300}, 1);
  test::save(folder / "m.safetensors", {numbers});
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
  const TensorInfo& info = *checkpoint.find("w");
  Bytes whole_bf16(700 * 1300 * 2);
  retype(DType::F32, numbers.bytes, DType::BF16, whole_bf16);
  for (const unsigned threads : {0U, 1U, 5U}) {
    EXPECT_EQ(slice(checkpoint, info, whole(info.shape), {.as = DType::BF16, .threads = threads}), whole_bf16);
  }
  const std::vector<Range> odd = {{1, 350, 2}, {2, 400, 3}};
  EXPECT_EQ(slice(checkpoint, info, odd, {.as = DType::BF16, .threads = 3}), picked(whole_bf16, info.shape, odd, 2));
}

TEST(Slice, RefusesRegionsOutsideAndMistakes) {
  const TempFolder folder;
  test::save(folder / "m.safetensors",
             {random_bytes("w", DType::F32, {4, 6}, 1), random_bytes("f", DType::F4, {2, 3}, 2)});
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
  const TensorInfo &w = *checkpoint.find("w"), &f = *checkpoint.find("f");
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  for (const Range bad : {Range{0, 7, 1}, Range{6, 1, 1}, Range{7, 0, 1}, Range{0, 2, 0}, Range{1, 2, kMost},
                          Range{kMost, 1, 1}, Range{0, kMost, kMost}, Range{0, 4, 2}}) {
    const std::vector<Range> region = {{0, 4, 1}, bad};
    EXPECT_EQ(code_of([&] { slice_bytes(w, region); }), ErrorCode::invalid_argument);
  }
  EXPECT_EQ(code_of([&] { slice_bytes(w, std::vector<Range>{{0, 4, 1}}); }), ErrorCode::invalid_argument);
  Bytes small(95);
  EXPECT_EQ(code_of([&] { read_slice(checkpoint, w, whole(w.shape), small); }), ErrorCode::invalid_argument);
  EXPECT_EQ(code_of([&] { slice_bytes(w, whole(w.shape), DType::I32); }), ErrorCode::invalid_argument);
  // Rows of three halves of a byte: in one run they are numbers like others; columns of them can't be cut.
  EXPECT_EQ(slice(checkpoint, f, whole(f.shape), {.as = DType::F32}).size(), 24U);
  EXPECT_EQ(code_of([&] {
              slice_bytes(f, std::vector<Range>{{0, 2, 1}, {0, 2, 1}}, DType::F32);
            }),
            ErrorCode::invalid_argument);
  SliceOptions options;
  options.cancel.cancel();
  EXPECT_EQ(code_of([&] { slice(checkpoint, w, whole(w.shape), options); }), ErrorCode::cancelled);
  const Bytes out;
  EXPECT_EQ(slice(checkpoint, w, std::vector<Range>{{4, 0, 1}, {0, 6, 1}}), out);
}

TEST(Slice, NamesTheNumberThatDoesNotFit) {
  const TempFolder folder;
  auto numbers = test::random_floats("w", {4, 6}, 1);
  const float large = 1e30F;
  std::memcpy(numbers.bytes.data() + 15 * 4, &large, 4);
  test::save(folder / "m.safetensors", {numbers});
  const Checkpoint checkpoint = Checkpoint::open(folder / "m.safetensors");
  const TensorInfo& w = *checkpoint.find("w");
  const std::vector<Range> region = {{2, 2, 1}, {0, 6, 1}};
  try {
    slice(checkpoint, w, region, {.as = DType::F16});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::value);
    EXPECT_EQ(error.problem(), "element 3 is too large for F16");
    EXPECT_EQ(error.detail().tensor, "w");
  }
  EXPECT_EQ(slice(checkpoint, w, region, {.as = DType::F16, .nonfinite = Nonfinite::keep}).size(), 24U);
}

// What a reader asks its source for.
struct Asked {
  std::uint64_t reads = 0, bytes = 0, end = 0;
  bool in_order = true;

  flow::RunReader::Read counting() {
    return [this](std::uint64_t at, std::span<std::byte> out) {
      ++reads;
      bytes += out.size();
      in_order = in_order && at >= end;
      end = at + out.size();
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>((at + i) * 7);
    };
  }
};

TEST(Runs, ThatLieCloseComeWithOneRead) {
  Asked asked;
  flow::RunReader reader(asked.counting(), 100);
  Bytes out(1000);
  reader.read({.base = 5, .bytes = 1, .strides = {{1000, 2}}}, out.data());
  EXPECT_EQ(asked.reads, 1U);
  EXPECT_EQ(asked.bytes, 1999U);
  for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], static_cast<std::byte>((5 + 2 * i) * 7));
}

TEST(Runs, ThatLieApartAreReadAlone) {
  Asked asked;
  flow::RunReader reader(asked.counting(), 100);
  Bytes out(60);
  reader.read({.base = 0, .bytes = 2, .strides = {{3, 10'000}, {10, 103}}}, out.data());
  EXPECT_EQ(asked.reads, 30U);
  EXPECT_EQ(asked.bytes, 60U);
  EXPECT_EQ(out[59], std::byte{(20'000 + 9 * 103 + 1) * 7 % 256});
  EXPECT_TRUE(asked.in_order);
}

TEST(Runs, FillTheWindowAndNoMore) {
  Asked asked;
  flow::RunReader reader(asked.counting(), 1000);
  const std::uint64_t rows = 3000, columns = 100, stride = 8, row = 1200;
  Bytes out(rows * columns * 4);
  reader.read({.base = 0, .bytes = 4, .strides = {{rows, row}, {columns, stride}}}, out.data());
  EXPECT_EQ(asked.reads, (rows * row + (256 << 10) - 1) / (256 << 10));
  EXPECT_TRUE(asked.in_order);
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      ASSERT_EQ(out[(r * columns + c) * 4], static_cast<std::byte>((r * row + c * stride) * 7));
    }
  }
}

TEST(Runs, ThatAreLongGoStraightToTheirPlace) {
  Asked asked;
  flow::RunReader reader(asked.counting(), 1000);
  Bytes out(std::size_t{5} * (64 << 10));
  reader.read({.base = 0, .bytes = 64 << 10, .strides = {{5, (64 << 10) + 8}}}, out.data());
  EXPECT_EQ(asked.reads, 5U);
  EXPECT_EQ(asked.bytes, out.size());
}

}  // namespace
}  // namespace headrace
