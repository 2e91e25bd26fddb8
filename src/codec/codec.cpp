#include "codec/codec.hpp"

#include <bit>
#include <cmath>
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

/// Numbers to one of Weights::row_mean_squares.
constexpr std::size_t kWeightsBlock = 32;

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

constexpr BadRange kNotFinite{0x7F800000, 0x7FFFFFFF};

/// Encodes a tile. When checking, returns the first number that the fit makes infinite or NaN. No bound on the numbers
/// rules that out: weights can draw a line through a few numbers that leaves the range of the others by far, or
/// overflow themselves. So what was made is read again, which takes far less time than making it.
std::optional<BadValue> encode_tile(const Row& to, const float* numbers, Weights weights, std::byte* out, std::size_t n,
                                    bool check) noexcept {
  to.fast.encode_weighted(numbers, weights, out, n);
  if (!check) return std::nullopt;
  alignas(64) float made[kTile];
  to.fast.decode(out, made, n);
  std::optional<BadValue> bad = find_bad(made, n, kNotFinite);
  if (bad) bad->value = numbers[bad->element];
  return bad;
}

/// The weights of what is left of a run.
Weights after(Weights weights, std::size_t elements) noexcept {
  weights.of += elements;
  if (weights.row_mean_squares != nullptr) weights.row_mean_squares += elements / kWeightsBlock;
  return weights;
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

bool uses_weights(DType to) noexcept {
  const Row* row = find_row(to);
  return row != nullptr && row->fast.encode_weighted != nullptr;
}

bool uses_row_mean_squares(DType to) noexcept {
  return to == DType::Q4_0 || to == DType::Q4_1 || to == DType::Q5_0 || to == DType::Q5_1;
}

void encode_weighted(DType to, const float* src, Weights weights, std::byte* dst, std::size_t elements) noexcept {
  find_row(to)->fast.encode_weighted(src, weights, dst, elements);
}

void RowSquares::add(const float* numbers, std::size_t n) noexcept {
  count_ += n;
  for (std::size_t i = 0; i < n; ++i) {
    // Of two NaN the first stays. Left to the compiler either might, as in ggml, and its sign can reach a scale.
    if (std::isnan(sum_)) return;
    sum_ += numbers[i] * numbers[i];
  }
}

Transcoder::Transcoder(DType from, DType to, bool check) noexcept : from_(from), to_(to), check_(check) {}

std::size_t Transcoder::granule() const noexcept {
  return std::lcm(std::size_t{info(from_).block_elements}, std::size_t{info(to_).block_elements});
}

std::optional<BadValue> Transcoder::run(const std::byte* src, std::byte* dst, std::size_t elements,
                                        const Weights* weights) const noexcept {
  if (from_ == to_) {  // nothing is rounded, so nothing can go wrong
    if (elements != 0) std::memcpy(dst, src, byte_count(from_, elements));
    return std::nullopt;
  }
  const Row& from = *find_row(from_);
  const Row& to = *find_row(to_);
  const DecodeFn decode_tile = rounds_again(to_) ? from.decode_odd : from.fast.decode;
  const bool weighted = weights != nullptr && to.fast.encode_weighted != nullptr;
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
    if (!bad && weighted) {
      bad = encode_tile(to, numbers, after(*weights, done), out, n, check_);
    } else if (!bad && !to_place) {
      to.fast.encode(numbers, out, n);
    }
    if (bad) {
      const double value = from_ == DType::F64 ? load_double(in, bad->element) : bad->value;
      return BadValue{done + bad->element, value};
    }
  }
  return std::nullopt;
}

}  // namespace headrace::codec
