// What whole commands can't show: parsers, patience, and how soon a wait ends.
#include "io/http/answer.hpp"
#include "io/http/credentials.hpp"
#include "io/http/http_source.hpp"
#include "io/http/lookahead.hpp"
#include "io/http/open_remote.hpp"
#include "io/http/pool.hpp"
#include "io/http/remote.hpp"
#include "io/http/retry.hpp"
#include "io/http/url.hpp"

#include "http/web_server.hpp"

#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace headrace::io::http {
namespace {

using namespace std::chrono_literals;
using test::WebServer;

Answer answer_of(std::initializer_list<std::string_view> lines) {
  Answer answer;
  for (const std::string_view line : lines) EXPECT_TRUE(answer.add(line));
  return answer;
}

TEST(ContentRange, IsRead) {
  const auto part = parse_content_range("bytes 5-9/100");
  ASSERT_TRUE(part);
  EXPECT_EQ(part->range, (Range{5, 9}));
  EXPECT_EQ(part->total, 100U);
  EXPECT_EQ(part->range->bytes(), 5U);
  const auto unknown = parse_content_range(" BYTES\t0-0/* ");
  ASSERT_TRUE(unknown);
  EXPECT_EQ(unknown->range, (Range{0, 0}));
  EXPECT_EQ(unknown->total, std::nullopt);
  const auto none = parse_content_range("bytes */0");
  ASSERT_TRUE(none);
  EXPECT_EQ(none->range, std::nullopt);
  EXPECT_EQ(none->total, 0U);
}

TEST(ContentRange, IsRefused) {
  for (const char* text : {"", "bytes", "bytes ", "bytes 5-9", "bytes 9-5/100", "bytes 5-100/100", "bytes -9/100",
                           "bytes 5-/100", "bytes +5-9/100", "bytes 5-9/", "bytes 5-9/1e2", "bytes */*", "bytes5-9/100",
                           "lines 5-9/100", "bytes 0x5-9/100", "bytes 5-18446744073709551616/18446744073709551617",
                           "bytes 5-9/100 and bytes 6-9/100", "bytes 5 - 9/100"}) {
    EXPECT_FALSE(parse_content_range(text)) << text;
  }
}

TEST(Answer, IsCollected) {
  const Answer answer = answer_of({"HTTP/1.1 206 Partial Content\r\n", "content-LENGTH:  7 \r\n", "ETag: \"a b\"\r\n",
                                   "Content-Encoding: identity\r\n", "No colon\r\n", "Retry-After: 3\r\n", "\r\n"});
  EXPECT_TRUE(answer.complete());
  EXPECT_EQ(answer.status, 206);
  EXPECT_EQ(answer.content_length, 7U);
  EXPECT_EQ(answer.etag, "\"a b\"");
  EXPECT_EQ(answer.retry_after, 3s);
  EXPECT_TRUE(answer.content_encoding.empty());
}

TEST(Answer, ForgetsWordsInBetween) {
  const Answer answer = answer_of({"HTTP/1.1 103 Early Hints", "ETag: \"no\"", "", "HTTP/1.1 200", ""});
  EXPECT_TRUE(answer.complete());
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.etag.empty());
  EXPECT_FALSE(answer_of({"HTTP/1.1 100 Continue", ""}).complete());
}

