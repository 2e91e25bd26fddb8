#include "flow/strided.hpp"

#include "codec/byte_order.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

namespace headrace::flow {
namespace {

// Small enough to stay in a core's own cache between being filled and being put in order.
constexpr std::size_t kScratch = std::size_t{256} << 10;
// Reading this much more costs as much as another read: 0.5 µs a call, at some 8 GB/s from the page cache.
constexpr std::uint64_t kSmallGap = 4 << 10;
// A run of this length takes as long to copy as it takes to ask for it.
constexpr std::uint64_t kGoodRun = 1 << 10;
// From here on, rows are read straight to where they belong.
constexpr std::uint64_t kLongRow = 32 << 10;
constexpr std::uint64_t kTile = 16;  // elements to a side, when rows become columns

struct Dimension {
  std::uint64_t size, stride;  // in elements of the file
};

/// A dimension of a box. Strides are in elements.
struct Level {
  std::uint64_t size = 1;
  std::uint64_t stride = 0;  // in the file
  std::uint64_t out = 0;     // in the output
  std::uint64_t image = 0;   // in the scratch memory
  std::uint64_t below = 1;   // elements that the levels inside this one take there
  bool joined = true;        // read together with all that is inside it
};

using Levels = std::span<const Level>;

// Drops dimensions of size 1, and makes one of those that lie together like one.
std::vector<Dimension> normalised(const TensorInfo& tensor, const format::Strided& how) {
  std::vector<Dimension> dimensions;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    const Dimension next{tensor.shape[i], how.strides[i]};
    if (next.size == 1) continue;
    if (!dimensions.empty() && dimensions.back().stride == next.stride * next.size) {
      dimensions.back() = {dimensions.back().size * next.size, next.stride};
    } else {
      dimensions.push_back(next);
    }
  }
  return dimensions;
}

// Calls `visit` with the place of each index of the levels in the file and in the output, or in the scratch memory.
template <std::uint64_t Level::*A, std::uint64_t Level::*B, class Visit>
void for_each(Levels levels, std::uint64_t a, std::uint64_t b, const Visit& visit) {
  if (levels.empty()) return visit(a, b);
  const Level& level = levels.front();
  for (std::uint64_t i = 0; i < level.size; ++i) {
    for_each<A, B>(levels.subspan(1), a + i * (level.*A), b + i * (level.*B), visit);
  }
}

template <std::size_t kBytes>
void copy_elements(const std::byte* from, std::byte* to, const Level& x, const Level& y) {
  for (std::uint64_t j = 0; j < y.size; ++j) {
    const std::byte* source = from + j * y.image * kBytes;
    std::byte* target = to + j * y.out * kBytes;
    for (std::uint64_t i = 0; i < x.size; ++i) {
      std::memcpy(target + i * x.out * kBytes, source + i * x.image * kBytes, kBytes);
    }
  }
}

// `x` is the level whose elements lie next to each other in the output, `y` the one whose elements do in the scratch
// memory. In tiles, so that no cache line is fetched for one element.
template <std::size_t kBytes>
void copy_tiled(const std::byte* from, std::byte* to, const Level& x, const Level& y) {
  if (x.image == 1 && x.out == 1) {
    for (std::uint64_t j = 0; j < y.size; ++j) {
      std::memcpy(to + j * y.out * kBytes, from + j * y.image * kBytes, x.size * kBytes);
    }
    return;
  }
  Level part_x = x, part_y = y;
  for (std::uint64_t i = 0; i < x.size; i += kTile) {
    part_x.size = std::min(kTile, x.size - i);
    for (std::uint64_t j = 0; j < y.size; j += kTile) {
      part_y.size = std::min(kTile, y.size - j);
      const std::byte* const source = from + (i * x.image + j * y.image) * kBytes;
      std::byte* const target = to + (i * x.out + j * y.out) * kBytes;
      copy_elements<kBytes>(source, target, part_x, part_y);
    }
  }
}

class StridedReader {
 public:
  StridedReader(const io::ByteSource& file, const TensorInfo& tensor, std::span<std::byte> out)
      : file_(file), offset_(tensor.offset), unit_(info(tensor.dtype).block_bytes), out_(out) {}

  /// Elements `first` to `first` + `count` of the dimensions, which begin at element `base` of the file.
  void read(std::span<const Dimension> dimensions, std::uint64_t base, std::uint64_t first, std::uint64_t count);

 private:
  void read_columns(Dimension outer, Dimension inner, std::uint64_t base, std::uint64_t first, std::uint64_t count);
  void read_whole_rows(std::span<const Dimension> inner, Dimension outer, std::uint64_t base);
  void read_box(std::vector<Level>& levels, std::uint64_t base, std::uint64_t out);
  void read_rows(Levels levels, std::uint64_t base, std::uint64_t out);
  void read_gathered(std::vector<Level>& levels, std::uint64_t base, std::uint64_t out);
  void plan_image(std::span<Level> levels) const;
  void load(Levels levels, std::uint64_t base, std::uint64_t image);
  void scatter(Levels levels, std::uint64_t out);
  void read_run(std::uint64_t at, std::uint64_t elements, std::byte* to) const;

