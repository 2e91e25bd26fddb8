// Tensors that the system's cache doesn't keep from one use to the next.
#include "support/error_of.hpp"
#include "support/model.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace headrace {
namespace {

using test::error_of;
using test::random_bytes;
using test::TempFolder;

constexpr std::uint64_t kBytes = std::uint64_t{2} << 20;
constexpr unsigned kTensors = 8;

std::vector<std::byte> seen(const LoadedTensor& tensor) {
  const auto bytes = tensor.buffer.host_bytes();
  return {bytes.begin(), bytes.end()};
}

struct PastCacheTest : testing::Test {
  const TempFolder folder;
  const std::string path = folder / "m.safetensors";
  std::vector<test::TestTensor> tensors{random_bytes("small", DType::BF16, {7}, 1)};
  std::vector<std::string> names;
  std::optional<Checkpoint> checkpoint;

  PastCacheTest() {
    for (unsigned i = 0; i < kTensors; ++i) {
      names.push_back("layers." + std::to_string(i));
      tensors.push_back(random_bytes(names.back(), DType::BF16, {kBytes / 2}, 10 + i));
    }
    test::save(path, tensors);
    checkpoint.emplace(Checkpoint::open(path));
  }
  void SetUp() override {
    const int direct = ::open(path.c_str(), O_RDONLY | O_DIRECT);
    if (direct < 0) GTEST_SKIP() << "this file system has no direct reads";
    ::close(direct);
    if (share() < 0.9) GTEST_SKIP() << "of this file system nobody says what is cached";  // it was just written
    drop();
    if (share() > 0.1) GTEST_SKIP() << "this file system's cache can't be dropped";
  }

