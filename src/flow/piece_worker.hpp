// PieceWorker: reads one piece, converts it, gives it to the sink.
#pragma once

#include "base/gate.hpp"
#include "flow/error_log.hpp"
#include "flow/long_rows.hpp"
#include "flow/material_reader.hpp"
#include "flow/piece_weights.hpp"
#include "flow/pieces.hpp"
#include "flow/read_slots.hpp"
#include "flow/sink.hpp"
#include "plan/plan.hpp"

#include <headrace/error.hpp>

#include <cstddef>
#include <span>
#include <string_view>

namespace headrace::flow {

/// One serves all threads.
class PieceWorker {
 public:
  /// `errors`: measures what is made; null: nobody asks.
  PieceWorker(const Plan::Impl& plan, base::Gate& gate, Sink& sink, PieceSizes sizes, ReadSlots& slots,
              ErrorLog* errors)
      : plan_(plan),
        gate_(gate),
        sink_(sink),
        sizes_(sizes),
        slots_(slots),
        errors_(errors),
        reader_(plan),
        long_rows_(plan, reader_, gate) {}

  /// Throws Error: value, io, no_space, cancelled.
  void run(Piece& piece) const;

 private:
  void dispatch(Piece& piece) const;
  std::string_view tensor_at(const Piece& piece, const ErrorDetail& where) const;
  void copy(Piece& piece) const;
  void convert(Piece& piece) const;
  void run_together(Piece& piece) const;
  EdgeRows edge_rows(const Piece& piece) const;
  void require_finite(const Run& run) const;
  void make(const Run& run, std::span<std::byte> out, EdgeRows edges, std::span<std::byte> scratch) const;

  const Plan::Impl& plan_;
  base::Gate& gate_;
  Sink& sink_;
  const PieceSizes sizes_;
  ReadSlots& slots_;
  ErrorLog* const errors_;
  const MaterialReader reader_;
  mutable LongRows long_rows_;
};

}  // namespace headrace::flow
