// A token in SourceOptions ends what waits for a server: while a checkpoint is opened, and after.
#include "http/web_server.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <span>
#include <string>
#include <vector>

namespace headrace {
namespace {

using namespace std::chrono_literals;
using test::WebServer;

constexpr std::size_t kWeights = 4'000'000;  // bytes; more than comes with the header

// safetensors with one tensor.
std::vector<std::byte> model() {
  const std::string header = R"({"w":{"dtype":"U8","shape":[4000000],"data_offsets":[0,4000000]}})";
  std::string file(8, '\0');
  file.front() = static_cast<char>(header.size());
  file += header;
  file.resize(file.size() + kWeights);
  const auto bytes = std::as_bytes(std::span(file));
  return {bytes.begin(), bytes.end()};
}

ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

class CancelTest : public testing::Test {
 protected:
  Checkpoint open() { return Checkpoint::open(server_.url(), {.source = options_}); }

  // Runs `body` on another thread and cancels when it surely waits.
  void expect_end_of(const std::function<void()>& body) {
    auto ended = std::async(std::launch::async, [&] { return code_of(body); });
    EXPECT_EQ(ended.wait_for(150ms), std::future_status::timeout);
    const auto start = std::chrono::steady_clock::now();
    options_.cancel.cancel();
    EXPECT_EQ(ended.get(), ErrorCode::cancelled);
    EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
  }

  WebServer server_{model()};
  SourceOptions options_;
};

TEST_F(CancelTest, AServerThatNeverAnswers) {
  server_.behave([](WebServer::Exchange& exchange) { exchange.stall(); });
  expect_end_of([&] { open(); });
}

TEST_F(CancelTest, AServerThatAsksForPatience) {
  server_.behave([](WebServer::Exchange& exchange) { exchange.refuse("503 -", "Retry-After: 50\r\n"); });
  expect_end_of([&] { open(); });
}

TEST_F(CancelTest, AnAnswerThatStopsInTheHeader) {
  server_.behave([](WebServer::Exchange& exchange) {
    exchange.head(206);
    exchange.body(40);
    exchange.stall();
  });
  expect_end_of([&] { open(); });
}

TEST_F(CancelTest, AStreamThatStopsInTheHeader) {
  server_.behave([](WebServer::Exchange& exchange) {
    exchange.whole_head();
    exchange.body(40);
    exchange.stall();
  });
  expect_end_of([&] { open(); });
}

TEST_F(CancelTest, WhatIsReadLater) {
  server_.behave([](WebServer::Exchange& exchange) { exchange.first > 0 ? exchange.stall() : exchange.serve(); });
  const Checkpoint checkpoint = open();
  std::vector<std::byte> bytes(kWeights);
  const auto read = [&] { checkpoint.read(checkpoint.tensors().front(), 0, bytes); };
  expect_end_of(read);
  EXPECT_EQ(code_of(read), ErrorCode::cancelled) << "and from then on";
}

TEST_F(CancelTest, WhatIsReadLaterFromAStream) {
  server_.behave([](WebServer::Exchange& exchange) {
    exchange.whole_head();
    exchange.body(100'000);
    exchange.stall();
  });
  const Checkpoint checkpoint = open();
  std::vector<std::byte> bytes(kWeights);
  expect_end_of([&] { checkpoint.read(checkpoint.tensors().front(), 0, bytes); });
}

TEST_F(CancelTest, BeforeAnythingIsAskedFor) {
  options_.cancel.cancel();
  EXPECT_EQ(code_of([&] { open(); }), ErrorCode::cancelled);
  EXPECT_EQ(server_.requests(), 0);
}

TEST_F(CancelTest, ATokenOutlivesItsSources) {
  open();
  options_.cancel.cancel();
}

}  // namespace
}  // namespace headrace
