// Views read element by element, in the plainest way, are what read_strided must give; and it may not read more often
// than it says.
#include "flow/strided.hpp"

#include "support/memory_source.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace headrace::test {
namespace {

/// A view into a file of numbers that count up from 0, each of its type's bytes.
struct View {
  DType dtype = DType::F32;
  std::vector<std::uint64_t> shape, strides;
  std::uint64_t offset = 0;  // in bytes

  std::uint64_t elements() const {
    return std::accumulate(shape.begin(), shape.end(), std::uint64_t{1}, std::multiplies<>());
  }
  std::uint64_t end() const {
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < shape.size(); ++i) last += (shape[i] - 1) * strides[i];
    return offset + (last + 1) * info(dtype).block_bytes;
  }
  TensorInfo tensor() const {
    TensorInfo tensor;
    tensor.name = "view";
    tensor.shape = shape;
    tensor.elements = elements();
    tensor.offset = offset;
    tensor.bytes = elements() * info(dtype).block_bytes;
    tensor.dtype = dtype;
    tensor.encoding = Encoding::strided;
    return tensor;
  }
};

class CountingSource final : public MemorySource {
 public:
  using MemorySource::MemorySource;
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    ++reads;
    bytes += out.size();
    MemorySource::read_at(offset, out);
  }
  mutable std::uint64_t reads = 0, bytes = 0;
};

CountingSource source_for(const View& view) {
  std::string bytes(view.end(), '\0');
  std::mt19937 random(1);
  std::ranges::generate(bytes, [&random] { return static_cast<char>(random()); });
  return CountingSource(std::move(bytes));
}

std::string expected(const CountingSource& source, const View& view, std::uint64_t first, std::uint64_t count) {
  const std::size_t unit = info(view.dtype).block_bytes;
  std::string out(count * unit, '\0');
  for (std::uint64_t n = 0; n < count; ++n) {
    std::uint64_t rest = first + n, at = 0;
    for (std::size_t i = view.shape.size(); i-- > 0; rest /= view.shape[i])
      at += rest % view.shape[i] * view.strides[i];
    source.MemorySource::read_at(view.offset + at * unit,
                                 std::as_writable_bytes(std::span(out)).subspan(n * unit, unit));
  }
  return out;
}

std::string got(const CountingSource& source, const View& view, std::uint64_t first, std::uint64_t count,
                bool swapped = false) {
  std::string out(count * info(view.dtype).block_bytes, '?');
  const format::Strided how{view.strides, swapped};
  flow::read_strided(source, view.tensor(), how, first, std::as_writable_bytes(std::span(out)));
  return out;
}

void expect_right(const View& view, std::uint64_t first, std::uint64_t count) {
  const CountingSource source = source_for(view);
  ASSERT_EQ(got(source, view, first, count), expected(source, view, first, count))
      << to_string(view.shape) << " strides " << to_string(view.strides) << ", from " << first << " " << count;
}

void expect_right(const View& view) { expect_right(view, 0, view.elements()); }

TEST(Strided, ReadsWhatIsThere) {
  expect_right({.shape = {}, .strides = {}});
  expect_right({.shape = {1, 1}, .strides = {7, 9}, .offset = 12});
  expect_right({.shape = {5, 3}, .strides = {1, 5}});                // transposed
  expect_right({.shape = {5, 3}, .strides = {10, 1}});               // columns of a wider matrix
  expect_right({.shape = {5, 3}, .strides = {6, 2}});                // every second column
  expect_right({.shape = {7}, .strides = {13}, .offset = 5});        // a column
  expect_right({.shape = {2, 3, 4, 5}, .strides = {60, 1, 15, 3}});  // channels last
  expect_right({.shape = {4, 1, 6}, .strides = {6, 999, 1}});        // contiguous but for a dimension of 1
}

TEST(Strided, Repeats) {
  expect_right({.shape = {4, 6}, .strides = {0, 1}});
  expect_right({.shape = {4, 6}, .strides = {1, 0}});
  expect_right({.shape = {4, 6}, .strides = {0, 0}});
  expect_right({.shape = {3, 4, 5}, .strides = {5, 0, 1}});
  expect_right({.shape = {9, 4}, .strides = {1, 1}});  // windows that overlap
}

TEST(Strided, OfEverySize) {
  for (const DType dtype : {DType::U8, DType::BF16, DType::F32, DType::F64, DType::C64}) {
    expect_right({.dtype = dtype, .shape = {37, 41}, .strides = {1, 37}, .offset = 3});
    expect_right({.dtype = dtype, .shape = {1200, 700}, .strides = {1, 1200}});
    expect_right({.dtype = dtype, .shape = {300, 5, 70}, .strides = {1, 21000, 300}});
  }
}

TEST(Strided, InAnyParts) {
  const View views[] = {
      {.dtype = DType::U16, .shape = {13, 17}, .strides = {1, 13}},
      {.dtype = DType::U16, .shape = {13, 17}, .strides = {40, 1}},
      {.dtype = DType::U16, .shape = {13, 17}, .strides = {1, 3000}},
      {.dtype = DType::U16, .shape = {4, 5, 6}, .strides = {1, 24, 4}},
      {.dtype = DType::U16, .shape = {4, 5, 6}, .strides = {0, 6, 1}},
  };
  for (const View& view : views) {
    const CountingSource source = source_for(view);
    const std::string whole = expected(source, view, 0, view.elements());
    for (std::uint64_t first = 0; first < view.elements(); ++first) {
      for (std::uint64_t count = 1; first + count <= view.elements(); ++count) {
        ASSERT_EQ(got(source, view, first, count), whole.substr(first * 2, count * 2)) << first << " " << count;
      }
    }
  }
}

