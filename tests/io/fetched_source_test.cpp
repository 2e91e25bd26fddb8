// A program's own streams as sources: every byte once and in place, what can't be right refused, no read after a stop.
#include "io/fetched_source.hpp"

#include "support/text_stream.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace headrace::io {
namespace {

using test::Behaviour;
using test::TextStream;

std::string numbers(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  return text;
}

SourceOptions options_for(const std::shared_ptr<ByteStream>& stream) {
  SourceOptions options;
  options.fetch = [stream](const std::string&) { return stream; };
  return options;
}

std::shared_ptr<const ByteSource> open_one(const std::shared_ptr<ByteStream>& stream) {
  return open(Location("s3://bucket/model.bin", Opener::fetch), options_for(stream));
}

std::string read(const ByteSource& source, std::uint64_t offset, std::size_t n) {
  std::string text(n, '?');
  source.read_at(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

std::optional<Error> error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

TEST(FetchedSource, AStreamIsReadForward) {
  const std::string text = numbers(300'000);
  for (const std::size_t step : {1U, 999U, 1U << 20}) {
    const auto source = open_one(std::make_shared<TextStream>(text, Behaviour{.step = step}));
    EXPECT_EQ(source->access(), Access::forward);
    EXPECT_EQ(source->size(), kUnknownSize);
    EXPECT_EQ(source->name(), "s3://bucket/model.bin");
    EXPECT_EQ(read(*source, 0, 100), text.substr(0, 100));
    EXPECT_EQ(read(*source, 50, 200'000), text.substr(50, 200'000));
    EXPECT_EQ(read(*source, 250'000, 50'000), text.substr(250'000));
    std::byte more;
    EXPECT_EQ(source->read_some_at(300'000, std::span(&more, 1)), 0U);
  }
}

TEST(FetchedSource, RangesAreReadByManyAtOnce) {
  const std::string text = numbers(100'000);
  const auto source =
      open_one(std::make_shared<TextStream>(text, Behaviour{.step = 1000, .ranges = true, .size = text.size()}));
  EXPECT_EQ(source->access(), Access::random);
  EXPECT_EQ(source->size(), text.size());
  std::vector<std::string> got(4);
  {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < got.size(); ++i)
      threads.emplace_back([&, i] { got[i] = read(*source, (3 - i) * 25'000, 25'000); });
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(got[3] + got[2] + got[1] + got[0], text);
}

class Liar final : public ByteStream {
 public:
  std::size_t read(std::span<std::byte> out) override { return out.size() + 1; }
  std::size_t read_at(std::uint64_t, std::span<std::byte> out) override { return out.size() + 1; }
  std::optional<std::uint64_t> size() const override { return 1000; }
  bool ranges() const override { return has_ranges; }
  bool has_ranges = false;
};

TEST(FetchedSource, MoreThanWasAskedForIsAnError) {
  for (const bool ranges : {false, true}) {
    const auto liar = std::make_shared<Liar>();
    liar->has_ranges = ranges;
    const auto error = error_of([&] { read(*open_one(liar), 0, 10); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::io);
    EXPECT_EQ(error->detail().file, "s3://bucket/model.bin");
    EXPECT_EQ(error->detail().expected, "at most 10 bytes");
    EXPECT_EQ(error->detail().found, "11");
  }
}

TEST(FetchedSource, AnEndBeforeTheSizeIsAnError) {
  for (const bool ranges : {false, true}) {
    const auto source = open_one(std::make_shared<TextStream>("12345", Behaviour{.ranges = ranges, .size = 9}));
    const auto error = error_of([&] { read(*source, 0, 9); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->code(), ErrorCode::io);
    EXPECT_EQ(error->problem(), "the stream ends too soon");
    EXPECT_EQ(error->detail().offset, 5U);
    EXPECT_EQ(error->detail().expected, "9 bytes, as it says");
  }
}

TEST(FetchedSource, BytesAfterTheSizeAreAnError) {
  const auto source = open_one(std::make_shared<TextStream>("12345", Behaviour{.size = 3}));
  const auto error = error_of([&] { read(*source, 0, 4); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->problem(), "the stream goes on after its end");
  EXPECT_EQ(error->detail().offset, 3U);
}

TEST(FetchedSource, WhatIsNoStreamIsRefused) {
  EXPECT_EQ(error_of([] { open_one(nullptr); })->code(), ErrorCode::invalid_argument);
  const auto sizeless = std::make_shared<TextStream>("1", Behaviour{.ranges = true});
  EXPECT_EQ(error_of([&] { open_one(sizeless); })->code(), ErrorCode::invalid_argument);
}

TEST(FetchedSource, AfterAStopNoReadBegins) {
  for (const bool ranges : {false, true}) {
    for (const bool by_token : {false, true}) {
      const auto stream = std::make_shared<TextStream>("123456", Behaviour{.ranges = ranges, .size = 6});
      const SourceOptions options = options_for(stream);
      const auto source = open(Location("x", Opener::fetch), options);
      EXPECT_EQ(read(*source, 0, 3), "123");
      const int reads = stream->reads;
      by_token ? options.cancel.cancel() : source->interrupt();
      EXPECT_EQ(error_of([&] { read(*source, 3, 3); })->code(), ErrorCode::cancelled);
      EXPECT_EQ(stream->reads, reads);
    }
  }
}

TEST(FetchedSource, IsAskedForTheLocationAsItWasGiven) {
  const auto asked_for = [](const std::string& text, const std::string& relative = {}) {
    std::string asked;
    SourceOptions options;
    options.fetch = [&](const std::string& location) {
      asked = location;
      return std::make_shared<TextStream>("1");
    };
    const Location first(text, opener_of(options));
    const auto source = open(relative.empty() ? first : first.beside(relative), options);
    EXPECT_EQ(source->name().find("secret"), std::string::npos);
    return asked;
  };
  for (const char* text : {"model.json", "/no/such/folder/model.json", "-", "https://me:secret@host/a.json?key=secret",
                           "hf://owner/repo@v1/model.json", "s3://bucket/model.json", "a scheme: of/some kind"})
    EXPECT_EQ(asked_for(text), text);
  EXPECT_EQ(asked_for("a/model.json", "sub/x y.bin"), "a/sub/x y.bin");
  EXPECT_EQ(asked_for("model.json", "-"), "-");
  EXPECT_EQ(asked_for("https://me:secret@host/a/model.json?key=1", "x y.bin"), "https://me:secret@host/a/x%20y.bin");
  EXPECT_EQ(asked_for("s3://bucket/a/model.json", "x.bin"), "s3://bucket/a/x.bin");
  EXPECT_EQ(asked_for("hf://owner/repo/a/model.json@v1", "x.bin"), "hf://owner/repo/a/x.bin@v1");
}

TEST(FetchedSource, APrefixTakesTheFoldersPlace) {
  const auto given = [](const char* prefix, const char* relative) {
    return below(prefix, relative, Opener::fetch).given();
  };
  EXPECT_EQ(given("weights", "a b.bin"), "weights/a b.bin");
  EXPECT_EQ(given("weights/", "a.bin"), "weights/a.bin");
  EXPECT_EQ(given("/", "a.bin"), "/a.bin");
  EXPECT_EQ(given("https://host/w?dir=", "a.bin"), "https://host/w?dir=/a.bin");
  EXPECT_EQ(given("https://host/w", "sub/a b.bin"), "https://host/w/sub/a%20b.bin");
  EXPECT_EQ(below("hf://owner/repo@v1", "a.bin", Opener::own).url(), hub_endpoint() + "/owner/repo/resolve/v1/a.bin");
  EXPECT_THROW(below("s3://bucket", "a.bin", Opener::own), Error);
}

}  // namespace
}  // namespace headrace::io
