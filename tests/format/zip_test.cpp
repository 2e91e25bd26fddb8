#include "format/zip/archive.hpp"
#include "support/memory_source.hpp"
#include "support/temp_folder.hpp"
#include "support/zip_file.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace headrace::test {
namespace {

using format::zip::Archive;
using format::zip::Entry;

constexpr std::uint64_t kMemory = std::uint64_t{8} << 20;

std::shared_ptr<const io::ByteSource> source_of(std::string bytes) {
  return std::make_shared<MemorySource>(std::move(bytes), "model.zip");
}

Archive open(std::string bytes, std::uint64_t memory = kMemory) { return {source_of(std::move(bytes)), memory}; }

void expect_error(ErrorCode code, std::string_view part, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "accepted, but should say: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
    EXPECT_NE(std::string_view(error.what()).find("model.zip"), std::string_view::npos) << error.what();
  }
}

void expect_refused(const std::string& bytes, std::string_view part, ErrorCode code = ErrorCode::format) {
  expect_error(code, part, [&] { open(bytes); });
}

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string read(const io::ByteSource& source, std::uint64_t offset, std::size_t bytes) {
  std::string out(bytes, ' ');
  source.read_at(offset, std::as_writable_bytes(std::span(out)));
  return out;
}

const Entry& entry(const Archive& archive, std::string_view name) {
  const Entry* found = archive.find(name);
  if (!found) throw std::runtime_error("no such entry");
  return *found;
}

/// Bytes that don't repeat, and that deflate makes smaller all the same.
std::string noise(std::size_t bytes, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string out(bytes, ' ');
  for (char& c : out) c = static_cast<char>('a' + random() % 16);
  return out;
}

/// Opens and reads whatever is there, as far as it can be read.
void read_all(std::string bytes) {
  const Archive archive = open(std::move(bytes));
  for (const Entry& one : archive.entries()) {
    const std::vector<std::byte> whole = archive.read(one, 1 << 20);
    if (one.deflated) {
      EXPECT_EQ(read(*archive.inflated(one), 0, whole.size()), text(whole));
    } else {
      EXPECT_EQ(read(*archive.bytes(), one.data_offset, whole.size()), text(whole));
    }
  }
  archive.bytes()->finish();
}

