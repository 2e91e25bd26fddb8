#include "flow/material_reader.hpp"

#include "codec/codec.hpp"
#include "flow/tensor_reader.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>

namespace headrace::flow {
namespace {

constexpr std::size_t kTile = 2048;  // numbers at a time

// All scales that a plan needs, each once, in the order of their sources' bytes.
std::vector<plan::TensorRef> scales_of(const plan::Material& material) {
  std::vector<plan::TensorRef> scales;
  for (const plan::Derived& derived : material.derived) {
    for (const plan::Range& range : derived.ranges) {
      if (range.scale) scales.push_back(*range.scale);
    }
  }
  std::ranges::sort(scales, {},
                    [&](plan::TensorRef ref) { return std::tuple(ref.source, material.at(ref).offset, ref.tensor); });
  scales.erase(std::unique(scales.begin(), scales.end()), scales.end());
  return scales;
}

}  // namespace

MaterialReader::MaterialReader(const plan::Material& material) : material_(material), needed_(scales_of(material)) {}

void MaterialReader::read(std::size_t i, std::uint64_t first_byte, std::span<std::byte> out) const {
  const plan::Derived* derived = material_.derived_of(i);
  if (!derived) {
    const plan::TensorRef ref = material_.first_of(i);
    return read_tensor(*material_.sources[ref.source], material_.at(ref), first_byte, out);
  }
  for (const plan::Range& range : derived->ranges) {
    const std::uint64_t bytes = *bytes_of(derived->info.dtype, range.elements);
    if (first_byte >= bytes) {
      first_byte -= bytes;
      continue;
    }
    const std::size_t now = static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), bytes - first_byte));
    if (derived->info.encoding == Encoding::scaled) {
      read_scaled(range, first_byte / sizeof(float), out.first(now));
    } else {
      read_range(range, first_byte, out.first(now));
    }
    out = out.subspan(now);
    first_byte = 0;
    if (out.empty()) return;
  }
}

void MaterialReader::read_range(const plan::Range& range, std::uint64_t first_byte, std::span<std::byte> out) const {
  const TensorInfo& tensor = material_.at(range.from);
  read_tensor(*material_.sources[range.from.source], tensor, *bytes_of(tensor.dtype, range.first_element) + first_byte,
              out);
}

// The stored numbers lie at the end of `out` until they are decoded: what is written never reaches what isn't read yet.
void MaterialReader::read_scaled(const plan::Range& range, std::uint64_t first, std::span<std::byte> out) const {
  const TensorInfo& weight = material_.at(range.from);
  const std::size_t n = out.size() / sizeof(float);
  const auto stored = out.last(n);  // a byte each
  read_range({range.from, range.first_element + first, n}, 0, stored);
  static const Numbers kOne{1};
  const Numbers& scales = range.scale ? scale(*range.scale) : kOne;
  const std::uint64_t slice = weight.shape.empty() || weight.shape[0] == 0 ? 1 : weight.elements / weight.shape[0];
  std::array<float, kTile> tile;
  for (std::size_t done = 0; done < n;) {
    const std::uint64_t element = range.first_element + first + done;
    std::size_t now = std::min(kTile, n - done);
    std::size_t index = 0;
    if (scales.size() > 1) {
      index = static_cast<std::size_t>(element / slice);
      now = static_cast<std::size_t>(std::min<std::uint64_t>(now, slice - element % slice));
    }
    codec::decode(weight.dtype, stored.data() + done, tile.data(), now);
    const float factor = scales[index];
    for (std::size_t k = 0; k < now; ++k) tile[k] *= factor;
    std::memcpy(out.data() + done * sizeof(float), tile.data(), now * sizeof(float));
    done += now;
  }
}

const MaterialReader::Numbers& MaterialReader::scale(plan::TensorRef ref) const {
  const std::lock_guard lock(mutex_);
  const auto [at, is_new] = scales_.try_emplace({ref.source, ref.tensor});
  if (!is_new) return at->second;
  try {
    const TensorInfo& tensor = material_.at(ref);
    std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes));
    read_tensor(*material_.sources[ref.source], tensor, 0, bytes);
    at->second.resize(static_cast<std::size_t>(tensor.elements));
    codec::decode(tensor.dtype, bytes.data(), at->second.data(), at->second.size());
    return at->second;
  } catch (...) {
    scales_.erase(at);
    throw;
  }
}

void MaterialReader::read_scales_before(std::size_t i) const {
  // A tensor that is such a scale itself is read here too, while its bytes are at hand.
  const std::uint32_t source = material_.first_of(i).source;
  const std::uint64_t offset = material_.source_of(i).offset;
  std::size_t next = 0;
  {
    const std::lock_guard lock(mutex_);
    next = passed_;
  }
  for (; next < needed_.size() && needed_[next].source <= source; ++next) {
    if (needed_[next].source == source && material_.at(needed_[next]).offset > offset) break;
    if (material_.file_of(needed_[next]).access() == Access::forward) scale(needed_[next]);
  }
  const std::lock_guard lock(mutex_);
  passed_ = std::max(passed_, next);
}

std::uint64_t MaterialReader::memory_of_scales(const plan::Material& material) {
  constexpr std::uint64_t kEach = 96;  // of the map
  std::uint64_t bytes = 0;
  for (const plan::TensorRef ref : scales_of(material))  // as they lie in the file, and as numbers
    bytes += kEach + material.at(ref).bytes + material.at(ref).elements * sizeof(float);
  return bytes;
}

}  // namespace headrace::flow