  void drop() const { drop_cached(*checkpoint); }
  double share() const { return cached_share(*checkpoint).value_or(1); }
  void use_once(const DiskMap& map) const {  // through the cache
    for (const std::string& name : names) {
      map.map(name)->bring();
      EXPECT_FALSE(map.load_past_cache(name));
    }
  }
  void read_all_ahead(const DiskMap& map) const {  // of which the cache has lost all
    use_once(map);
    drop();
    map.prefetch(names);
    wait_until([&] { return map.statistics().cached_bytes == kTensors * kBytes; });
  }
  static void wait_until(auto&& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition() && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
};

TEST_F(PastCacheTest, WhatIsCachedOrWasNeverUsedIsLeftToTheCache) {
  const DiskMap map(path);
  EXPECT_FALSE(map.load_past_cache(names[0]));
  map.map(names[0])->bring();
  EXPECT_FALSE(map.load_past_cache(names[0]));
  EXPECT_FALSE(map.load_past_cache("small"));
  EXPECT_THROW(map.load_past_cache("none"), Error);
}

TEST_F(PastCacheTest, WhatTheCacheHasLostIsReadPastIt) {
  const DiskMap map(path);
  use_once(map);
  for (int pass = 0; pass < 3; ++pass) {
    drop();
    for (unsigned i = 0; i < kTensors; ++i) {
      const auto tensor = map.load_past_cache(names[i]);
      ASSERT_TRUE(tensor) << i;
      EXPECT_EQ(tensor->name, names[i]);
      EXPECT_EQ(tensor->dtype, DType::BF16);
      EXPECT_EQ(seen(*tensor), tensors[i + 1].bytes);
    }
    EXPECT_LT(share(), 0.1);
  }
}

TEST_F(PastCacheTest, TheCacheIsTriedAgain) {
  const DiskMap map(path);
  use_once(map);
  drop();
  unsigned past = 0;
  for (; past < 100 && map.load_past_cache(names[0]); ++past) {
  }
  EXPECT_GE(past, 8U);
  EXPECT_LE(past, 16U);
}

TEST_F(PastCacheTest, WhatWasReadAheadIsReadOnce) {
  const DiskMap map(path, {.memory = 10 * kTensors * (kBytes + 4096)});
  use_once(map);
  drop();
  const std::uint64_t before = map.statistics().bytes_read;
  map.prefetch(names);
  wait_until([&] { return map.statistics().cached_bytes == kTensors * kBytes; });
  EXPECT_EQ(map.statistics().cached_bytes, kTensors * kBytes);
  for (unsigned i = 0; i < kTensors; ++i) EXPECT_EQ(seen(*map.load_past_cache(names[i])), tensors[i + 1].bytes);
  EXPECT_EQ(map.statistics().bytes_read, before + kTensors * kBytes);
  EXPECT_EQ(map.statistics().cached_bytes, 0U);
  EXPECT_LT(share(), 0.1);
}

TEST_F(PastCacheTest, NoMoreIsReadAheadThanThereIsRoomFor) {
  const DiskMap map(path, {.memory = 10 * 3 * (kBytes + 4096)});
  use_once(map);
  drop();
  map.prefetch(names);
  wait_until([&] { return map.statistics().cached_bytes == 3 * kBytes; });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(map.statistics().cached_bytes, 3 * kBytes);
  // Another order than was said: what nobody takes makes way, and nobody waits for it.
  for (unsigned i = kTensors; i-- > 0;) EXPECT_EQ(seen(*map.load_past_cache(names[i])), tensors[i + 1].bytes);
  map.release(names);
  EXPECT_EQ(map.statistics().cached_bytes, 0U);
}

TEST_F(PastCacheTest, ACopyThatSomebodyHasIsNotWrittenOver) {
  const DiskMap map(path);
  use_once(map);
  drop();
  std::vector<LoadedTensor> kept;
  for (int pass = 0; pass < 3; ++pass) {
    for (const std::string& name : names) {
      if (auto tensor = map.load_past_cache(name); pass == 0) kept.push_back(std::move(*tensor));
    }
  }
  for (unsigned i = 0; i < kTensors; ++i) EXPECT_EQ(seen(kept[i]), tensors[i + 1].bytes);
}

TEST_F(PastCacheTest, CopiesOutliveTheMap) {
  std::optional<LoadedTensor> tensor;
  {
    const DiskMap map(path);
    use_once(map);
    drop();
    tensor = map.load_past_cache(names[2]);
    map.prefetch(names);  // dropped with what is under way
  }
  EXPECT_EQ(seen(*tensor), tensors[3].bytes);
}

TEST_F(PastCacheTest, AFileThatWasWrittenToOrCutIsAnError) {
  const DiskMap map(path);
  use_once(map);
  drop();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - kBytes);
  for (const bool ahead : {false, true}) {
    if (ahead) map.prefetch(names);
    for (const std::string& name : {names.front(), names.back()}) {
      const Error error = error_of([&] { map.load_past_cache(name); });
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_EQ(error.detail().tensor, name);
      EXPECT_EQ(error.detail().file, path);
    }
  }
}

// Not looked at where it lies, but copied: whole, or as engines do, part by part.
TEST_F(PastCacheTest, CopiesOfWhatTheCacheHasLostAreReadPastItToo) {
  const DiskMap map(path);
  const auto read = [&](unsigned i, bool in_parts) {
    std::vector<std::byte> out(kBytes);
    if (!in_parts) {
      map.read(names[i], out);
    } else {
      for (std::size_t at = 0; at < kBytes; at += 600'002)
        map.read_part(names[i], at, std::span(out).subspan(at, std::min<std::size_t>(600'002, kBytes - at)));
    }
    return out;
  };
  const std::uint64_t before = map.statistics().bytes_read;
  for (int pass = 0; pass < 4; ++pass) {
    drop();
    for (unsigned i = 0; i < kTensors; ++i) EXPECT_EQ(read(i, i % 2 == 0), tensors[i + 1].bytes);
    EXPECT_EQ(map.statistics().bytes_read, before + static_cast<unsigned>(pass + 1) * kTensors * kBytes);
    if (pass == 0) {
      EXPECT_GT(share(), 0.9);
    } else {
      EXPECT_LT(share(), 0.1);
    }
  }
  unsigned past = 0;
  for (; past < 100 && share() < 0.9; ++past)
    for (unsigned i = 0; i < kTensors; ++i) EXPECT_EQ(read(i, i % 2 == 0), tensors[i + 1].bytes);
  EXPECT_LE(past, 16U);
}

TEST_F(PastCacheTest, PartsOfWhatWasReadAheadAreGivenToo) {
  const DiskMap map(path, {.memory = 20 * kTensors * (kBytes + 4096)});
  read_all_ahead(map);
  const std::uint64_t before = map.statistics().bytes_read;
  std::vector<std::byte> out(kBytes);
  for (unsigned i = 0; i < kTensors; ++i) {
    for (std::size_t at = 0; at < kBytes; at += kBytes / 4)
      map.read_part(names[i], at, std::span(out).subspan(at, kBytes / 4));
    EXPECT_EQ(out, tensors[i + 1].bytes);
  }
  EXPECT_EQ(map.statistics().bytes_read, before);
  // A part alone, from the middle, is no use of the tensor, and the cache has it then.
  drop();
  map.read_part(names[0], kBytes / 2, std::span(out).first(8192));
  EXPECT_GT(share(), 0);
}

TEST_F(PastCacheTest, WithLittleMemoryCopiesGoThroughTheCache) {
  const DiskMap map(path, {.memory = 16 << 20});
  std::vector<std::byte> out(kBytes);
  for (int pass = 0; pass < 3; ++pass) {
    drop();
    for (unsigned i = 0; i < kTensors; ++i) {
      map.read(names[i], out);
      EXPECT_EQ(out, tensors[i + 1].bytes);
    }
    EXPECT_GT(share(), 0.9);
  }
}

TEST_F(PastCacheTest, APartThatIsNotWholeBlocksIsRefusedWhereverItIs) {
  const DiskMap map(path);
  std::vector<std::byte> whole(kBytes), odd(999);
  for (int pass = 0; pass < 3; ++pass) {
    map.read_part(names[0], 0, whole);
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{1}, kBytes - 998, kBytes + 2})
      EXPECT_EQ(error_of([&] { map.read_part(names[0], at, odd); }).code(), ErrorCode::invalid_argument);
    drop();
  }
}

TEST_F(PastCacheTest, WhatIsLentIsReadPastItToo) {
  const DiskMap map(path, {.memory = 1 << 20});  // nothing that was let go of stays mapped
  for (int pass = 0; pass < 4; ++pass) {
    drop();
    for (unsigned i = 0; i < kTensors; ++i) {
      const auto lent = map.view(names[i]);
      ASSERT_TRUE(lent);
      EXPECT_EQ(seen(*lent), tensors[i + 1].bytes);
      std::ranges::fill(lent->buffer.host_bytes(), std::byte{1});
    }
    if (pass == 0) {
      EXPECT_GT(share(), 0.9);
    } else {
      EXPECT_LT(share(), 0.1);
    }
  }
}

TEST_F(PastCacheTest, WhatWasReadAheadIsGivenHoweverItIsAskedFor) {
  const DiskMap map(path, {.memory = 20 * kTensors * (kBytes + 4096)});
  read_all_ahead(map);
  const std::uint64_t before = map.statistics().bytes_read;
  std::vector<std::byte> out(kBytes);
  for (unsigned i = 0; i < kTensors; i += 2) {
    EXPECT_EQ(seen(*map.view(names[i])), tensors[i + 1].bytes);
    map.read(names[i + 1], out);
    EXPECT_EQ(out, tensors[i + 2].bytes);
  }
  EXPECT_EQ(map.statistics().bytes_read, before);
  EXPECT_EQ(map.statistics().cached_bytes, 0U);
}

TEST_F(PastCacheTest, ADeviceUnderALimitReadsPastItToo) {
  const auto map = std::make_shared<const DiskMap>(path);
  std::vector<UnitSpec> units;
  for (const std::string& name : names) units.push_back({name, {name}, {}});
  Residency residency(open_device("host"), {.limit = 2 * kBytes});
  const ModelId model = residency.add("model", map, units);
  for (int pass = 0; pass < 4; ++pass) {
    drop();
    for (unsigned i = 0; i < kTensors; ++i) {
      const Lease lease = residency.lease({residency.unit(model, names[i])});
      EXPECT_EQ(seen(lease.tensor(names[i])), tensors[i + 1].bytes);
    }
    if (pass > 0) {
      EXPECT_LT(share(), 0.4);  // some were read ahead, before the drop
    }
  }
}

TEST_F(PastCacheTest, FromManyThreads) {
  const DiskMap map(path, {.memory = 20 * kBytes});
  use_once(map);
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (unsigned j = 0; j < 60; ++j) {
        if (j % 7 == i) drop();
        if (j % 3 == 0) map.prefetch(std::vector{names[(i + j) % kTensors], names[(i + j + 1) % kTensors]});
        if (j % 11 == 10) map.release(std::vector{names[j % kTensors]});
        const unsigned at = (i * 3 + j) % kTensors;
        const auto copy = map.load_past_cache(names[at]);
        EXPECT_EQ(copy ? seen(*copy) : seen(map.map(names[at])->tensor), tensors[at + 1].bytes);
        EXPECT_EQ(seen(*map.view(names[at])), tensors[at + 1].bytes);
        std::vector<std::byte> out(kBytes);
        map.read(names[at], out);
        EXPECT_EQ(out, tensors[at + 1].bytes);
      }
    });
  }
}

}  // namespace
}  // namespace headrace
