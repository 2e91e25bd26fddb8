// Slices: a rectangular part of a tensor, read without the rest of it.
#pragma once

#include <headrace/cancel.hpp>
#include <headrace/checkpoint.hpp>
#include <headrace/nonfinite.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace headrace {

/// Which indices of one dimension: `first`, `first + step`, …, `count` of them. `step` is at least 1.
struct Range {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t step = 1;
};

/// One Range for each dimension of a tensor, outermost first.
using Region = std::span<const Range>;

/// All of a tensor of this shape.
std::vector<Range> whole(Shape shape);

struct SliceOptions {
  /// The type that the numbers shall have; else the tensor's own. Of whole bytes per element, see can_make.
  std::optional<DType> as = {};
  Nonfinite nonfinite = Nonfinite::refuse;  ///< for `as`
  /// Threads that read and convert; 0: one per core, or as many as the source is fastest with. A forward-only
  /// checkpoint is read by one whatever is asked for, and so is what is too small to share.
  unsigned threads = 1;
  /// Looked at before each piece of a few MiB. It doesn't end a wait for a server: that is the business of the token
  /// that the checkpoint was opened with.
  CancelToken cancel = {};
};

/// Bytes that the region takes as `as`, row-major.
/// Throws Error(invalid_argument): the region doesn't lie inside the tensor, or has another number of dimensions; a
/// step of 0; for a type of blocks as itself, runs that are no whole blocks (see read_slice); a size beyond 64 bits.
std::uint64_t slice_bytes(const TensorInfo& tensor, Region region, std::optional<DType> as = {});

/// Fills `out` with the region's numbers, row-major, little-endian, whatever the tensor's encoding is. `tensor` must
/// come from this checkpoint, and `out` have exactly slice_bytes.
///
/// Only what is needed is read, but runs that lie close together come with one read: at most 4 KiB between two of them
/// are read and thrown away, 128 KiB where the source is no file of this machine. The memory taken beside `out` is at
/// most 256 KiB a thread, with `as` 2 MiB more, 10 where the source is no file of this machine.
///
/// A type of blocks (also F4 and F6) as itself is read by whole blocks: the runs of the innermost dimension must begin
/// and end at blocks. With another type asked for, the blocks that hold the region are decoded and cut.
///
/// Thread-safety: as Checkpoint::read. Throws Error: what slice_bytes throws; invalid_argument (types that can't be
/// read or made; text, except whole tensors; `out` of another size), value (as `retype`; the element is counted in the
/// region, or where blocks are cut in those that hold a piece of it), io, cancelled, unsupported. After a throw the
/// contents of `out` are unspecified.
void read_slice(const Checkpoint& checkpoint, const TensorInfo& tensor, Region region, std::span<std::byte> out,
                const SliceOptions& options = {});

}  // namespace headrace
