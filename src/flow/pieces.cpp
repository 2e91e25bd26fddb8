#include "flow/pieces.hpp"

#include "base/checked.hpp"
#include "codec/codec.hpp"
#include "flow/piece_errors.hpp"
#include "flow/piece_weights.hpp"
#include "flow/strided.hpp"

#include <algorithm>
#include <numeric>
#include <variant>

namespace headrace::flow {
namespace {

constexpr std::uint64_t kSmallest = std::uint64_t{64} << 10;
constexpr std::uint64_t kLargest = std::uint64_t{1} << 20;  // input and output stay in a second-level cache
constexpr std::uint64_t kLargestRequested = std::uint64_t{8} << 20;
constexpr std::uint64_t kLargestGathered = std::uint64_t{16} << 20;
constexpr std::uint64_t kCopied = std::uint64_t{8} << 20;
constexpr std::uint64_t kWidestGap = 4096;  // padding that is cheaper to carry along than to skip
constexpr std::size_t kLongestRun = 4096;   // tensors in a piece
constexpr std::uint64_t kArriving = std::uint64_t{64}
                                    << 10;  // of what comes over time: who loads it won't wait for more

std::uint64_t end_of(const TensorInfo& tensor) { return tensor.offset + tensor.bytes; }

// True when `b` follows `a` in the source closely enough for both to be read in one go, whatever lies between.
bool near(const TensorInfo& a, const TensorInfo& b) {
  return a.file == b.file && a.encoding == Encoding::plain && b.encoding == Encoding::plain && b.offset >= end_of(a) &&
         b.offset - end_of(a) < kWidestGap;
}

// True when nothing but padding lies between `a` and `b` in the output, so that one write may cover both.
bool next_to(const TensorInfo& a, const TensorInfo& b, std::uint64_t alignment) {
  return a.file == b.file && base::checked_round_up(end_of(a), alignment) == b.offset &&
         b.offset - end_of(a) < kWidestGap;
}

}  // namespace

PieceSizes piece_sizes(std::uint64_t available, unsigned threads, bool by_request) noexcept {
  const std::uint64_t share = available / 2 / std::max(threads, 1U);  // two pieces a worker: none waits for memory
  return {std::clamp(share, kSmallest, by_request ? kLargestRequested : kLargest), kCopied,
          std::clamp(share, kSmallest, kLargestGathered)};
}

std::uint64_t worth_reading(const Plan::Impl& plan, std::uint32_t tensor) {
  const TensorInfo& from = plan.source_of(tensor);
  if (from.encoding != Encoding::strided) return 0;
  const format::Header& header = plan.checkpoint_of(tensor).header;
  return good_range(from, std::get<format::Strided>(header.stored_as(from)));
}

PieceQueue::PieceQueue(const Plan::Impl& plan, PieceSizes sizes)
    : plan_(plan),
      sizes_(sizes),
      in_turn_(std::ranges::any_of(plan.sources, [](const plan::Source& source) { return source->forward_only(); })) {}

std::optional<Piece> PieceQueue::next() {
  Piece piece;
  if (in_turn_) piece.turn = std::unique_lock(turn_);
  const std::lock_guard lock(mutex_);
  if (stopped_ || at_ == plan_.by_source.size()) return std::nullopt;
  if (in_turn_ && !plan_.comes_once(plan_.by_source[at_])) piece.turn.unlock();
  const std::size_t run = element_ == 0 ? run_length() : 1;
  if (run > 1) {
    piece.tensors = std::span(plan_.by_source).subspan(at_, run);
    piece.last = true;
    at_ += run;
  } else {
    cut_one(plan_.by_source[at_], piece);
  }
  piece.number = number_++;
  return piece;
}

// Cuts the next piece off the tensor at at_.
void PieceQueue::cut_one(std::uint32_t tensor, Piece& piece) {
  const TensorInfo& to = plan_.tensors[tensor];
  const TensorInfo& from = plan_.source_of(tensor);
  const bool measured = plan_.options.measure && from.dtype != to.dtype;
  const std::uint64_t block = codec::Transcoder(from.dtype, to.dtype, false).granule();
  const std::uint64_t granule = measured ? kErrorTile : block;  // errors are summed tile by tile
  const std::uint64_t granule_bytes = *bytes_of(from.dtype, granule) + *bytes_of(to.dtype, granule);
  const bool in_turn = plan_.comes_once(tensor);
  const bool copied = from.dtype == to.dtype && from.encoding != Encoding::scaled;
  const std::uint64_t bytes = copied && !in_turn ? 2 * sizes_.copied : sizes_.converted;
  std::uint64_t most = std::max<std::uint64_t>(bytes / granule_bytes, 1) * granule;
  if (const std::uint64_t wanted = worth_reading(plan_, tensor); wanted > most)
    most = std::max(most, std::min(wanted / granule, sizes_.gathered / granule_bytes) * granule);
  // Whole rows, where one fits: their mean squares need no pass of their own then.
  const std::uint64_t row = to.row_elements();
  if (needs_row_squares(plan_, tensor, to.dtype) && row > 0) {
    const std::uint64_t whole = measured ? std::lcm(row, granule) : row;
    if (whole <= most) most = most / whole * whole;
    if (whole > most && in_turn) most = whole;  // there is no second look
  }

  piece.tensors = std::span(plan_.by_source).subspan(at_, 1);
  piece.first_element = element_;
  piece.elements = std::min(most, to.elements - element_);
  element_ += piece.elements;
  piece.last = element_ == to.elements;
  if (piece.last) {
    ++at_;
    element_ = 0;
  }
}

// How many tensors from at_ on fit one piece together.
std::size_t PieceQueue::run_length() const {
  const auto& order = plan_.by_source;
  const TensorInfo& first_from = plan_.source_of(order[at_]);
  const TensorInfo& first_to = plan_.tensors[order[at_]];
  // In a stream, between or among them may be a scale that others need.
  if (plan_.comes_once(order[at_]) && !plan_.derived.empty()) return 1;
  const bool arrives = plan_.in_memory && plan_.file_of(order[at_]).arrives();
  const std::uint64_t most = arrives ? std::min(sizes_.converted, kArriving) : sizes_.converted;
  std::size_t run = 0;
  while (run < kLongestRun && at_ + run < order.size()) {
    const TensorInfo& from = plan_.source_of(order[at_ + run]);
    const TensorInfo& to = plan_.tensors[order[at_ + run]];
    if (run > 0) {
      const std::uint32_t before = order[at_ + run - 1];
      if (plan_.first_of(before).source != plan_.first_of(order[at_ + run]).source) break;
      if (!near(plan_.source_of(before), from)) break;
      if (!next_to(plan_.tensors[before], to, plan_.outputs.parts[to.file].layout.alignment)) break;
    }
    if (end_of(from) - first_from.offset + end_of(to) - first_to.offset > most) break;
    ++run;
  }
  return run;
}

void PieceQueue::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

}  // namespace headrace::flow
