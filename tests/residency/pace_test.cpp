// What residency costs: time beside computing, and memory over many passes.
#include "residency/a_model.hpp"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

namespace headrace {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::AModel;
using test::expect_unit;
using test::remote;

// A device behind a narrow channel: one upload after the other, each as long as its bytes take.
class NarrowDevice final : public Device {
 public:
  explicit NarrowDevice(double bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  const std::string& name() const noexcept override { return name_; }
  const std::string& description() const noexcept override { return name_; }
  DeviceKind kind() const noexcept override { return DeviceKind::opencl; }
  DLPackDevice dlpack() const noexcept override { return {4, 8}; }
  std::size_t alignment() const noexcept override { return 64; }
  void synchronize() override {}
  DeviceMemory memory() const override { return {.total = 1 << 30, .free = {}, .largest = 1 << 30}; }

 protected:
  struct Block final : DeviceBlock {
    std::vector<std::byte> memory;
  };
  std::unique_ptr<DeviceBlock> make_block(std::size_t bytes) override {
    auto block = std::make_unique<Block>();
    block->memory.resize(bytes);
    block->handle = 1;
    block->bytes = bytes;
    return block;
  }
  std::unique_ptr<DeviceBlock> wrap_block(std::uintptr_t, std::size_t bytes, std::size_t) override {
    return make_block(bytes);
  }
  std::unique_ptr<DeviceBlock> make_staging(std::size_t bytes) override {
    auto block = std::make_unique<Block>();
    block->memory.resize(bytes);
    block->host = block->memory.data();
    block->bytes = bytes;
    return block;
  }
  std::unique_ptr<DeviceTransfer> start_upload(DeviceBlock& block, std::size_t offset,
                                               std::span<const std::byte> source) override {
    const std::lock_guard lock(channel_);
    free_at_ = std::max(free_at_, Clock::now()) +
               std::chrono::duration_cast<Clock::duration>(
                   std::chrono::duration<double>(static_cast<double>(source.size()) / bytes_per_second_));
    std::this_thread::sleep_until(free_at_);
    std::ranges::copy(source, static_cast<Block&>(block).memory.begin() + static_cast<std::ptrdiff_t>(offset));
    return nullptr;
  }
  void run_download(DeviceBlock& block, std::size_t offset, std::span<std::byte> out) override {
    std::ranges::copy_n(static_cast<Block&>(block).memory.begin() + static_cast<std::ptrdiff_t>(offset),
                        static_cast<std::ptrdiff_t>(out.size()), out.begin());
  }

 private:
  const double bytes_per_second_;
  const std::string name_ = "narrow:0";
  std::mutex channel_;
  Clock::time_point free_at_;
};

TEST(ResidencyPace, ReadingIsHiddenBehindComputing) {
  constexpr std::uint32_t kUnits = 32;
  constexpr auto kCompute = 10ms;  // as long as a unit's way to the device
  const AModel model(kUnits);
  const double pace = static_cast<double>(model.unit_bytes) / std::chrono::duration<double>(kCompute).count();
  const auto pass_at = [&](std::uint64_t limit) {
    Residency residency(std::make_shared<NarrowDevice>(pace), {.limit = limit});
    const ModelId id = residency.add("m", model.map, model.specs);
    residency.onload(id);
    std::vector<double> seconds;
    ResidencyStats learned;
    for (int pass = 0; pass < 4; ++pass) {
      if (pass == 1) learned = residency.stats();
      const auto begin = Clock::now();
      for (std::uint32_t unit = 0; unit < kUnits; ++unit) {
        const Lease lease = residency.lease({{id, unit}});
        std::this_thread::sleep_for(kCompute);
      }
      if (pass > 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    }
    const ResidencyStats stats = residency.stats();
    std::printf("limit %3llu %%: a pass takes %.3f s; %.0f %% hits, %.3f s stalled, %.1f units read a pass\n",
                static_cast<unsigned long long>(100 * limit / (kUnits * model.unit_bytes)), std::ranges::min(seconds),
                100 * static_cast<double>(stats.hits - learned.hits) / (3 * kUnits),
                stats.stalled_seconds - learned.stalled_seconds,
                static_cast<double>(stats.bytes_read - learned.bytes_read) / static_cast<double>(3 * model.unit_bytes));
    EXPECT_GT(stats.hits - learned.hits, kUnits);
    return std::ranges::min(seconds);
  };
  const double all = pass_at(kUnits * model.unit_bytes), quarter = pass_at(kUnits / 4 * model.unit_bytes);
  // Reported, not judged: other programs' work decides it too.
  std::printf("a quarter of the limit: %.2f of the time\n", quarter / all);
}

std::uint64_t resident_bytes() {
  std::uint64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

TEST(ResidencyPace, TwoHundredPassesFromDiskTakeNoMoreMemory) {
  if (const char* sanitizer = std::getenv("HEADRACE_SANITIZER"))
    GTEST_SKIP() << "memory isn't measured under " << sanitizer;
  const AModel model(16, 2000);  // half a megabyte each
  const auto device = remote(4 * model.unit_bytes);
  const UnitStates states{.onload = {Place::disk, DType::F8_E4M3}, .computation = {Place::device, DType::BF16}};
  Residency residency(device, {.limit = 4 * model.unit_bytes, .memory = 8 << 20});
  const ModelId plain = residency.add("plain", model.map, model.specs);
  const ModelId narrow = residency.add("narrow", model.map, model.with(states));
  residency.onload(plain);
  residency.onload(narrow);
  std::uint64_t before = 0;
  for (int pass = 0; pass < 210; ++pass) {
    if (pass == 10) before = resident_bytes();
    for (std::uint32_t unit = 0; unit < 16; ++unit) residency.lease({{pass % 2 == 0 ? plain : narrow, unit}});
  }
  const std::uint64_t after = resident_bytes(), grown = after - std::min(before, after);
  std::printf("%.1f MiB, then %.1f MiB\n", static_cast<double>(before) / 1048576.0,
              static_cast<double>(after) / 1048576.0);
  EXPECT_LE(grown, std::uint64_t{16} << 20);
  EXPECT_LE(device->counts().high_water, 4 * model.unit_bytes);
}

TEST(ResidencyPace, ATraceIsWhatAViewerOpens) {
  const AModel model(6);
  Residency residency(remote(), {.limit = 2 * model.unit_bytes, .trace_events = 60});
  const UnitStates states{.computation = {Place::device, DType::BF16}};
  const ModelId id = residency.add("a \"model\"", model.map, model.with(states));
  residency.onload(id);
  for (int pass = 0; pass < 20; ++pass) {
    for (std::uint32_t unit = 0; unit < 6; ++unit) residency.lease({{id, unit}});
  }
  residency.write_trace(model.folder / "trace.json");
  const auto events = nlohmann::json::parse(std::ifstream(model.folder / "trace.json"));
  ASSERT_EQ(events.size(), 60U);  // the last ones
  std::set<std::string> names;
  for (const auto& event : events) {
    EXPECT_EQ(event.at("ph"), "X");
    EXPECT_GE(event.at("dur").get<double>(), 0);
    EXPECT_GE(event.at("ts").get<double>(), 0);
    EXPECT_TRUE(event.at("tid").is_number_integer());
    EXPECT_TRUE(event.at("args").at("unit").get<std::string>().starts_with("a \"model\"/blocks."));
    names.insert(event.at("name"));
  }
  for (const char* name : {"read", "convert", "upload", "leased", "evict"}) EXPECT_TRUE(names.contains(name)) << name;
}

}  // namespace
}  // namespace headrace
