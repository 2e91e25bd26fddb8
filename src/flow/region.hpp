// Regions: the arithmetic of rectangular parts of tensors.
#pragma once

#include "flow/runs.hpp"

#include <headrace/slice.hpp>
#include <headrace/tensor.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace headrace::flow {

/// A region with as few dimensions as possible: those that are read whole are one with the next.
struct Box {
  std::vector<std::uint64_t> shape;  // never empty
  std::vector<Range> ranges;         // of the same size
  std::uint64_t elements = 0;        // in the ranges
};

/// Part of a box, and where it goes.
struct BoxPart {
  std::vector<Range> ranges;
  std::uint64_t first = 0;  // element of the output
  std::uint64_t elements = 0;
};

/// Throws Error(invalid_argument) when the region doesn't lie inside the tensor or is too large to count.
Box make_box(const TensorInfo& tensor, Region region);

/// Where the ranges of a tensor of `shape` lie; the region isn't empty. Nothing when a run isn't whole blocks.
std::optional<Runs> runs_of(std::span<const std::uint64_t> shape, Region ranges, DType dtype);

/// True when the innermost range isn't whole blocks.
bool cuts_blocks(const Box& box, DType dtype);

/// The blocks that hold the innermost range; a number of elements.
Range covering(Range range, std::uint64_t block);

/// Cuts a box, which isn't empty, into parts in the order of the output, of at most `most` elements each. With `cut`,
/// those of the blocks that cover the innermost range count; else parts end at blocks. `most` is at least two blocks.
std::vector<BoxPart> split(const Box& box, std::uint64_t most, std::uint64_t block, bool cut);

}  // namespace headrace::flow
