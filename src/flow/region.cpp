#include "flow/region.hpp"

#include "base/checked.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace headrace::flow {
namespace {

[[noreturn]] void refuse(const TensorInfo& tensor, const std::string& problem, std::string expected,
                         std::string found) {
  throw Error(ErrorCode::invalid_argument, problem,
              {.tensor = format::printable(tensor.name), .expected = std::move(expected), .found = std::move(found)});
}

void check_range(const TensorInfo& tensor, std::size_t dimension, const Range& range) {
  const std::uint64_t size = tensor.shape[dimension];
  const auto last = range.count == 0 ? std::optional<std::uint64_t>(0) : base::checked_mul(range.count - 1, range.step);
  const auto end = last ? base::checked_add(range.first, *last) : std::nullopt;
  const bool inside = range.count == 0 ? range.first <= size : end && *end < size;
  if (range.step != 0 && inside) return;
  refuse(tensor, "the region leaves the tensor in dimension " + std::to_string(dimension),
         "indices below " + std::to_string(size) + ", a step of at least 1",
         std::to_string(range.count) + " from " + std::to_string(range.first) + " on, every " +
             std::to_string(range.step));
}

bool is_whole(const Range& range, std::uint64_t size) { return range.count == size && (range.step == 1 || size <= 1); }

struct Splitter {
  const Box& box;
  std::uint64_t most, block;
  bool cut;
  std::vector<std::uint64_t> inside;  // what is counted of the dimensions inside each
  std::vector<std::uint64_t> output;  // elements of the output there
  std::vector<Range> at;
  std::vector<BoxPart> parts;
  std::uint64_t done = 0;

  void add(std::uint64_t elements) {
    parts.push_back({at, done, elements});
    done += elements;
  }

  // The ranges outside dimension `d` are set in `at`; those from it on are whole.
  void run(std::size_t d) {
    const Range all = box.ranges[d];
    const bool last = d + 1 == box.ranges.size();
    if (!last && inside[d] > most) {
      for (std::uint64_t i = 0; i < all.count; ++i) {
        at[d] = {all.first + i * all.step, 1, 1};
        run(d + 1);
      }
    } else {
      const std::uint64_t step =
          last ? chunk(all) : std::max<std::uint64_t>(1, most / std::max<std::uint64_t>(1, inside[d]));
      for (std::uint64_t i = 0; i < all.count; i += step) {
        at[d] = {all.first + i * all.step, std::min(step, all.count - i), all.step};
        add(at[d].count * output[d]);
      }
    }
    at[d] = all;
  }

  std::uint64_t chunk(const Range& all) const {
    if (cut) return std::max<std::uint64_t>(1, (most - block) / all.step);
    return std::max(block, most / block * block);
  }
};

}  // namespace

Box make_box(const TensorInfo& tensor, Region region) {
  if (region.size() != tensor.shape.size()) {
    refuse(tensor, "the region hasn't the tensor's number of dimensions", std::to_string(tensor.shape.size()),
           std::to_string(region.size()));
  }
  Box box;
  for (std::size_t d = region.size(); d-- > 0;) {
    check_range(tensor, d, region[d]);
    const std::uint64_t size = tensor.shape[d];
    Range range = region[d];
    if (range.count == 1) range.step = 1;
    // All of the dimension inside, and of this one a stretch: they are one.
    if (!box.shape.empty() && range.step == 1 && is_whole(box.ranges.front(), box.shape.front())) {
      const std::uint64_t inner = box.shape.front();  // the tensor's elements fit 64 bits, so no product overflows
      box.shape.front() = size * inner;
      box.ranges.front() = {range.first * inner, range.count * inner, 1};
    } else {
      box.shape.insert(box.shape.begin(), size);
      box.ranges.insert(box.ranges.begin(), range);
    }
  }
  if (box.shape.empty()) {
    box.shape = {1};
    box.ranges = {{0, 1, 1}};
  }
  box.elements = 1;
  for (const Range& range : box.ranges) box.elements *= range.count;  // at most the tensor's
  return box;
}

std::optional<Runs> runs_of(std::span<const std::uint64_t> shape, Region ranges, DType dtype) {
  std::uint64_t run = 1, inner = 1, base = 0;  // in elements
  std::vector<Stride> strides;                 // innermost first
  for (std::size_t d = ranges.size(); d-- > 0; inner *= shape[d]) {
    const Range& range = ranges[d];
    base += range.first * inner;
    if (range.count == 1) continue;
    const std::uint64_t stride = range.step * inner;
    if (strides.empty() && stride == run) {
      run *= range.count;
    } else if (!strides.empty() && stride == strides.back().stride * strides.back().count) {
      strides.back().count *= range.count;
    } else {
      strides.push_back({range.count, stride});
    }
  }
  const DTypeInfo& type = info(dtype);
  const std::uint64_t block = type.block_elements;
  if (base % block != 0 || run % block != 0) return std::nullopt;
  Runs runs{base / block * type.block_bytes, run / block * type.block_bytes, {}};
  for (std::size_t i = strides.size(); i-- > 0;) {
    if (strides[i].stride % block != 0) return std::nullopt;
    runs.strides.push_back({strides[i].count, strides[i].stride / block * type.block_bytes});
  }
  return runs;
}

bool cuts_blocks(const Box& box, DType dtype) {
  return box.elements != 0 && !runs_of(box.shape, box.ranges, dtype).has_value();
}

Range covering(Range range, std::uint64_t block) {
  const std::uint64_t first = range.first / block * block;
  const std::uint64_t end = range.first + (range.count - 1) * range.step + 1;
  return {first, (end + block - 1) / block * block - first, 1};
}

std::vector<BoxPart> split(const Box& box, std::uint64_t most, std::uint64_t block, bool cut) {
  const std::size_t rank = box.ranges.size();
  Splitter splitter{box, most, block, cut, {}, {}, box.ranges, {}};
  splitter.inside.resize(rank, 1);
  splitter.output.resize(rank, 1);
  std::uint64_t inside = 1, output = 1;
  for (std::size_t d = rank; d-- > 0;) {
    splitter.inside[d] = inside;
    splitter.output[d] = output;
    const Range& range = box.ranges[d];
    inside *= cut && d + 1 == rank ? covering(range, block).count : range.count;
    output *= range.count;
  }
  splitter.run(0);
  return std::move(splitter.parts);
}

}  // namespace headrace::flow
