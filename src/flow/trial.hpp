// Trial: the candidates of one tensor, while they are tried on its pieces.
#pragma once

#include "flow/piece_errors.hpp"

#include <headrace/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace headrace::flow {

/// Collects how the types of a ladder do, the smallest first, and says which are still worth trying. A type that errs
/// more on what was seen than all of the tensor allows is out, and those above one that does well wait. Both are
/// guesses about the rest; what holds in the end is what was seen, for a sum of squares never gets smaller.
/// Thread-safe.
class Trial {
 public:
  /// Types below `first` are known to be too small. `sure`: this one is tried on every piece, whatever it does, so that
  /// it is settled in the end; ladder.size(): none.
  Trial(std::vector<DType> ladder, double limit, std::uint64_t elements, std::size_t first, std::size_t sure);

  std::size_t size() const noexcept { return ladder_.size(); }
  DType type(std::size_t i) const noexcept { return ladder_[i]; }

  /// The first type from `from` on that is worth trying on the next piece; size() when there is none.
  std::size_t next(std::size_t from) const;

  /// What type `i` made of `elements` numbers.
  void add(std::size_t i, const PieceErrors& errors, std::uint64_t elements);
  /// Type `i` can't represent some number.
  void fail(std::size_t i);
  /// A piece is through; `any`: the errors of any type on it, whose Σw² is the piece's. True for the tensor's last.
  bool complete(const PieceErrors& any, std::uint64_t elements);

  /// After the last piece: the smallest type within the limit, size() where none is; or nothing when a type is in
  /// `open` that was not tried on enough to tell.
  std::optional<std::size_t> settled(std::size_t& open) const;

 private:
  struct Candidate {
    PieceErrors errors;
    std::uint64_t tried = 0;  // elements
    bool failed = false, is_out = false, does_well = false;
  };

  bool exceeds(const Difference& sums, long double squared) const noexcept;

  const std::vector<DType> ladder_;
  const double limit_;
  const std::uint64_t elements_;
  const std::size_t first_, sure_;
  mutable std::mutex mutex_;
  std::vector<Candidate> candidates_;
  PieceErrors all_;  // for its Σw²
  std::uint64_t seen_ = 0;
};

}  // namespace headrace::flow
