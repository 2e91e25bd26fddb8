// Pieces: the units of work a plan is cut into.
#pragma once

#include "plan/plan.hpp"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

namespace headrace::flow {

/// A run of whole blocks of one output tensor; or, where tensors are small, several whole ones that lie one after the
/// other both in the source and in the output, so that one read and one write serve them all.
struct Piece {
  std::uint64_t number = 0;                // counts up in the order of the source's bytes
  std::span<const std::uint32_t> tensors;  // indexes into the plan's tensors
  std::uint64_t first_element = 0;         // of the one tensor
  std::uint64_t elements = 0;              // of the one tensor
  bool last = false;                       // completes its tensor or tensors
  std::unique_lock<std::mutex> turn = {};  // held until it is read, where bytes come once and in order
};

/// How large pieces may be, in bytes.
struct PieceSizes {
  std::uint64_t converted;     // input and output together
  std::uint64_t copied;        // moved by the system, without memory of ours
  std::uint64_t gathered = 0;  // of transposed matrices: as converted, but the larger the fewer reads
};

/// Sizes that keep `threads` workers busy within `available` bytes of memory: small enough for a processor's cache, or
/// large enough to be worth a request each to a server.
PieceSizes piece_sizes(std::uint64_t available, unsigned threads, bool by_request) noexcept;

/// How many elements of output tensor `tensor` should be read at once for reading's sake; 0 where it doesn't matter.
std::uint64_t worth_reading(const Plan::Impl& plan, std::uint32_t tensor);

/// Cuts a plan into pieces, in the order of the source's bytes, as they are asked for: a huge plan costs no memory.
/// Thread-safe. The plan must outlive it.
class PieceQueue {
 public:
  PieceQueue(const Plan::Impl& plan, PieceSizes sizes);

  /// The next piece; nothing when there is none left or stop() was called. Where its bytes come once, it waits until
  /// the piece before has been read.
  std::optional<Piece> next();

  /// No more pieces; those already handed out are finished by their workers.
  void stop();

 private:
  void cut_one(std::uint32_t tensor, Piece& piece);
  std::size_t run_length() const;

  const Plan::Impl& plan_;
  const PieceSizes sizes_;
  const bool in_turn_;  // some bytes come only once
  std::mutex turn_;
  std::mutex mutex_;
  std::size_t at_ = 0;         // index into plan_.by_source
  std::uint64_t element_ = 0;  // first one of that tensor not handed out yet
  std::uint64_t number_ = 0;
  bool stopped_ = false;
};

}  // namespace headrace::flow