TEST(Zip, ReadsStoredAndDeflatedEntries) {
  const std::string big = noise(300'000);
  const Archive archive = open(ZipFile().add("a/one", "first").add_deflated("a/two", big).add("empty", "").finish());
  ASSERT_EQ(archive.entries().size(), 3U);
  EXPECT_EQ(archive.entries()[0].name, "a/one");
  EXPECT_EQ(archive.entries()[1].bytes, big.size());
  EXPECT_TRUE(archive.entries()[1].deflated);
  EXPECT_LT(archive.entries()[1].stored_bytes, big.size());
  EXPECT_EQ(archive.find("a/three"), nullptr);

  EXPECT_EQ(text(archive.read(entry(archive, "a/one"), 5)), "first");
  EXPECT_EQ(text(archive.read(entry(archive, "a/two"), big.size())), big);
  EXPECT_TRUE(archive.read(entry(archive, "empty"), 0).empty());
  EXPECT_EQ(read(*archive.bytes(), entry(archive, "a/one").data_offset, 5), "first");

  const auto two = archive.inflated(entry(archive, "a/two"));
  EXPECT_EQ(two->size(), big.size());
  EXPECT_EQ(read(*two, 123'456, 1000), big.substr(123'456, 1000));
  EXPECT_EQ(read(*two, 0, big.size()), big);
  std::string start(100, ' ');
  archive.read_start(entry(archive, "a/two"), std::as_writable_bytes(std::span(start)));
  EXPECT_EQ(start, big.substr(0, 100));
  archive.bytes()->finish();
  two->finish();
}

TEST(Zip, ReadsZip64DescriptorsFoldersAndComments) {
  ZipFile file;
  file.add("folder/", "").add("long", "bytes", {.zip64 = true}).add("later", "more", {.descriptor = true});
  file.add("padded", "x", {.local_extra = raw(std::uint16_t{0x4246}) + raw(std::uint16_t{3}) + "ZZZ"});
  file.add_deflated("both", "deflated bytes", {.descriptor = true, .zip64 = true});
  for (const bool zip64 : {false, true}) {
    for (const std::size_t comment : {0, 10, 2000, 65535}) {
      const Archive archive = open(file.finish({.comment = std::string(comment, 'c'), .zip64 = zip64}));
      ASSERT_EQ(archive.entries().size(), 4U);
      EXPECT_EQ(text(archive.read(entry(archive, "long"), 10)), "bytes");
      EXPECT_EQ(text(archive.read(entry(archive, "later"), 10)), "more");
      EXPECT_EQ(text(archive.read(entry(archive, "padded"), 10)), "x");
      EXPECT_EQ(text(archive.read(entry(archive, "both"), 20)), "deflated bytes");
    }
  }
  EXPECT_TRUE(open(ZipFile().finish()).entries().empty());
  EXPECT_EQ(open(ZipFile("#!/bin/sh\n").add("a", "b").finish()).entries().size(), 1U);
}

TEST(Zip, RefusesWrongEnds) {
  ZipFile file;
  file.add("a", "bytes");
  const std::string good = file.finish();
  expect_refused("", "no end");
  expect_refused("PK\x03\x04", "no end");
  expect_refused(good + "x", "no end");
  expect_refused("prefix" + good, "put before the archive");
  expect_refused(file.finish({.comment = ZipFile().finish()}), "directory doesn't end where");
  expect_refused(file.finish({.entries = 2}), "many entries");
  expect_refused(file.finish({.entries = 0}), "more in it than its entries");
  expect_refused(file.finish({.entries = 60'000}), "can't have that many entries");
  expect_refused(file.finish({.zip64 = true, .entries = ~std::uint64_t{0} / 2}), "can't have that many entries");
  expect_refused(file.finish({.directory_bytes = 5}), "directory doesn't end where");
  expect_refused(file.finish({.zip64 = true, .directory_offset = ~std::uint64_t{0}}), "directory doesn't end where");
  expect_refused(file.finish({.zip64 = true, .directory_bytes = ~std::uint64_t{0}}), "directory doesn't end where");
  expect_refused(file.finish({.disk = 1}), "several parts", ErrorCode::unsupported);

  std::string contradiction = file.finish({.zip64 = true});
  contradiction[contradiction.size() - 22 + 8] = 7;
  contradiction[contradiction.size() - 22 + 10] = 7;
  expect_refused(contradiction, "contradict each other");
  std::string astray = file.finish({.zip64 = true});
  astray[astray.size() - 22 - 20 + 8] ^= 1;  // where the locator points
  expect_refused(astray, "no ZIP64 end record here");
}

TEST(Zip, RefusesTwoOfAName) {
  expect_refused(ZipFile().add("a", "1").add("b", "2").add("a", "3").finish(), "'a' is in the archive twice");
}

TEST(Zip, RefusesOverlaps) {
  // Two names for one entry's bytes, and one inside another's: what makes a small file large.
  ZipFile same;
  same.add("a", "bytes").add("b", "bytes", {.header = 0, .local_name = "a"});
  expect_refused(same.finish(), "overlaps the entry 'b'");
  const std::string inner = ZipFile().add("inner", "data").finish();
  ZipFile outer;
  outer.add("outer", inner.substr(0, 30 + 5 + 4));
  outer.add("inner", "data", {.header = 30 + 5});
  expect_refused(outer.finish(), "overlaps the entry 'inner'");

  ZipFile past;
  past.add("a", "bytes", {.bytes = 100, .stored_bytes = 100});
  expect_refused(past.finish(), "past the archive's data");
  ZipFile into;
  into.add("a", "bytes", {.bytes = 36, .stored_bytes = 36});
  expect_refused(into.finish(), "overlaps the archive's directory");
  expect_refused(ZipFile().add("a", "b", {.header = 1 << 20}).finish(), "past the archive's data");
  ZipFile wide;
  wide.add("a", "b", {.header = ~std::uint64_t{0} - 5, .zip64 = true});
  expect_refused(wide.finish(), "past the archive's data");
  ZipFile huge;
  huge.add("a", "b", {.bytes = ~std::uint64_t{0} - 5, .stored_bytes = ~std::uint64_t{0} - 5, .zip64 = true});
  expect_refused(huge.finish(), "past the archive's data");

  // An extra field that pushes the data into the next entry: only the local header tells.
  std::string pushed = ZipFile().add("a", "bytes").add("b", "more").finish();
  pushed[28] = 4;
  expect_refused(pushed, "reaches into what comes after it");
}

TEST(Zip, RefusesWhatContradictsItself) {
  const auto one = [](const ZipClaims& claims) { return ZipFile().add("a", "bytes", claims).finish(); };
  expect_refused(one({.local_name = "b"}), "another name in its own header");
  expect_refused(one({.local_name = "ab"}), "another name in its own header");
  expect_refused(one({.local_flags = 8}), "other flags in its own header");
  expect_refused(one({.local_method = 8}), "another compression in its own header");
  expect_refused(one({.local_bytes = 6}), "other sizes in its own header");
  expect_refused(one({.local_bytes = 6, .zip64 = true}), "other sizes in its own header");
  expect_refused(one({.local_crc = 6}), "another checksum in its own header");
  expect_refused(one({.bytes = 4}), "with two sizes");
  expect_refused(ZipFile("PK").add("a", "b", {.header = 0}).finish(), "has no header of its own here");
  std::string zip64 = ZipFile().add("a", "bytes", {.zip64 = true}).finish();
  zip64[zip64.rfind(raw(std::uint16_t{1}) + raw(std::uint16_t{24}))] = 2;  // now a field of another kind
  expect_refused(zip64, "lacks a number of its ZIP64 field");
}

TEST(Zip, NamesWhatItCannotRead) {
  const auto refuse = [](const ZipClaims& claims, std::string_view part) {
    expect_refused(ZipFile().add("good", "1").add("weights", "bytes", claims).finish(), part, ErrorCode::unsupported);
  };
  refuse({.flags = 1}, "'weights' is encrypted");
  refuse({.flags = 1 << 6}, "'weights' is encrypted");
  refuse({.method = 12}, "'weights' is compressed by a method");
  refuse({.flags = 1 << 5}, "'weights' is compressed by a method");
}

TEST(Zip, AnyCutIsRefused) {
  ZipFile file;
  file.add("a", noise(50)).add_deflated("b", noise(200)).add("c", "x", {.descriptor = true, .zip64 = true});
  for (const bool zip64 : {false, true}) {
    const std::string whole = file.finish({.comment = "the end", .zip64 = zip64});
    read_all(whole);
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes)
      EXPECT_THROW(open(whole.substr(0, bytes)), Error) << bytes << " bytes";
  }
}

TEST(Zip, AnyFlippedBitIsFoundOrHarmless) {
  ZipFile file;
  file.add("a", noise(50)).add_deflated("b", noise(200)).add("c", "x", {.descriptor = true, .zip64 = true});
  const std::string whole = file.finish({.zip64 = true});
  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    try {
      read_all(std::move(bytes));
    } catch (const Error& error) {
      ++refused;
      EXPECT_TRUE(error.code() == ErrorCode::format || error.code() == ErrorCode::unsupported) << error.what();
    }
  }
  EXPECT_GT(refused, whole.size() * 8 / 2);
}

TEST(Zip, FindsWrongChecksums) {
  const std::string data = noise(100'000);
  const Archive archive = open(ZipFile()
                                   .add("good", data)
                                   .add("bad", data, {.crc = 0x12345678})
                                   .add_deflated("packed", data, {.crc = 0x12345678})
                                   .finish());
  const std::uint64_t bad = entry(archive, "bad").data_offset;
  const auto expect_found = [&](const std::function<void()>& action) {
    expect_error(ErrorCode::format, "expected 12345678", action);
  };
  const auto bytes = archive.bytes();
  EXPECT_EQ(read(*bytes, entry(archive, "good").data_offset, data.size()), data);
  bytes->finish();
  expect_found([&] { archive.read(entry(archive, "bad"), data.size()); });
  expect_found([&] { archive.read(entry(archive, "packed"), data.size()); });
  const auto packed = archive.inflated(entry(archive, "packed"));
  expect_found([&] { read(*packed, 0, 1); });
  expect_found([&] { read(*packed, 0, 1); });
  expect_found([&] { packed->finish(); });

  // Read whole, it is found at once; in part, at the end; looked at only, never.
  expect_found([&] { read(*bytes, bad, data.size()); });
  expect_found([&] { bytes->finish(); });
  const Archive again = open(ZipFile().add("bad", data, {.crc = 1}).finish());
  std::string start(10, ' ');
  again.read_start(entry(again, "bad"), std::as_writable_bytes(std::span(start)));
  again.bytes()->finish();
  read(*again.bytes(), entry(again, "bad").data_offset + 500, 10);
  expect_error(ErrorCode::format, "'bad' is damaged: its checksum is wrong", [&] { again.bytes()->finish(); });
}

/// Counts what is asked of it.
class CountingSource final : public MemorySource {
 public:
  using MemorySource::MemorySource;
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    ++reads;
    bytes += out.size();
    MemorySource::read_at(offset, out);
  }
  mutable std::atomic<std::uint64_t> reads = 0, bytes = 0;
};

TEST(Zip, ChecksPiecesInAnyOrderFromManyThreads) {
  constexpr std::size_t kPieces = 200, kPiece = 1000;
  const std::string data = noise(kPieces * kPiece + 77);
  for (const bool right : {true, false}) {
    const auto source = std::make_shared<CountingSource>(
        ZipFile().add("x", data, {.crc = crc_of(data) + (right ? 0u : 1u)}).finish(), "model.zip");
    const Archive archive(source, kMemory);
    const auto bytes = archive.bytes();
    const std::uint64_t begin = entry(archive, "x").data_offset;
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < 2 * kPieces; ++i) order.push_back(i / 2);  // each of them twice
    std::shuffle(order.begin(), order.end(), std::mt19937(7));
    source->bytes = 0;
    std::atomic<std::size_t> next = 0, found = 0;
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (std::size_t i = next++; i < order.size(); i = next++) {
          const std::size_t at = order[i] * kPiece, length = i % 3 == 0 ? kPiece + 77 : kPiece;
          try {
            EXPECT_EQ(read(*bytes, begin + at, length), data.substr(at, length));
          } catch (const Error&) {
            ++found;
          }
        }
      });
    }
    threads.clear();
    const std::uint64_t before = source->bytes;
    if (right) {
      read(*bytes, begin + data.size() - 77, 77);
      bytes->finish();
      EXPECT_EQ(found, 0U);
      EXPECT_EQ(source->bytes, before + 77) << "nothing has to be read again";
    } else {
      expect_error(ErrorCode::format, "'x' is damaged", [&] { bytes->finish(); });
    }
  }
}

