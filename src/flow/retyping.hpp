// Retyping: a tensor whose bytes come from the caller in one type and go out in another.
#pragma once

#include "base/gate.hpp"
#include "codec/codec.hpp"
#include "format/ledger.hpp"

#include <headrace/nonfinite.hpp>
#include <headrace/tensor.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace headrace::flow {

/// Where converted bytes go: from the tensor's first byte on. Called from several threads at once.
using RetypedSink = std::function<void(std::uint64_t first_byte, std::span<const std::byte> bytes)>;

/// What all retyped tensors of a writer share.
struct RetypingMeans {
  base::Gate& gate;  ///< for what is on its way
  unsigned threads;  ///< most at once, for one call
  Nonfinite nonfinite;
  std::string file;                             ///< as errors call it
  mutable std::atomic<std::uint64_t> kept = 0;  ///< bytes of memory for blocks that aren't whole yet
};

/// Takes any part of the tensor from any thread. Whole blocks are converted where they lie; of a block that comes in
/// several parts, the parts are kept until it is whole, in at most half of the gate's memory.
class Retyping {
 public:
  /// `to`: the tensor as the file holds it; it and `means` must outlive this. Throws Error(unsupported) for a pair of
  /// types that isn't converted.
  Retyping(const TensorInfo& to, DType from, const RetypingMeans& means);

  std::uint64_t bytes() const noexcept { return from_.bytes; }  ///< in the caller's type
  /// Throws Error: invalid_argument (past the end, bytes twice), value, budget, and what `sink` throws.
  void write(std::uint64_t first_byte, std::span<const std::byte> bytes, const RetypedSink& sink);

 private:
  struct Part {  // of one granule
    std::vector<std::byte> bytes;
    std::size_t filled = 0;
  };
  void convert(std::uint64_t first_granule, std::span<const std::byte> bytes, const RetypedSink& sink);
  void convert_some(std::uint64_t first_granule, std::span<const std::byte> bytes, std::span<std::byte> out,
                    const RetypedSink& sink) const;
  void make_room_for_part() const;
  void keep_part(std::uint64_t granule, std::size_t at, std::span<const std::byte> bytes, const RetypedSink& sink);

  const RetypingMeans& means_;
  TensorInfo from_;
  DType to_;
  codec::Transcoder transcoder_;
  std::size_t granule_;                     // elements
  std::size_t granule_bytes_, made_bytes_;  // of one, before and after
  format::Ledger ledger_;                   // of the caller's bytes
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, Part> parts_;  // by granule
};

}  // namespace headrace::flow
