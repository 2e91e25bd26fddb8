// Sink: where a plan's tensors go: a file, or memory.
#pragma once

#include "io/file.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace headrace::flow {

/// Takes the bytes of a plan's tensors, in any order and from any thread. All that throws, throws Error.
class Sink {
 public:
  /// Memory of the sink's own in which bytes are made that are to be given to it. False: it has none, any memory does.
  struct Place {
    std::span<std::byte> bytes = {};
    std::shared_ptr<void> holder = {};  // whatever has to be kept until the bytes are gone; also without a place

    explicit operator bool() const noexcept { return !bytes.empty(); }
  };

  virtual ~Sink() = default;

  /// `bytes` bytes of a tensor from its byte `first` on that lie as they are at `at` in a file; false: read them, then
  /// put them.
  virtual bool copy_from(const io::File& file, std::uint64_t at, std::uint32_t tensor, std::uint64_t first,
                         std::uint64_t bytes) = 0;

  /// The same for several whole tensors that lie in `bytes` bytes at `at`, with what is between them.
  virtual bool copy_run_from(const io::File& /*file*/, std::uint64_t /*at*/, std::uint64_t /*bytes*/,
                             std::span<const std::uint32_t> /*tensors*/) {
    return false;
  }

  /// For `bytes` (not 0) bytes of a tensor from `first` on. May wait; so ask for it before any memory of the gate's.
  virtual Place place(std::uint32_t /*tensor*/, std::uint64_t /*first*/, std::size_t /*bytes*/) { return {}; }
  /// For several whole tensors that lie one after the other in the plan's layout, with the padding between them.
  virtual Place place_run(std::span<const std::uint32_t> /*tensors*/, std::size_t /*bytes*/) { return {}; }

  /// Takes bytes; `place`: what was given for them, and where they are then.
  virtual void put(std::uint32_t tensor, std::uint64_t first, std::span<const std::byte> bytes, Place place) = 0;
  virtual void put_run(std::span<const std::uint32_t> tensors, std::span<const std::byte> bytes, Place place) = 0;
};

}  // namespace headrace::flow
