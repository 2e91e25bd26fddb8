// Files one after the other: opened when they are needed, closed when they are done, neither longer nor shorter.
#include "io/chain.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace headrace::io {
namespace {

/// How many files are open, and which was opened last.
struct Log {
  int open = 0, most = 0;
  std::vector<std::size_t> opened;
};

class Part final : public ForwardSource {
 public:
  Part(std::string name, std::string text, bool sized, Log& log)
      : ForwardSource(std::move(name), sized ? text.size() : kUnknownSize), text_(std::move(text)), log_(log) {
    log_.most = std::max(log_.most, ++log_.open);
  }
  ~Part() override { --log_.open; }

 protected:
  std::size_t receive(std::span<std::byte> out) const override {
    const std::size_t n = std::min({out.size(), text_.size() - at_, std::size_t{2}});
    if (n > 0) std::memcpy(out.data(), text_.data() + at_, n);
    at_ += n;
    return n;
  }

 private:
  const std::string text_;
  Log& log_;
  mutable std::size_t at_ = 0;
};

class ChainTest : public testing::TestWithParam<bool> {  // do the files know their size?
 protected:
  std::shared_ptr<Chain> chain(std::uint64_t size, std::vector<std::string> texts, std::size_t opened = 0) {
    const auto open = [this, texts](std::size_t i, const CancelToken&) -> Chain::Source {
      log_.opened.push_back(i);
      return std::make_shared<Part>("file " + std::to_string(i), texts[i], GetParam(), log_);
    };
    Chain::Files files{.opened = {}, .count = texts.size(), .open = open, .memory = 0};
    for (std::size_t i = 0; i < opened; ++i) files.opened.push_back(open(i, {}));
    return std::make_shared<Chain>("group", size, std::move(files), cancel_);
  }

  static std::string read(const ByteSource& source, std::uint64_t offset, std::size_t n) {
    std::string text(n, '?');
    source.read_at(offset, std::as_writable_bytes(std::span(text)));
    return text;
  }

  static std::optional<Error> error_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& error) {
      return error;
    }
    return std::nullopt;
  }

  Log log_;
  CancelToken cancel_;
};

TEST_P(ChainTest, OneFileIsOpenAtATime) {
  const auto files = chain(10, {"0123", "", "456", "789", ""});
  EXPECT_EQ(log_.open, 0);
  EXPECT_EQ(read(*files, 0, 3), "012");
  EXPECT_EQ(log_.opened.size(), 1U);
  EXPECT_EQ(read(*files, 3, 3), "345");
  EXPECT_EQ(read(*files, 8, 2), "89");
  EXPECT_EQ(log_.open, 0);  // the last is closed with its last byte
  files->finish();
  EXPECT_EQ(log_.opened, (std::vector<std::size_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(log_.most, 1);
  EXPECT_EQ(log_.open, 0);
}

TEST_P(ChainTest, TakesWhatIsOpenAlready) {
  const auto files = chain(6, {"01", "23", "45"}, 2);
  EXPECT_EQ(read(*files, 0, 6), "012345");
  EXPECT_EQ(log_.opened, (std::vector<std::size_t>{0, 1, 2}));
}

TEST_P(ChainTest, FinishPassesOverWhatNobodyHasRead) {
  const auto files = chain(6, {"012", "345"});
  EXPECT_EQ(read(*files, 0, 1), "0");
  files->finish();
  EXPECT_EQ(log_.opened.size(), 2U);
  const auto longer = chain(6, {"012", "3456"});
  EXPECT_EQ(error_of([&] { longer->finish(); })->detail().file, "file 1");
}

TEST_P(ChainTest, AFileThatGoesOnIsNamed) {
  const auto error = error_of([&] { read(*chain(5, {"012", "345"}), 0, 5); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::format);
  EXPECT_EQ(error->detail().file, "file 1");
  EXPECT_EQ(error->detail().offset, 2U);
  const auto files = chain(3, {"012", "3"});
  EXPECT_EQ(read(*files, 0, 3), "012");
  EXPECT_EQ(error_of([&] { files->finish(); })->detail().file, "file 1");
}

TEST_P(ChainTest, AFileThatEndsTooSoonIsNamed) {
  const auto error = error_of([&] { read(*chain(7, {"012", "345"}), 0, 7); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), ErrorCode::format);
  EXPECT_EQ(error->detail().file, "file 1");
  EXPECT_EQ(error->detail().offset, 3U);
  EXPECT_EQ(error->detail().expected, "1 more bytes");
}

TEST_P(ChainTest, NoFilesAreNoBytes) {
  const auto files = chain(0, {});
  files->finish();
  EXPECT_EQ(error_of([&] { read(*files, 0, 1); })->code(), ErrorCode::io);
}

TEST_P(ChainTest, NoFileIsOpenedAfterAStop) {
  for (const bool by_token : {false, true}) {
    cancel_ = CancelToken();
    log_.opened.clear();
    const auto files = chain(4, {"01", "23"});
    EXPECT_EQ(read(*files, 0, 2), "01");
    by_token ? cancel_.cancel() : files->interrupt();
    EXPECT_EQ(error_of([&] { read(*files, 2, 2); })->code(), ErrorCode::cancelled);
    EXPECT_EQ(log_.opened.size(), 1U);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, ChainTest, testing::Bool(),
                         [](const auto& files) { return files.param ? "OfKnownSize" : "OfUnknownSize"; });

}  // namespace
}  // namespace headrace::io
