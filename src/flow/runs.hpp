// Runs: equal stretches of bytes at regular places, read into one row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace headrace::flow {

/// `count` places, `stride` bytes from one to the next.
struct Stride {
  std::uint64_t count, stride;
};

/// Where the runs lie: the first one at `base`, each `bytes` long, and repeated by the strides, outermost first, each
/// larger than all that is inside it. No strides: one run.
struct Runs {
  std::uint64_t base = 0, bytes = 0;
  std::vector<Stride> strides;
};

/// Reads runs into memory in their order, those that lie close together with one read. Keeps its scratch memory from
/// one call to the next; for one thread.
class RunReader {
 public:
  using Read = std::function<void(std::uint64_t first_byte, std::span<std::byte> out)>;

  /// `gap`: bytes between two runs that are rather read than skipped.
  RunReader(Read read, std::uint64_t gap) : read_(std::move(read)), gap_(gap) {}

  /// Fills `out`, which has room for exactly all runs. Their offsets only grow.
  void read(const Runs& runs, std::byte* out);

 private:
  struct Part {  // of the window
    std::uint64_t at, count;
  };

  void read_each(const Runs& runs, std::uint64_t at, std::uint64_t count, std::uint64_t stride);
  void add(std::uint64_t at, std::uint64_t count, std::uint64_t stride, std::uint64_t bytes);
  void flush(std::uint64_t stride, std::uint64_t bytes);

  Read read_;
  std::uint64_t gap_;
  std::byte* out_ = nullptr;
  std::unique_ptr<std::byte[]> scratch_;
  std::vector<Part> parts_;                          // what the window holds, in order
  std::uint64_t window_begin_ = 0, window_end_ = 0;  // empty when they are the same
};

}  // namespace headrace::flow
