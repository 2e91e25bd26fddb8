// PieceWorker: reads one piece, converts it, writes it.
#pragma once

#include "base/gate.hpp"
#include "flow/pieces.hpp"
#include "format/writer.hpp"
#include "plan/plan.hpp"

#include <headrace/error.hpp>

#include <cstddef>
#include <span>
#include <string_view>

namespace headrace::flow {

/// Stateless but for what it refers to; one serves all threads.
class PieceWorker {
 public:
  PieceWorker(const Plan::Impl& plan, base::Gate& gate, format::Writer& writer, PieceSizes sizes)
      : plan_(plan), gate_(gate), writer_(writer), sizes_(sizes) {}

  /// Throws Error: value, io, no_space, cancelled.
  void run(const Piece& piece) const;

 private:
  void dispatch(const Piece& piece) const;
  std::string_view tensor_at(const Piece& piece, const ErrorDetail& where) const;
  void copy(const Piece& piece) const;
  void convert(const Piece& piece) const;
  void run_together(const Piece& piece) const;
  void transcode(std::uint32_t tensor, std::uint64_t first_element, std::uint64_t elements,
                 std::span<const std::byte> in, std::span<std::byte> out) const;

  const Plan::Impl& plan_;
  base::Gate& gate_;
  format::Writer& writer_;
  const PieceSizes sizes_;
};

}  // namespace headrace::flow