  const io::ByteSource& file_;
  std::uint64_t offset_;  // of the tensor, in bytes
  std::size_t unit_;      // bytes of an element
  std::span<std::byte> out_;
  std::uint64_t done_ = 0;  // elements
  std::unique_ptr<std::byte[]> scratch_;
  std::vector<Level> block_;
};

// A range of a row-major order is a part of a first row, whole rows, and a part of a last one; each part is a range of
// what is inside a row.
void StridedReader::read(std::span<const Dimension> dimensions, std::uint64_t base, std::uint64_t first,
                         std::uint64_t count) {
  if (dimensions.size() < 2) {
    const Dimension only = dimensions.empty() ? Dimension{1, 0} : dimensions[0];
    return read_whole_rows({}, {count, only.stride}, base + first * only.stride);
  }
  const std::span<const Dimension> inner = dimensions.subspan(1);
  const std::uint64_t stride = dimensions[0].stride;
  if (inner.size() == 1 && stride < inner[0].stride) return read_columns(dimensions[0], inner[0], base, first, count);
  std::uint64_t row = 1;
  for (const Dimension& dimension : inner) row *= dimension.size;
  if (const std::uint64_t skip = first % row; skip != 0) {
    const std::uint64_t part = std::min(count, row - skip);
    read(inner, base + first / row * stride, skip, part);
    first += part;
    count -= part;
  }
  if (count >= row) {
    read_whole_rows(inner, {count / row, stride}, base + first / row * stride);
    first += count / row * row;
  }
  if (count % row != 0) read(inner, base + first / row * stride, 0, count % row);
}

// Where the rows of the tensor are columns in the file, the parts of the first and the last row are read with the whole
// rows between them: they lie next to those. So it is up to three ranges of columns, with another number of rows each.
void StridedReader::read_columns(Dimension outer, Dimension inner, std::uint64_t base, std::uint64_t first,
                                 std::uint64_t count) {
  const std::uint64_t row = inner.size, end = first + count;
  const std::uint64_t from = first % row, to = end % row;
  const std::array<std::uint64_t, 4> edges = {0, std::min(from, to), std::max(from, to), row};
  for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
    const std::uint64_t column = edges[i], columns = edges[i + 1] - column;
    const std::uint64_t first_row = first / row + (column < from ? 1 : 0), end_row = end / row + (column < to ? 1 : 0);
    if (columns == 0 || first_row >= end_row) continue;
    std::vector<Level> levels{{.size = end_row - first_row, .stride = outer.stride, .out = row},
                              {.size = columns, .stride = inner.stride, .out = 1}};
    const std::uint64_t at = base + first_row * outer.stride + column * inner.stride;
    read_box(levels, at, done_ + first_row * row + column - first);
  }
  done_ += count;
}

void StridedReader::read_whole_rows(std::span<const Dimension> inner, Dimension outer, std::uint64_t base) {
  std::vector<Level> levels;
  std::uint64_t elements = 1;
  const auto add = [&](const Dimension& dimension) {
    levels.push_back({.size = dimension.size, .stride = dimension.stride, .out = elements});
    elements *= dimension.size;
  };
  for (std::size_t i = inner.size(); i-- > 0;) add(inner[i]);
  add(outer);
  std::ranges::reverse(levels);
  read_box(levels, base, done_);
  done_ += elements;
}

// `levels`: outermost first.
void StridedReader::read_box(std::vector<Level>& levels, std::uint64_t base, std::uint64_t out) {
  std::erase_if(levels, [](const Level& level) { return level.size == 1; });
  if (levels.empty()) return read_run(base, 1, out_.data() + out * unit_);
  const bool repeats = std::ranges::any_of(levels, [](const Level& level) { return level.stride == 0; });
  const Level& last = levels.back();
  const bool in_rows = last.stride == 1 && last.out == 1 && !repeats;
  if (in_rows && (levels.size() == 1 || last.size * unit_ >= kLongRow)) return read_rows(levels, base, out);
  read_gathered(levels, base, out);
}

void StridedReader::read_rows(Levels levels, std::uint64_t base, std::uint64_t out) {
  const std::uint64_t row = levels.back().size;
  for_each<&Level::stride, &Level::out>(
      levels.first(levels.size() - 1), base, out,
      [&](std::uint64_t from, std::uint64_t to) { read_run(from, row, out_.data() + to * unit_); });
}

// Says for each level, innermost last, where its elements will lie in the scratch memory, and whether the gaps between
// them are small enough to be read with them.
void StridedReader::plan_image(std::span<Level> levels) const {
  std::uint64_t image = 1;
  bool joined = true;
  for (std::size_t i = levels.size(); i-- > 0;) {
    Level& level = levels[i];
    joined = joined && (level.stride <= image || (level.stride - image) * unit_ <= kSmallGap);
    level.joined = joined;
    level.below = image;
    level.image = joined ? level.stride : image;
    image += (level.size - 1) * level.image;
  }
}