TEST(Answer, IgnoresTrailersAndHasAnEnd) {
  Answer answer = answer_of({"HTTP/1.1 200 OK", "ETag: \"a\"", ""});
  EXPECT_TRUE(answer.add("ETag: \"b\""));
  EXPECT_EQ(answer.etag, "\"a\"");
  Answer endless = answer_of({"HTTP/1.1 200 OK"});
  int lines = 0;
  while (endless.add("HTTP/1.1 100 Continue\r\n") && lines < 1'000'000) ++lines;
  EXPECT_LT(lines, 100'000);
}

TEST(Answer, KnowsDates) {
  const Answer past = answer_of({"HTTP/1.1 503 -", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT", ""});
  EXPECT_EQ(past.retry_after, 0s);
  EXPECT_EQ(answer_of({"HTTP/1.1 503 -", "Retry-After: soon", ""}).retry_after, std::nullopt);
  EXPECT_EQ(answer_of({"HTTP/1.1 503 -", "Retry-After: -1", ""}).retry_after, std::nullopt);
}

TEST(Version, SendsOnlyStrongTags) {
  EXPECT_EQ((Version{1, "\"a\"", ""}.strong()), "\"a\"");
  EXPECT_EQ((Version{1, "W/\"a\"", ""}.strong()), "");
  EXPECT_EQ((Version{1, "\"a\rX: b\"", ""}.strong()), "");
  EXPECT_EQ((Version{1, "", "yesterday"}.strong()), "");
}

TEST(Url, HasItsPartsApart) {
  const Url url("HTTPS://me%40home:pass%3Aword@Example.COM/a b/c?key=1#part", "it");
  EXPECT_EQ(url.text(), "https://Example.COM/a%20b/c?key=1");
  EXPECT_EQ(url.origin(), "https://example.com:443");
  EXPECT_EQ(url.user(), "me@home");
  EXPECT_EQ(url.password(), "pass:word");
  EXPECT_EQ(url.shown(), "https://Example.COM/a%20b/c");
  EXPECT_TRUE(url.secure());
  EXPECT_EQ(Url("http://[::1]:8080/x", "it").origin(), "http://[::1]:8080");
}

TEST(Url, FollowsReferences) {
  const Url url("https://me:secret@host/a/b?x", "it");
  EXPECT_EQ(url.follow("c?y", "it").text(), "https://host/a/c?y");
  EXPECT_EQ(url.follow("/c", "it").text(), "https://host/c");
  EXPECT_EQ(url.follow("//other/c", "it").text(), "https://other/c");
  EXPECT_EQ(url.follow("http://u:p@other:81/c", "it").text(), "http://other:81/c");
  EXPECT_EQ(url.follow("http://u:p@other:81/c", "it").user(), "");
  EXPECT_THROW(url.follow("ftp://other/c", "it"), Error);
  EXPECT_THROW(url.follow("https://bad host/", "it"), Error);
}

TEST(Retry, BacksOffAndGivesUp) {
  Patience patience;
  patience.first_pause = 100ms;
  patience.longest_pause = 300ms;
  Retry retry(patience);
  for (const auto most : {100ms, 200ms, 300ms, 300ms}) {
    const auto pause = retry.after(0);
    ASSERT_TRUE(pause);
    EXPECT_LE(*pause, most);
    EXPECT_GE(*pause, most / 2);
  }
  EXPECT_FALSE(retry.after(0));
}

TEST(Retry, CountsFromTheLastProgress) {
  Retry retry(Patience{});
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(retry.after(Retry::kProgress));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(retry.after(Retry::kProgress - 1));
  EXPECT_FALSE(retry.after(Retry::kProgress - 1));
}

TEST(Retry, HeedsTheServerWithinReason) {
  Retry retry(Patience{});
  EXPECT_EQ(retry.after(0, 7s), 7s);
  EXPECT_EQ(retry.after(0, 7000s), Patience().longest_pause);
}

std::vector<std::byte> bytes_of(std::size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

TEST(Lookahead, RunsAheadOfReadsInOrderOnly) {
  const auto file = bytes_of(10'000);
  Lookahead lookahead({file.begin(), file.begin() + 100}, file.size());
  std::vector<std::byte> out(40);
  EXPECT_EQ(lookahead.take(80, out), 20U);
  EXPECT_EQ(lookahead.ahead(100, 20), 120U);  // as much as was read before
  lookahead.put(120, {file.begin() + 120, file.begin() + 240});
  EXPECT_EQ(lookahead.take(200, out), 40U);
  EXPECT_EQ(out, std::vector<std::byte>(file.begin() + 200, file.begin() + 240));
  EXPECT_EQ(lookahead.take(240, out), 0U);
  EXPECT_EQ(lookahead.ahead(5000, 30), 0U);  // somewhere else
  EXPECT_EQ(lookahead.ahead(5030, 10), 40U);
  EXPECT_EQ(lookahead.ahead(9980, 15), 0U);
  EXPECT_EQ(lookahead.ahead(9995, 3), 2U);  // no further than the end
}

TEST(Lookahead, LetsGoOfWhatWasTaken) {
  const auto file = bytes_of(1000);
  Lookahead lookahead({}, file.size());
  const std::size_t before = lookahead.memory();
  lookahead.put(0, file);
  EXPECT_GE(lookahead.memory(), 1000U);
  std::vector<std::byte> out(500);
  EXPECT_EQ(lookahead.take(500, out), 500U);  // the second half first
  EXPECT_EQ(lookahead.take(0, out), 500U);
  EXPECT_EQ(lookahead.memory(), before);
}

TEST(Credentials, TakeHeadersThatKeepTheRules) {
  const Url url("http://127.0.0.1:1/x", "it");
  const Credentials credentials = credentials_for(url, {.headers = {"A: b", "C:d", "Empty:", "E:  f: g "}});
  EXPECT_EQ(credentials.headers, (std::vector<std::string>{"A: b", "C: d", "Empty;", "E: f: g "}));
  for (const char* bad : {"", ":", "A", "A b: c", "A: b\nC: d", "A: b\r", "Range: bytes=0-1", "TRANSFER-encoding: x"})
    EXPECT_THROW(credentials_for(url, {.headers = {bad}}), Error) << bad;
  EXPECT_THROW(credentials_for(url, {.headers = {std::string("A: b\0c", 6)}}), Error);
}

// A file served on loopback, and a source that reads it with little patience.
class HttpSourceTest : public testing::Test {
 protected:
  std::shared_ptr<const ByteSource> open(unsigned connections = 2) {
    SourceOptions options;
    options.connections = connections;
    const auto pool = std::make_shared<Pool>(connections, patience_);
    return open_remote(std::make_shared<Remote>(Location(server_.url()), options, pool), connections);
  }
  void expect_bytes(const ByteSource& source, std::uint64_t offset, std::size_t size) {
    std::vector<std::byte> out(size);
    source.read_at(offset, out);
    EXPECT_TRUE(std::equal(out.begin(), out.end(), file_.begin() + static_cast<std::ptrdiff_t>(offset)));
  }

  Patience patience_{.attempts = 3, .first_pause = 1ms, .longest_pause = 60s, .connect = 60s, .stall = 60s};
  std::vector<std::byte> file_ = bytes_of(3'000'000);
  WebServer server_{file_};
};

TEST_F(HttpSourceTest, ReadsAnything) {
  const auto source = open();
  EXPECT_EQ(source->size(), file_.size());
  EXPECT_EQ(source->parallel_reads(), 2U);
  EXPECT_EQ(source->access(), Access::random);
  const int before = server_.requests();
  expect_bytes(*source, 0, 1000);
  expect_bytes(*source, 64, 65'000);
  EXPECT_EQ(server_.requests(), before) << "the first bytes came with the first answer";
  expect_bytes(*source, 65'000, 100'000);
  expect_bytes(*source, 2'999'999, 1);
  expect_bytes(*source, 3'000'000, 0);
  expect_bytes(*source, 0, 3'000'000);
  EXPECT_THROW(expect_bytes(*source, 2'999'999, 2), Error);
  EXPECT_THROW(expect_bytes(*source, ~std::uint64_t{0}, 2), Error);
}

TEST_F(HttpSourceTest, ServesManyThreadsOverFewConnections) {
  const auto source = open(3);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 12; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 30; ++i) {
        const std::uint64_t offset = random() % 2'900'000;
        expect_bytes(*source, offset, random() % 100'000);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(server_.most_connections(), 3);
  EXPECT_GE(server_.most_connections(), 2);
}

TEST_F(HttpSourceTest, CountsAStalledConnectionAsLost) {
  patience_.stall = 300ms;
  std::atomic<int> stalls{0};
  server_.behave([&](WebServer::Exchange& exchange) {
    if (exchange.first > 0 && stalls++ == 0) {
      exchange.head(206);
      exchange.body(50'000);
      return exchange.stall();
    }
    exchange.serve();
  });
  const auto source = open();
  const auto start = std::chrono::steady_clock::now();
  expect_bytes(*source, 100'000, 500'000);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 300ms);
  EXPECT_GE(stalls, 2);
}

TEST_F(HttpSourceTest, GivesUpOnAServerThatOnlyStalls) {
  patience_.stall = 300ms;
  server_.behave([&](WebServer::Exchange& exchange) { exchange.first > 0 ? exchange.stall() : exchange.serve(); });
  const auto source = open();
  try {
    expect_bytes(*source, 100'000, 1000);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_EQ(error.detail().offset, 100'000U);
    EXPECT_EQ(error.detail().file, server_.url());
    EXPECT_NE(error.problem().find("not a byte came for 0.3 s"), std::string::npos) << error.problem();
  }
}

TEST_F(HttpSourceTest, AStreamThatIsReadSlowlyIsNotStalled) {
  patience_.stall = 1s;
  server_.behave([&](WebServer::Exchange& exchange) { exchange.serve_whole(); });
  const auto source = open();
  EXPECT_EQ(source->access(), Access::forward);
  EXPECT_EQ(source->size(), file_.size());
  for (std::uint64_t at = 0; at < file_.size(); at += 1'000'000) {
    expect_bytes(*source, at, 1'000'000);
    std::this_thread::sleep_for(1200ms);
  }
  std::vector<std::byte> out(10);
  EXPECT_EQ(source->read_some_at(file_.size(), out), 0U);
}

// Runs `read` on another thread, interrupts the source when it surely waits; how long the wait then lasted.
std::chrono::nanoseconds time_to_end(const ByteSource& source, const std::function<void()>& read) {
  auto ended = std::async(std::launch::async, [&] {
    try {
      read();
      return ErrorCode::internal;
    } catch (const Error& error) {
      return error.code();
    }
  });
  EXPECT_EQ(ended.wait_for(150ms), std::future_status::timeout);
  const auto start = std::chrono::steady_clock::now();
  source.interrupt();
  EXPECT_EQ(ended.get(), ErrorCode::cancelled);
  return std::chrono::steady_clock::now() - start;
}

TEST_F(HttpSourceTest, InterruptEndsEveryWait) {
  std::vector<std::byte> out(1000), other(1000);
  {  // for bytes, and for a connection that another reader has
    server_.behave([&](WebServer::Exchange& exchange) { exchange.first > 0 ? exchange.stall() : exchange.serve(); });
    const auto source = open(1);
    auto also = std::async(std::launch::async, [&] { EXPECT_THROW(source->read_at(200'000, other), Error); });
    EXPECT_LT(time_to_end(*source, [&] { source->read_at(100'000, out); }), 500ms);
    also.get();
    EXPECT_THROW(source->read_at(300'000, out), Error) << "later reads end too";
  }
  {  // for the time to try again
    server_.behave([&](WebServer::Exchange& exchange) {
      exchange.first > 0 ? exchange.refuse("503 -", "Retry-After: 50\r\n") : exchange.serve();
    });
    const auto source = open(1);
    EXPECT_LT(time_to_end(*source, [&] { source->read_at(100'000, out); }), 500ms);
  }
  {  // for a stream
    server_.behave([&](WebServer::Exchange& exchange) {
      exchange.whole_head();
      exchange.body(100'000);
      exchange.stall();
    });
    const auto source = open(1);
    EXPECT_LT(time_to_end(*source, [&] { source->read_at(100'000, out); }), 500ms);
    EXPECT_THROW(source->read_at(100'000, out), Error);
  }
}

TEST_F(HttpSourceTest, SmallFilesAreHeldWhole) {
  file_ = bytes_of(900'000);
  WebServer small(file_);
  small.behave([&](WebServer::Exchange& exchange) { exchange.serve_whole(); });
  const auto source = open_remote(std::make_shared<Remote>(Location(small.url()), SourceOptions{}), 1);
  EXPECT_EQ(source->access(), Access::random);
  expect_bytes(*source, 800'000, 100'000);
  expect_bytes(*source, 0, 900'000);
  EXPECT_EQ(small.requests(), 1);
  EXPECT_GE(source->memory(), 900'000U);
}

TEST_F(HttpSourceTest, SourcesOfOneServerShareConnections) {
  SourceOptions options;
  options.connections = 2;
  std::vector<std::shared_ptr<const ByteSource>> sources;
  std::size_t memory = 0;
  for (int i = 0; i < 20; ++i) {
    sources.push_back(open_url(Location(server_.url()), options));
    expect_bytes(*sources.back(), 100'000, 1000);
    memory += sources.back()->memory();
  }
  EXPECT_EQ(server_.connections(), 1);
  EXPECT_LT(memory, 20 * (std::size_t{80} << 10) + 2 * Connection::kMemory);
}

}  // namespace
}  // namespace headrace::io::http
