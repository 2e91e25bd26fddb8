// What the system says of the machine: its processor and its memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace headrace::device::host {

struct Machine {
  std::uint64_t total_bytes = 0;
  std::optional<std::uint64_t> free_bytes;  ///< what can be had without swapping
};

/// The machine's memory, or this process's share where a control group limits it.
Machine look_at_machine();

/// "AMD EPYC 9654 96-Core Processor"; "processor" where the system doesn't say.
std::string processor_name();

}  // namespace headrace::device::host