// In the order of the file: parts of the box that fit the scratch memory are read there, and put in order from there.
void StridedReader::read_gathered(std::vector<Level>& levels, std::uint64_t base, std::uint64_t out) {
  if (!scratch_) scratch_ = std::make_unique_for_overwrite<std::byte[]>(kScratch);
  std::ranges::stable_sort(levels, std::ranges::greater{}, &Level::stride);
  const auto repeated = std::ranges::find(levels, std::uint64_t{0}, &Level::stride);
  const auto read = std::span(levels).first(static_cast<std::size_t>(repeated - levels.begin()));
  if (read.empty()) {  // one element, over and over
    read_run(base, 1, scratch_.get());
    return scatter(levels, out);
  }
  plan_image(read);

  // `cut` is the outermost level of which at least a part fits.
  const std::uint64_t room = kScratch / unit_;
  std::size_t cut = read.size() - 1;
  while (cut > 0 && read[cut - 1].below <= room) --cut;
  const Level level = read[cut];
  const std::uint64_t step = (room - level.below) / level.image + 1;
  block_.assign(levels.begin() + static_cast<std::ptrdiff_t>(cut), levels.end());
  const std::size_t loaded = read.size() - cut;
  for_each<&Level::stride, &Level::out>(Levels(read).first(cut), base, out, [&](std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t i = 0; i < level.size; i += step) {
      block_.front().size = std::min(step, level.size - i);
      load(Levels(block_).first(loaded), from + i * level.stride, 0);
      scatter(block_, to + i * level.out);
    }
  });
}

void StridedReader::load(Levels levels, std::uint64_t base, std::uint64_t image) {
  const Level& level = levels.front();
  if (level.joined) {
    return read_run(base, (level.size - 1) * level.stride + level.below, scratch_.get() + image * unit_);
  }
  for (std::uint64_t i = 0; i < level.size; ++i) {
    const std::uint64_t from = base + i * level.stride, to = image + i * level.image;
    if (levels.size() == 1) {
      read_run(from, 1, scratch_.get() + to * unit_);
    } else {
      load(levels.subspan(1), from, to);
    }
  }
}

void StridedReader::scatter(Levels levels, std::uint64_t out) {
  // The two innermost loops, as copy_tiled wants them; the others go around.
  std::vector<Level> outer(levels.begin(), levels.end());
  const auto take = [&outer](auto measure) {
    if (outer.empty()) return Level{};
    const auto at = std::ranges::min_element(outer, {}, measure);
    const Level taken = *at;
    outer.erase(at);
    return taken;
  };
  const Level x = take(&Level::out), y = take(&Level::image);
  for_each<&Level::image, &Level::out>(outer, 0, out, [&](std::uint64_t from, std::uint64_t to) {
    const std::byte* const source = scratch_.get() + from * unit_;
    std::byte* const target = out_.data() + to * unit_;
    switch (unit_) {
      case 1: return copy_tiled<1>(source, target, x, y);
      case 2: return copy_tiled<2>(source, target, x, y);
      case 4: return copy_tiled<4>(source, target, x, y);
      default: return copy_tiled<8>(source, target, x, y);
    }
  });
}

void StridedReader::read_run(std::uint64_t at, std::uint64_t elements, std::byte* to) const {
  file_.read_at(offset_ + at * unit_, std::span(to, static_cast<std::size_t>(elements * unit_)));
}

}  // namespace

void read_strided(const io::ByteSource& file, const TensorInfo& tensor, const format::Strided& how,
                  std::uint64_t first_element, std::span<std::byte> out) {
  const std::uint64_t count = out.size() / info(tensor.dtype).block_bytes;
  if (count == 0) return;
  StridedReader(file, tensor, out).read(normalised(tensor, how), 0, first_element, count);
  if (how.swapped) codec::swap_byte_order(tensor.dtype, out);
}

std::uint64_t good_range(const TensorInfo& tensor, const format::Strided& how) {
  const std::vector<Dimension> dimensions = normalised(tensor, how);
  const std::uint64_t unit = info(tensor.dtype).block_bytes;
  std::uint64_t inside = 1;  // elements of the dimensions inside the one being looked at
  std::uint64_t narrowest = 0, range = 1;
  for (std::size_t i = dimensions.size(); i-- > 0; inside *= dimensions[i].size) {
    const Dimension& dimension = dimensions[i];
    if (dimension.stride == 0 || (narrowest != 0 && dimension.stride >= narrowest)) continue;
    narrowest = dimension.stride;
    const std::uint64_t run = std::max<std::uint64_t>(1, kGoodRun / (dimension.stride * unit));
    range = inside == 1 ? 1 : inside * std::min(dimension.size, run);
  }
  return range;
}

}  // namespace headrace::flow
