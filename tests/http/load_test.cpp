// Loading onto a device while the bytes are still on the wire.
#include "http/web_server.hpp"
#include "support/counting_device.hpp"
#include "support/model.hpp"
#include "support/remote_device.hpp"
#include "support/temp_folder.hpp"

#include <headrace/error.hpp>
#include <headrace/load.hpp>

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <vector>

namespace headrace {
namespace {

using namespace std::chrono_literals;
using test::CountingDevice;
using test::RemoteDevice;
using test::WebServer;
using Exchange = WebServer::Exchange;

std::vector<test::TestTensor> tensors() {
  std::vector<test::TestTensor> all;
  for (unsigned i = 0; i < 12; ++i)
    all.push_back(test::random_bytes("layers." + std::to_string(i), DType::U8, {500'000 + i}, i));
  return all;
}

std::vector<std::byte> as_file(const std::vector<test::TestTensor>& all) {
  const test::TempFolder folder;
  test::save(folder / "model.safetensors", all);
  return test::read_file(folder / "model.safetensors");
}

struct LoadOverHttp : testing::Test {
  const std::vector<test::TestTensor> all = tensors();
  const std::vector<std::byte> file = as_file(all);
  WebServer server{file};
  const std::shared_ptr<CountingDevice> device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());

  void expect_all(const Weights& weights) const {
    ASSERT_EQ(weights.size(), all.size());
    for (const test::TestTensor& tensor : all) {
      const LoadedTensor& loaded = weights.at(tensor.spec.name);
      std::vector<std::byte> bytes(loaded.bytes());
      loaded.buffer.device()->download(loaded.buffer, 0, bytes);
      EXPECT_EQ(bytes, tensor.bytes) << tensor.spec.name;
    }
  }
  void expect_nothing_left() const {
    EXPECT_EQ(device->counts().buffers, 0U);
    EXPECT_EQ(device->counts().staging, 0U);
    EXPECT_EQ(device->counts().in_flight, 0U);
  }
};

TEST_F(LoadOverHttp, ByRangesAndAsAStream) {
  expect_all(load(server.url(), device));
  server.behave([](Exchange& exchange) { exchange.serve_whole(); });
  expect_all(load(server.url(), device, {.host_threshold = 0, .memory = std::uint64_t{2} << 20}));
  expect_nothing_left();
}

TEST_F(LoadOverHttp, TheFirstTensorIsOnTheDeviceBeforeTheLastByteIsSent) {
  std::promise<void> arrived;
  const std::shared_future<void> first = arrived.get_future().share();
  std::atomic<bool> in_time = false;
  server.behave([&](Exchange& exchange) {
    exchange.last = file.size() - 1;  // whatever was asked for
    exchange.whole_head();
    exchange.body(file.size() / 2);
    in_time = first.wait_for(20s) == std::future_status::ready;
    exchange.first = file.size() / 2;
    exchange.body(file.size());
  });
  bool told = false;
  LoadOptions options{.host_threshold = 0};
  options.on_tensor = [&](const std::string& name, const LoadedTensor& tensor) {
    if (told) return;
    EXPECT_NE(name, "layers.11");
    EXPECT_FALSE(tensor.on_host());
    told = true;
    arrived.set_value();
  };
  expect_all(load(server.url(), device, options));
  EXPECT_TRUE(in_time);
}

TEST_F(LoadOverHttp, WhereRangesExistALostConnectionIsResumed) {
  std::atomic<int> lost = 0;
  server.behave([&](Exchange& exchange) {
    exchange.head(206);
    if (exchange.last - exchange.first > 200'000 && lost++ % 3 == 0) {
      exchange.body(150'000);
      throw WebServer::Closed();
    }
    exchange.body(file.size());
  });
  expect_all(load(server.url(), device, {.source = {.connections = 2}}));
  EXPECT_GT(lost, 0);
}

TEST_F(LoadOverHttp, AStreamThatIsLostIsAnErrorAndEveryBufferIsFreed) {
  server.behave([&](Exchange& exchange) {
    exchange.last = file.size() - 1;  // whatever was asked for
    exchange.whole_head();
    exchange.body(file.size() * 2 / 3);
    throw WebServer::Closed();
  });
  try {
    load(server.url(), device, {.host_threshold = 0});
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_EQ(error.detail().file, server.url());
    EXPECT_FALSE(error.detail().tensor.empty());
    EXPECT_TRUE(error.detail().offset) << error.what();
  }
  EXPECT_GT(device->counts().allocated, 0U);
  expect_nothing_left();
}

TEST_F(LoadOverHttp, CancellingEndsAWaitForTheServer) {
  server.behave([&](Exchange& exchange) {
    exchange.last = file.size() - 1;  // whatever was asked for
    exchange.whole_head();
    exchange.body(file.size() / 2);
    exchange.stall();
  });
  LoadOptions options{.host_threshold = 0};
  options.on_tensor = [&](const std::string&, const LoadedTensor&) { options.source.cancel.cancel(); };
  try {
    load(server.url(), device, options);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
  }
  expect_nothing_left();
}

}  // namespace
}  // namespace headrace
