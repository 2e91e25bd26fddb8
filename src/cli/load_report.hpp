// What loading took and where the tensors are, for people and as JSON.
#pragma once

#include "cli/output.hpp"

#include <headrace/device.hpp>
#include <headrace/load.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace headrace::cli {

/// One time that it was loaded.
struct LoadRun {
  LoadReport report;
  std::uint64_t host_copy_bytes = 0;         ///< of what is on the device too
  std::optional<std::uint64_t> peak_memory;  ///< of the process
  std::optional<double> cached;              ///< share of the source in the system's cache before, with --cold
};

/// A tensor that stayed on the host though the device is another.
struct LeftOnHost {
  std::string name;
  std::uint64_t bytes = 0;
};

struct LoadOutcome {
  std::string source;  ///< without credentials
  std::shared_ptr<Device> device;
  bool streamed = true, discarded = false;
  std::uint64_t memory = 0;             ///< the budget
  std::vector<LoadRun> runs;            ///< at least one
  std::vector<LeftOnHost> left;         ///< of the last run, the largest first
  std::optional<std::size_t> verified;  ///< tensors that were compared, and equal
  std::string saved;                    ///< the file, if any
};

void print_load(Output& out, const LoadOutcome& outcome);
void print_load_json(Output& out, const LoadOutcome& outcome);

}  // namespace headrace::cli