TEST(Zip, ReadsTheRestOfWhatWasBegunAndNothingElse) {
  const std::string data = noise(1'000'000);
  const auto source = std::make_shared<CountingSource>(
      ZipFile().add("begun", data).add("untouched", data, {.crc = 3}).add("views", data).finish(), "model.zip");
  const Archive archive(source, kMemory);
  const auto bytes = archive.bytes();
  source->bytes = 0;
  read(*bytes, entry(archive, "begun").data_offset + 400'000, 200'000);
  // Every second of 5,000 rows: more runs than are kept, so it is read again as a whole.
  for (std::uint64_t at = 0; at < data.size(); at += 200) read(*bytes, entry(archive, "views").data_offset + at, 100);
  EXPECT_EQ(source->bytes, 700'000U);
  const std::size_t memory = bytes->memory();
  bytes->finish();
  EXPECT_EQ(source->bytes, 700'000U + 800'000U + 1'000'000U);
  EXPECT_LT(memory, std::size_t{1} << 20);
}

TEST(Zip, OneReadMayCoverManyEntries) {
  ZipFile file;
  for (int i = 0; i < 50; ++i) file.add("e" + std::to_string(i), noise(100, static_cast<unsigned>(i)));
  file.add("bad", "bytes", {.crc = 9});
  const Archive archive = open(file.finish());
  const std::uint64_t end = entry(archive, "bad").data_offset;
  EXPECT_EQ(read(*archive.bytes(), 0, end).size(), end);
  archive.bytes()->finish();
  expect_error(ErrorCode::format, "'bad' is damaged", [&] { read(*archive.bytes(), 0, end + 5); });
}

// PyTorch writes 0 for every checksum when it is told to compute none.
TEST(Zip, AnArchiveWithoutAnyChecksumIsReadUnchecked) {
  const ZipClaims none{.crc = 0, .descriptor = true};
  const Archive archive = open(ZipFile().add("a", "one", none).add("b", "two", none).add("c", "").finish());
  EXPECT_EQ(text(archive.read(entry(archive, "a"), 3)), "one");
  EXPECT_EQ(read(*archive.bytes(), entry(archive, "b").data_offset, 3), "two");
  archive.bytes()->finish();
  const Archive some = open(ZipFile().add("a", "one", none).add("b", "two").finish());
  expect_error(ErrorCode::format, "'a' is damaged", [&] { some.read(entry(some, "a"), 3); });
  const Archive packed = open(ZipFile().add_deflated("a", "one", none).finish());
  expect_error(ErrorCode::format, "'a' is damaged", [&] { packed.read(entry(packed, "a"), 3); });
}

TEST(Zip, InflatesNoMoreThanTheDirectorySays) {
  const std::string zeros(4 << 20, '\0'), stream = deflated(zeros);
  const auto expect_bad = [&](const std::string& bytes, std::string_view part) {
    const Archive archive = open(bytes);
    expect_error(ErrorCode::format, part, [&] { archive.read(archive.entries()[0], 8 << 20); });
    expect_error(ErrorCode::format, part, [&] { read(*archive.inflated(archive.entries()[0]), 0, 1); });
  };
  expect_bad(ZipFile().add_stream("bomb", "few", stream).finish(), "larger than the archive says");
  expect_bad(ZipFile().add_stream("short", zeros + "x", stream).finish(), "shorter than the archive says");
  expect_bad(ZipFile().add_stream("tail", zeros, stream + "more").finish(), "goes on after its deflated data");
  expect_bad(ZipFile().add_stream("cut", zeros, stream.substr(0, stream.size() - 3)).finish(), "ends before");
  expect_bad(ZipFile().add_stream("nonsense", "data", "\x07\x07\x07").finish(), "makes no sense");
  expect_bad(ZipFile().add_stream("none", "data", "").finish(), "ends before");
  const ZipClaims large{.bytes = std::uint64_t{1} << 40, .zip64 = true};
  expect_refused(ZipFile().add_stream("claim", "", stream, large).finish(), "can't be that large");
  const Archive archive = open(ZipFile().add_deflated("bomb", zeros).finish());
  expect_error(ErrorCode::format, "too large", [&] { archive.read(archive.entries()[0], 1 << 20); });
}

TEST(Zip, ManyThreadsReadOneInflatedEntry) {
  const std::string data = noise(3'000'000);
  const Archive archive = open(ZipFile().add("pad", "pad").add_deflated("x", data).add_deflated("y", data).finish());
  const auto x = archive.inflated(entry(archive, "x")), y = archive.inflated(entry(archive, "y"));
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      const io::ByteSource& source = t % 2 ? *x : *y;
      for (std::size_t at = t * 50'000; at < data.size(); at += 200'000)
        EXPECT_EQ(read(source, at, 10'000), data.substr(at, 10'000));
    });
  }
  threads.clear();
  EXPECT_EQ(read(*x, data.size(), 0), "");
  EXPECT_THROW(read(*x, data.size(), 1), Error);
  EXPECT_THROW(read(*x, ~std::uint64_t{0}, 2), Error);
}

