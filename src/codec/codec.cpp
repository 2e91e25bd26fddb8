#include "codec/codec.hpp"

#include <bit>
#include <cstdint>
#include <cstring>
#include <numeric>

#include "codec/kernel.hpp"
#include "codec/simd/range_kernels.hpp"

namespace headrace::codec {
namespace {

static_assert(std::endian::native == std::endian::little, "the kernels load and store little-endian bytes as they are");

/// Numbers converted at a time. Their float32 take 8 KiB, so that with source and target (at most 16 KiB each) they
/// stay in the first-level cache between the passes. A multiple of every block.
constexpr std::size_t kTile = 2048;

bool is_float_aligned(const std::byte* at) noexcept {
  return reinterpret_cast<std::uintptr_t>(at) % alignof(float) == 0;
}

std::size_t byte_count(DType dtype, std::size_t elements) noexcept {
  const DTypeInfo& type = info(dtype);
  return elements / type.block_elements * type.block_bytes;
}

/// True for floats narrower than float32: rounding to one is a second rounding after float64's.
bool rounds_again(DType to) noexcept { return is_float(to) && info(to).block_bytes < sizeof(float); }

double load_double(const std::byte* from, std::size_t index) noexcept {
  double number = 0;
  std::memcpy(&number, from + index * sizeof number, sizeof number);
  return number;
}

/// The first of `n` float64 that float32 can't hold.
std::optional<BadValue> find_overflow(const std::byte* numbers, std::size_t n) noexcept {
  if (!kernels::any_overflows_f32(numbers, n)) return std::nullopt;
  std::size_t i = 0;
  while (!kernels::overflows_f32(load_double(numbers, i))) ++i;
  return BadValue{i, load_double(numbers, i)};
}

std::optional<BadValue> find_bad(const float* numbers, std::size_t n, BadRange range) noexcept {
  if (!kernels::any_in_range(numbers, n, range)) return std::nullopt;
  std::size_t i = 0;
  while (!kernels::in_range(numbers[i], range)) ++i;
  return BadValue{i, numbers[i]};
}

}  // namespace

bool can_decode(DType dtype) noexcept { return find_row(dtype) != nullptr; }

bool can_encode(DType dtype) noexcept {
  const Row* row = find_row(dtype);
  return row != nullptr && row->fast.encode != nullptr;
}

void decode(DType from, const std::byte* src, float* dst, std::size_t elements) noexcept {
  find_row(from)->fast.decode(src, dst, elements);
}

void encode(DType to, const float* src, std::byte* dst, std::size_t elements) noexcept {
  find_row(to)->fast.encode(src, dst, elements);
}

Transcoder::Transcoder(DType from, DType to, bool check) noexcept : from_(from), to_(to), check_(check) {}

std::size_t Transcoder::granule() const noexcept {
  return std::lcm(std::size_t{info(from_).block_elements}, std::size_t{info(to_).block_elements});
}

std::optional<BadValue> Transcoder::run(const std::byte* src, std::byte* dst, std::size_t elements) const noexcept {
  if (from_ == to_) {  // nothing is rounded, so nothing can go wrong
    if (elements != 0) std::memcpy(dst, src, byte_count(from_, elements));
    return std::nullopt;
  }
  const Row& from = *find_row(from_);
  const Row& to = *find_row(to_);
  const DecodeFn decode_tile = rounds_again(to_) ? from.decode_odd : from.fast.decode;
  const bool check_wide = check_ && from_ == DType::F64 && to_ == DType::F32;
  // float32 at either end needs no tile in between, where it is aligned as a float must be.
  const bool in_place = from_ == DType::F32 && is_float_aligned(src);
  const bool to_place = to_ == DType::F32 && is_float_aligned(dst);

  alignas(64) float tile[kTile];
  for (std::size_t done = 0; done < elements; done += kTile) {
    const std::size_t n = elements - done < kTile ? elements - done : kTile;
    const std::byte* const in = src + byte_count(from_, done);
    std::byte* const out = dst + byte_count(to_, done);

    std::optional<BadValue> bad;
    if (check_wide) bad = find_overflow(in, n);
    const float* numbers = nullptr;
    if (in_place) {
      numbers = reinterpret_cast<const float*>(in);
    } else {
      float* const decoded = to_place ? reinterpret_cast<float*>(out) : tile;
      decode_tile(in, decoded, n);
      numbers = decoded;
    }
    if (check_ && !bad) bad = find_bad(numbers, n, to.bad);
    if (bad) {
      const double value = from_ == DType::F64 ? load_double(in, bad->element) : bad->value;
      return BadValue{done + bad->element, value};
    }
    if (!to_place) to.fast.encode(numbers, out, n);
  }
  return std::nullopt;
}

}  // namespace headrace::codec
