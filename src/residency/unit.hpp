// Unit: tensors that are used together, and what they are in each of their states. It doesn't change.
#pragma once

#include <headrace/residency.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace headrace::residency {

/// The types that a tensor's numbers go through, in this order.
enum Level : std::uint8_t { kOnDisk, kOffload, kOnload, kPreparing, kComputation, kLevels };

struct UnitTensor {
  std::string name;  // in the map
  std::vector<std::uint64_t> shape;
  std::uint64_t elements = 0;
  std::uint64_t stored_bytes = 0;  // as the map gives it
  std::size_t index = 0;           // in the map's list
  std::array<DType, kLevels> dtypes{};

  std::uint64_t bytes(Level level) const noexcept;
};

struct Unit {
  std::string name, model;
  std::shared_ptr<const DiskMap> map;
  UnitStates states;
  std::vector<UnitTensor> tensors;
  std::optional<Level> host, device;  // what is held there outside leases; nothing: nothing is

  std::uint64_t host_bytes = 0;  // of the host level
  std::uint64_t kept_bytes = 0;  // of the device level
  std::uint64_t all_bytes = 0;   // of computation
  /// Of computation, of the tensors that have another type in the device level: what a lease needs besides it.
  std::uint64_t extra_bytes = 0;

  /// Whether computation has another type than what is kept on the device.
  bool differs(const UnitTensor& tensor) const noexcept {
    return !device || tensor.dtypes[*device] != tensor.dtypes[kComputation];
  }
  std::string title() const { return model + "/" + name; }
};

/// Throws Error: see Residency::add.
Unit make_unit(const std::string& model, const std::shared_ptr<const DiskMap>& map, const UnitSpec& spec);

}  // namespace headrace::residency