/// Waits in a read until it is interrupted.
class StuckSource final : public MemorySource {
 public:
  using MemorySource::MemorySource;
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override {
    if (stuck) {
      reading = true;
      interrupted.wait(false);
      throw Error(ErrorCode::cancelled, "cancelled");
    }
    MemorySource::read_at(offset, out);
  }
  void interrupt() const noexcept override {
    interrupted = true;
    interrupted.notify_all();
  }
  mutable std::atomic<bool> stuck = false, reading = false, interrupted = false;
};

TEST(Zip, InterruptEndsInflatingAndAllThatWait) {
  const auto stuck = std::make_shared<StuckSource>(ZipFile().add_deflated("x", noise(1'000'000)).finish(), "model.zip");
  const Archive archive(stuck, kMemory);
  const auto source = archive.inflated(archive.entries()[0]);
  stuck->stuck = true;
  std::atomic<int> cancelled = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      try {
        read(*source, 900'000, 10);
      } catch (const Error& error) {
        cancelled += error.code() == ErrorCode::cancelled;
      }
    });
  }
  while (!stuck->reading) std::this_thread::yield();
  source->interrupt();
  threads.clear();
  EXPECT_EQ(cancelled, 3);
}

TEST(Zip, SpoolErrorsReachTheReader) {
  const Archive archive = open(ZipFile().add_deflated("x", noise(1000)).finish());
  const char* before = std::getenv("TMPDIR");
  const std::optional<std::string> kept = before ? std::optional<std::string>(before) : std::nullopt;
  ::setenv("TMPDIR", "/no/such/folder", 1);
  const auto source = archive.inflated(archive.entries()[0]);
  try {
    read(*source, 0, 10);
    ADD_FAILURE() << "it found room";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_NE(std::string_view(error.what()).find("set TMPDIR"), std::string_view::npos) << error.what();
  }
  kept ? ::setenv("TMPDIR", kept->c_str(), 1) : ::unsetenv("TMPDIR");
}

