// A model of many small units for the tests of Residency, and what its tensors must be.
#pragma once

#include "support/counting_device.hpp"
#include "support/error_of.hpp"
#include "support/model.hpp"
#include "support/remote_device.hpp"
#include "support/temp_folder.hpp"

#include <headrace/headrace.hpp>

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace headrace::test {

/// `units` units of a weight, a bias and a counter each: F32 [rows, 64], F32 [64], I64 [2].
class AModel {
 public:
  explicit AModel(unsigned units, std::uint64_t rows = 32, unsigned seed = 1) : file(folder / "model.safetensors") {
    std::vector<TestTensor> tensors;
    for (unsigned unit = 0; unit < units; ++unit) {
      const std::string prefix = "blocks." + std::to_string(unit) + ".";
      tensors.push_back(random_floats(prefix + "weight", {rows, 64}, seed * 1000 + 3 * unit));
      tensors.push_back(random_floats(prefix + "bias", {64}, seed * 1000 + 3 * unit + 1));
      tensors.push_back(random_bytes(prefix + "steps", DType::I64, {2}, seed * 1000 + 3 * unit + 2));
    }
    save(file, tensors);
    for (TestTensor& tensor : tensors) bytes[tensor.spec.name] = std::move(tensor.bytes);
    map = std::make_shared<const DiskMap>(file.string());
    for (unsigned unit = 0; unit < units; ++unit) {
      const std::string name = "blocks." + std::to_string(unit);
      specs.push_back({name, {name + ".weight", name + ".bias", name + ".steps"}, {}});
    }
    unit_bytes = (rows * 64 + 64) * 4 + 16;
  }

  std::vector<UnitSpec> with(const UnitStates& states) const {
    auto changed = specs;
    for (UnitSpec& spec : changed) spec.states = states;
    return changed;
  }

  const TempFolder folder;
  const std::filesystem::path file;
  std::map<std::string, std::vector<std::byte>> bytes;  // F32, and I64
  std::shared_ptr<const DiskMap> map;
  std::vector<UnitSpec> specs;
  std::uint64_t unit_bytes = 0;  // as F32
};

inline std::vector<std::byte> cast(std::vector<std::byte> bytes, const std::vector<DType>& through) {
  DType from = DType::F32;
  for (const DType to : through) {
    std::vector<std::byte> out(*bytes_of(to, bytes.size() / info(from).block_bytes * info(from).block_elements));
    retype(from, bytes, to, out);
    bytes = std::move(out);
    from = to;
  }
  return bytes;
}

inline std::vector<std::byte> on_device(const LoadedTensor& tensor) {
  std::vector<std::byte> bytes(tensor.bytes());
  tensor.buffer.device()->download(tensor.buffer, 0, bytes);
  return bytes;
}

/// Whether all of a leased unit's tensors are the model's after these casts.
inline void expect_unit(const AModel& model, const Lease& lease, UnitRef unit, const std::vector<DType>& through) {
  for (const LoadedTensor* tensor : lease.tensors(unit)) {
    const auto& stored = model.bytes.at(tensor->name);
    const bool real = !tensor->name.ends_with("steps");
    EXPECT_EQ(on_device(*tensor), real ? cast(stored, through) : stored) << tensor->name;
    if (real && !through.empty()) {
      EXPECT_EQ(tensor->dtype, through.back()) << tensor->name;
    }
  }
}

/// Memory that the processor doesn't see, counted; beyond `limit` nothing can be allocated.
inline std::shared_ptr<CountingDevice> remote(std::optional<std::uint64_t> limit = {}) {
  auto device = std::make_shared<CountingDevice>(std::make_shared<RemoteDevice>());
  if (limit) device->limit(*limit);
  return device;
}

}  // namespace headrace::test
