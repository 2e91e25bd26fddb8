// residency_pass FILE WAY SHARE WORK PASSES [cold]: passes through a model's tensors, each looked at in turn.
//
// WAY: residency, a Residency on the host with SHARE of the bytes as its limit; or loop, what is written without one:
// each tensor is read into one buffer, then looked at. Looking at a tensor is adding up its words, WORK times. cold:
// the system's cache of the file is dropped before each pass. Prints a line of JSON.
#include <headrace/headrace.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace headrace;

std::uint64_t number_in(const char* path, std::string_view key) {
  std::ifstream lines(path);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(key)) return std::stoull(line.substr(key.size()));
  return 0;
}

std::uint64_t look(std::span<const std::byte> bytes, int work) {
  std::uint64_t sum = 0;
  for (int i = 0; i < work; ++i) {
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, &bytes[at], 8);
      sum += word;
    }
    sum *= 3;
  }
  return sum;
}

using Pass = std::function<std::uint64_t()>;

Pass residency_pass(const std::string& path, double share, int work, std::shared_ptr<Residency>& residency) {
  const auto map = std::make_shared<const DiskMap>(path);
  std::uint64_t bytes = 0;
  std::vector<UnitSpec> specs;
  for (const TensorInfo& tensor : map->tensors()) {
    specs.push_back({std::string(tensor.name), {std::string(tensor.name)}, {}});
    bytes += tensor.bytes;
  }
  const auto limit = static_cast<std::uint64_t>(share * static_cast<double>(bytes));
  residency = std::make_shared<Residency>(open_device("host"), ResidencyOptions{.limit = limit});
  const ModelId model = residency->add("model", map, specs);
  residency->onload(model);
  return [=, shared = residency] {
    std::uint64_t sum = 0;
    for (const UnitSpec& unit : specs) {
      const Lease lease = shared->lease({shared->unit(model, unit.name)});
      sum += look(lease.tensor(unit.name).host_bytes(), work);
    }
    return sum;
  };
}

Pass loop_pass(const std::string& path, int work) {
  const auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(path));
  const auto file = std::make_shared<std::ifstream>(path, std::ios::binary);
  const auto buffer = std::make_shared<std::vector<std::byte>>();
  return [=] {
    std::uint64_t sum = 0;
    for (const TensorInfo& tensor : checkpoint->tensors()) {
      buffer->resize(tensor.bytes);
      file->seekg(static_cast<std::streamoff>(tensor.offset));
      file->read(reinterpret_cast<char*>(buffer->data()), static_cast<std::streamsize>(tensor.bytes));
      sum += look(*buffer, work);
    }
    return sum;
  };
}

int run(char** argv, bool cold) {
  const std::string path = argv[1], way = argv[2];
  const int work = std::atoi(argv[4]), passes = std::atoi(argv[5]);
  std::shared_ptr<Residency> residency;
  const Pass pass = way == "loop" ? loop_pass(path, work) : residency_pass(path, std::atof(argv[3]), work, residency);
  const Checkpoint checkpoint = Checkpoint::open(path);
  std::vector<double> seconds;
  std::uint64_t sum = 0, read = 0;
  ResidencyStats learnt;
  // Two that aren't counted: in one the order is learnt, by the second the system has dropped what it will.
  for (int i = -2; i < passes; ++i) {
    if (i == 0 && residency) learnt = residency->stats();
    if (cold) drop_cached(checkpoint);
    const std::uint64_t before = number_in("/proc/self/io", "read_bytes:");
    const auto begin = std::chrono::steady_clock::now();
    sum = pass();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (i >= 0) seconds.push_back(took.count());
    read = number_in("/proc/self/io", "read_bytes:") - before;
  }
  const ResidencyStats stats = residency ? residency->stats() : ResidencyStats{};
  const auto share = [](std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  fmt::print("{{\"seconds\": [{}], \"read\": {}, \"sum\": {}, \"peak\": {}, \"hit_rate\": {}, \"stalled\": {}}}\n",
             fmt::join(seconds, ", "), read, sum, number_in("/proc/self/status", "VmHWM:") << 10,
             share(stats.hits - learnt.hits, stats.units - learnt.units),
             (stats.stalled_seconds - learnt.stalled_seconds) / passes);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6 && argc != 7) {
    std::fprintf(stderr, "usage: residency_pass FILE residency|loop SHARE WORK PASSES [cold]\n");
    return 2;
  }
  try {
    return run(argv, argc == 7);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