TEST(Zip, ManyEntriesAreReadFastAndInLittleMemory) {
  constexpr std::size_t kEntries = 100'000;
  ZipFile file;
  for (std::size_t i = 0; i < kEntries; ++i) file.add("archive/data/" + std::to_string(i), "0123456789abcdef");
  const auto source = std::make_shared<CountingSource>(file.finish({.zip64 = true}), "model.zip");
  const auto begin = std::chrono::steady_clock::now();
  const Archive archive(source, std::uint64_t{16} << 20);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(archive.entries().size(), kEntries);
  EXPECT_NE(archive.find("archive/data/99999"), nullptr);
  EXPECT_LT(archive.memory(), std::size_t{10} << 20);
  EXPECT_LT(source->reads, 1000U) << "neighbours' headers are read together";
  EXPECT_LT(took.count(), 5.0);  // 0.05 s here; a sanitizer takes longer
  RecordProperty("seconds", std::to_string(took.count()));
  expect_error(ErrorCode::budget, "raise --memory", [&] { Archive(source, std::uint64_t{4} << 20); });
}

TEST(Zip, HostileNumbersCostNothing) {
  // 60,000 names of 60,000 bytes would be 3.6 GB.
  ZipFile file;
  const std::string name(60'000, 'n');
  for (int i = 0; i < 200; ++i) file.add(name + std::to_string(i), "");
  expect_error(ErrorCode::budget, "raise --memory", [&] { open(file.finish(), 4 << 20); });
  std::string ended = ZipFile().add("a", "b").finish();
  const std::size_t at = ended.rfind("PK\x01\x02");
  ended[at + 28] = ended[at + 29] = '\xFF';  // the name's length
  expect_refused(ended, "ends inside an entry");
  const std::string odd = ZipFile().add("../up\x1b[31m\xff", "b", {.crc = 1}).finish();
  const Archive archive = open(odd);
  expect_error(ErrorCode::format, "'../up\\u001b[31m\\xff' is damaged", [&] { archive.read(archive.entries()[0], 1); });
}

}  // namespace
}  // namespace headrace::test