// Random views of up to 5 dimensions, transposed, with gaps small and large, with repeats and overlaps.
TEST(Strided, AtRandom) {
  std::mt19937 random(20);
  const auto below = [&random](std::uint64_t n) { return random() % n; };
  constexpr DType kTypes[] = {DType::U8, DType::F16, DType::F32, DType::F64};
  for (int round = 0; round < 600; ++round) {
    View view{.dtype = kTypes[below(4)], .shape = {}, .strides = {}, .offset = below(9)};
    const std::size_t rank = 1 + below(5);
    for (std::size_t i = 0; i < rank; ++i) view.shape.push_back(1 + below(i == 0 ? 40 : 9));
    std::vector<std::size_t> order(rank);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::shuffle(order, random);
    view.strides.resize(rank);
    std::uint64_t stride = 1 + (below(3) == 0 ? below(5) : 0);
    for (const std::size_t i : order) {
      view.strides[i] = below(8) == 0 ? 0 : stride;
      if (stride < 100'000) stride *= view.shape[i] + (below(4) == 0 ? below(300) : 0);
    }
    if (view.end() > 5'000'000) continue;
    const std::uint64_t first = below(2) == 0 ? 0 : below(view.elements());
    const std::uint64_t rest = view.elements() - first;
    expect_right(view, first, below(2) == 0 ? rest : 1 + below(rest));
    if (HasFatalFailure()) return;
  }
}

TEST(Strided, NothingOfNothing) {
  const View view{.shape = {3, 4}, .strides = {1, 3}};
  const CountingSource source = source_for(view);
  EXPECT_EQ(got(source, view, 5, 0), "");
  EXPECT_EQ(source.reads, 0u);
}

TEST(Strided, SwapsBytes) {
  const View view{.dtype = DType::U16, .shape = {2, 3}, .strides = {1, 2}};
  const CountingSource source = source_for(view);
  std::string swapped = expected(source, view, 0, 6);
  for (std::size_t i = 0; i < swapped.size(); i += 2) std::swap(swapped[i], swapped[i + 1]);
  EXPECT_EQ(got(source, view, 0, 6, true), swapped);
}

// How often and how much is read.
struct Reads {
  std::uint64_t reads, bytes;
};

Reads reads_of(const View& view, std::uint64_t first, std::uint64_t count) {
  const CountingSource source = source_for(view);
  EXPECT_EQ(got(source, view, first, count), expected(source, view, first, count));
  return {source.reads, source.bytes};
}

TEST(Strided, ReadsSmallGapsWithTheRest) {
  const Reads transposed = reads_of({.shape = {1000, 1000}, .strides = {1, 1000}}, 0, 1'000'000);
  EXPECT_LE(transposed.reads, 20u);
  EXPECT_EQ(transposed.bytes, 4'000'000u);
  const Reads columns = reads_of({.shape = {1000, 4}, .strides = {1000, 1}}, 0, 4000);  // gaps of 3984 bytes
  EXPECT_LE(columns.reads, 20u);
}

TEST(Strided, LeavesLargeGapsOut) {
  const Reads columns = reads_of({.shape = {1000, 4}, .strides = {3000, 1}}, 0, 4000);
  EXPECT_EQ(columns.reads, 1000u);
  EXPECT_EQ(columns.bytes, 16'000u);
}

TEST(Strided, ReadsRowsAsTheyAre) {
  const Reads rows = reads_of({.shape = {10, 20'000}, .strides = {30'000, 1}}, 7, 180'000);
  EXPECT_LE(rows.reads, 11u);
  EXPECT_EQ(rows.bytes, 720'000u);
}

// Ten and a half rows of a transposed matrix are one run a column.
TEST(Strided, ReadsPartsOfRowsWithTheRowsBesideThem) {
  const Reads part = reads_of({.shape = {2000, 300}, .strides = {1, 2000}}, 150, 3000);
  EXPECT_EQ(part.reads, 300u);
  EXPECT_EQ(part.bytes, 12'000u);
}

TEST(Strided, ReadsWhatIsRepeatedOnce) {
  const Reads row = reads_of({.shape = {20, 100'000}, .strides = {0, 1}}, 0, 2'000'000);
  EXPECT_EQ(row.bytes, 400'000u);
  const Reads column = reads_of({.shape = {100'000, 20}, .strides = {1, 0}}, 0, 2'000'000);
  EXPECT_EQ(column.bytes, 400'000u);
  const Reads one = reads_of({.shape = {100'000}, .strides = {0}}, 0, 100'000);
  EXPECT_EQ(one.bytes, 4u);
}

std::uint64_t good_range(const View& view) { return flow::good_range(view.tensor(), {view.strides, false}); }

TEST(Strided, AsksForRowsThatAreWorthARead) {
  EXPECT_EQ(good_range({.shape = {4096, 32'000}, .strides = {1, 4096}}), 256u * 32'000);
  EXPECT_EQ(good_range({.shape = {100, 32'000}, .strides = {1, 100}}), 100u * 32'000);
  EXPECT_EQ(good_range({.shape = {4096, 32'000}, .strides = {40'000, 1}}), 1u);
  EXPECT_EQ(good_range({.shape = {4096}, .strides = {7}}), 1u);
  EXPECT_EQ(good_range({.shape = {10, 10}, .strides = {1, 0}}), 10u * 10);
  EXPECT_EQ(good_range({.shape = {}, .strides = {}}), 1u);
}

TEST(Strided, SaysWhenTheFileEnds) {
  const View view{.shape = {10, 10}, .strides = {1, 10}};
  const CountingSource source(std::string(399, '\0'));
  EXPECT_THROW(got(source, view, 0, 100), Error);
}

}  // namespace
}  // namespace headrace::test
