#include "flow/piece_worker.hpp"

#include "codec/refusal.hpp"
#include "flow/transcode.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

namespace headrace::flow {
namespace {

// Where the output's part of a slab begins: on a cache line of its own.
std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// What a piece needs: its input, its output unless the sink has a place for that, and scratch; one slab for all.
struct Workspace {
  Workspace(base::Gate& gate, std::size_t in_bytes, std::size_t out_bytes, std::size_t scratch_bytes,
            const Sink::Place& place)
      : slab(gate.acquire(aligned(in_bytes) + (place ? 0 : aligned(out_bytes)) + scratch_bytes)),
        in(slab.bytes().first(in_bytes)),
        out(place ? place.bytes : slab.bytes().subspan(aligned(in_bytes), out_bytes)),
        scratch(slab.bytes().subspan(aligned(in_bytes) + (place ? 0 : aligned(out_bytes)), scratch_bytes)) {}

  base::Gate::Slab slab;
  std::span<std::byte> in, out, scratch;
};

std::uint64_t at_element(const TensorInfo& tensor, std::uint64_t element) {
  return *bytes_of(tensor.dtype, element);  // a part of a size that was checked
}

// What the user can do about a number that `to` can't represent.
std::string way_out(DType to, double value) {
  std::string ways;
  const bool too_large = std::abs(value) <= std::numeric_limits<float>::max();  // F8_E8M0 has no zero and no sign
  if (too_large && (value > 0 || to != DType::F8_E8M0)) {
    ways = to == DType::F32 || to == DType::BF16 ? "--type f32 has the range; " : "--type bf16 or f32 has the range; ";
  }
  return ways + "--nonfinite keep converts it all the same";
}

[[noreturn]] void refuse_value(const Plan::Impl& plan, std::uint32_t tensor, std::uint64_t element, double value) {
  const TensorInfo& from = plan.source_of(tensor);
  const DType to = plan.tensors[tensor].dtype;
  const std::uint64_t block = element / info(from.dtype).block_elements * info(from.dtype).block_elements;
  codec::refuse_value(
      element, value, to,
      {.file = plan.file_of(tensor).name(),
       .tensor = format::printable(from.name),
       .offset = from.encoding == Encoding::plain ? std::optional(from.offset + at_element(from, block)) : std::nullopt,
       .hint = way_out(to, value)});
}

// The number is fine, but what the weights make of its block isn't.
[[noreturn]] void refuse_fit(const Plan::Impl& plan, std::uint32_t tensor, std::uint64_t element) {
  const TensorInfo& to = plan.tensors[tensor];
  throw Error(ErrorCode::value,
              fmt::format("with these weights, element {}'s block can't be fitted in {}", element, name(to.dtype)),
              {.file = plan.file_of(tensor).name(),
               .tensor = format::printable(plan.source_of(tensor).name),
               .hint = "--imatrix none makes it without weights"});
}

// Others may read on: this piece has its bytes.
void end_turn(Piece& piece) {
  if (piece.turn.owns_lock()) piece.turn.unlock();
}

}  // namespace

// What reads and writes know no tensors; their errors learn the name here.
void PieceWorker::run(Piece& piece) const {
  try {
    dispatch(piece);
  } catch (const Error& error) {
    if (!error.detail().tensor.empty() || !error.detail().offset) throw;
    ErrorDetail detail = error.detail();
    detail.tensor = tensor_at(piece, detail);
    throw Error(error.code(), error.problem(), std::move(detail));
  }
}

// The piece's tensor that holds the byte where something went wrong.
std::string_view PieceWorker::tensor_at(const Piece& piece, const ErrorDetail& where) const {
  const bool reading = where.file == plan_.file_of(piece.tensors.front()).name();  // all are of one source
  for (const std::uint32_t tensor : piece.tensors) {
    const TensorInfo& extent = reading ? plan_.source_of(tensor) : plan_.tensors[tensor];
    if (*where.offset < extent.offset + extent.bytes) return extent.name;
  }
  return plan_.tensors[piece.tensors.back()].name;
}

void PieceWorker::dispatch(Piece& piece) const {
  if (piece.turn.owns_lock()) reader_.read_scales_before(piece.tensors.front());
  if (piece.tensors.size() > 1) return run_together(piece);
  const std::uint32_t tensor = piece.tensors.front();
  const TensorInfo& from = plan_.source_of(tensor);
  if (from.dtype == plan_.tensors[tensor].dtype && from.encoding != Encoding::scaled) return copy(piece);
  convert(piece);
}

// Bytes that stay as they are: by the system if it can, else through one slab.
void PieceWorker::copy(Piece& piece) const {
  const std::uint32_t tensor = piece.tensors.front();
  const TensorInfo& from = plan_.source_of(tensor);
  std::uint64_t first = at_element(from, piece.first_element);
  std::uint64_t left = at_element(from, piece.first_element + piece.elements) - first;
  if (left == 0) return;
  const io::File* file = from.encoding == Encoding::plain ? plan_.file_of(tensor).file() : nullptr;
  if (file && sink_.copy_from(*file, from.offset + first, tensor, first, left)) return;
  const std::uint64_t wanted = std::min(worth_reading(plan_, tensor) * info(from.dtype).block_bytes, sizes_.gathered);
  const std::uint64_t most = std::min(left, std::max(sizes_.converted, wanted));
  base::Gate::Slab slab;
  while (left > 0) {
    const std::size_t size = std::min(left, most);
    Sink::Place place = sink_.place(tensor, first, size);
    if (!place && slab.bytes().empty()) slab = gate_.acquire(most);
    const auto part = place ? place.bytes : slab.bytes().first(size);
    slots_.run(piece.number, [&] { reader_.read(tensor, first, part); });
    if (part.size() == left) end_turn(piece);
    sink_.put(tensor, first, part, std::move(place));
    first += part.size();
    left -= part.size();
  }
}

void PieceWorker::convert(Piece& piece) const {
  const std::uint32_t tensor = piece.tensors.front();
  const TensorInfo& from = plan_.source_of(tensor);
  const TensorInfo& to = plan_.tensors[tensor];
  const std::uint64_t from_first = at_element(from, piece.first_element);
  const std::uint64_t to_first = at_element(to, piece.first_element);
  const std::size_t in_bytes = at_element(from, piece.first_element + piece.elements) - from_first;
  const std::size_t out_bytes = at_element(to, piece.first_element + piece.elements) - to_first;
  if (piece.elements == 0) {  // nothing was lost
    if (errors_) errors_->add(tensor, {}, 0);
    return;
  }
  const EdgeRows edges = edge_rows(piece);
  const std::size_t scratch_bytes = PieceWeights::scratch_bytes(plan_, tensor);
  Sink::Place place = sink_.place(tensor, to_first, out_bytes);
  const Workspace room(gate_, in_bytes, out_bytes, scratch_bytes, place);
  slots_.run(piece.number, [&] { reader_.read(tensor, from_first, room.in); });
  end_turn(piece);
  make({tensor, piece.first_element, piece.elements, room.in}, room.out, edges, room.scratch);
  sink_.put(tensor, to_first, room.out, std::move(place));
}

// Neighbours in source and output alike: one read, one write.
void PieceWorker::run_together(Piece& piece) const {
  const TensorInfo& first_from = plan_.source_of(piece.tensors.front());
  const TensorInfo& first_to = plan_.tensors[piece.tensors.front()];
  const TensorInfo& last_from = plan_.source_of(piece.tensors.back());
  const TensorInfo& last_to = plan_.tensors[piece.tensors.back()];
  const std::size_t in_bytes = last_from.offset + last_from.bytes - first_from.offset;
  const std::size_t out_bytes = last_to.offset + last_to.bytes - first_to.offset;
  const io::File* file = plan_.file_of(piece.tensors.front()).file();  // of all: they are near
  if (file && sink_.copy_run_from(*file, first_from.offset, in_bytes, piece.tensors)) return;
  std::size_t scratch_bytes = 0;
  for (const std::uint32_t tensor : piece.tensors)
    scratch_bytes = std::max(scratch_bytes, PieceWeights::scratch_bytes(plan_, tensor));
  Sink::Place place = sink_.place_run(piece.tensors, out_bytes);
  const Workspace room(gate_, in_bytes, out_bytes, scratch_bytes, place);
  slots_.run(piece.number, [&] { plan_.file_of(piece.tensors.front()).read_at(first_from.offset, room.in); });
  end_turn(piece);
  std::size_t filled = 0;
  for (const std::uint32_t tensor : piece.tensors) {
    const TensorInfo& from = plan_.source_of(tensor);
    const TensorInfo& to = plan_.tensors[tensor];
    const std::size_t at = to.offset - first_to.offset;
    std::memset(room.out.data() + filled, 0, at - filled);  // padding; slabs hold what their last user left
    const auto bytes = room.in.subspan(from.offset - first_from.offset, from.bytes);
    make({tensor, 0, to.elements, bytes}, room.out.subspan(at, to.bytes), {}, room.scratch);
    filled = at + to.bytes;
  }
  sink_.put_run(piece.tensors, room.out, std::move(place));
}

// 8-bit floats times their scale that become F32: no encoder looks at them. NaN is theirs already.
void PieceWorker::require_finite(const Run& run) const {
  if (plan_.options.nonfinite != Nonfinite::refuse) return;
  for (std::uint64_t i = 0; i < run.elements; ++i) {
    float number = 0;
    std::memcpy(&number, run.in.data() + i * sizeof number, sizeof number);
    if (std::isinf(number)) refuse_value(plan_, run.tensor, run.first_element + i, number);
  }
}

// Makes the output's type of a run, and measures the result while it is at hand.
void PieceWorker::make(const Run& run, std::span<std::byte> out, EdgeRows edges, std::span<std::byte> scratch) const {
  const DType from = plan_.source_of(run.tensor).dtype, to = plan_.tensors[run.tensor].dtype;
  if (const auto misfit = transcode(plan_, run, to, edges, scratch, out)) {
    if (misfit->by_weights) refuse_fit(plan_, run.tensor, misfit->element);
    refuse_value(plan_, run.tensor, misfit->element, misfit->value);
  }
  const bool scaled = plan_.source_of(run.tensor).encoding == Encoding::scaled;
  if (scaled && from == to) require_finite(run);
  if (!errors_ || (from == to && !scaled)) return;
  PieceErrors errors;
  measure_run(from, run.in.data(), to, out.data(), static_cast<std::size_t>(run.elements), errors);
  errors_->add(run.tensor, errors, run.elements);
}

// Before any slab is held: a long row's pass needs one.
EdgeRows PieceWorker::edge_rows(const Piece& piece) const {
  const std::uint32_t tensor = piece.tensors.front();
  if (!needs_row_squares(plan_, tensor, plan_.tensors[tensor].dtype)) return {};
  const std::uint64_t row = plan_.tensors[tensor].row_elements(), end = piece.first_element + piece.elements;
  EdgeRows edges;
  if (piece.first_element % row != 0) edges.first = long_rows_.mean_square(tensor, piece.first_element / row);
  if (end % row != 0) edges.last = long_rows_.mean_square(tensor, end / row);
  return edges;
}

}  // namespace headrace::flow
