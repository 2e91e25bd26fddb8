#include "codec/simd/legacy_kernels.hpp"

#include <cstdint>
#include <cstring>

#include "codec/scalar/legacy.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/legacy_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/float-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

constexpr std::size_t kBlock = scalar::kLegacyBlock;

// Blocks are taken in groups, in three passes over numbers that stay in the first-level cache: the largest magnitude
// of each block, then the scales with one block in each lane (divisions are slow, but 16 cost as much as one), then
// the codes. A whole number of vectors of any target.
constexpr std::size_t kGroup = 32;

// Vectors of at most 16 lanes, so that half a block is always a whole number of them.
using DF = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<DF>;

struct Scales {
  HWY_ALIGN std::int32_t largest[kGroup];  // float32 bits; in: the block's largest number or magnitude
  HWY_ALIGN float inverse[kGroup];         // out: 1 / d, or 0
  HWY_ALIGN std::uint16_t half[kGroup];    // out: d as F16
};

/// The largest magnitude of a block, as bits: in that order NaN comes above infinity, so it isn't missed.
HWY_INLINE std::int32_t LargestMagnitude(const float* block) {
  const DF df;
  const DI di;
  auto most = Magnitude(di, hn::BitCast(di, hn::LoadU(df, block)));
  for (std::size_t j = hn::Lanes(df); j < kBlock; j += hn::Lanes(df)) {
    most = hn::Max(most, Magnitude(di, hn::BitCast(di, hn::LoadU(df, block + j))));
  }
  return hn::GetLane(hn::MaxOfLanes(di, most));
}

/// The first number of that magnitude, as bits. Only where both signs occur does the order have to be looked at. NaN
/// and infinity are given back as they are: the scalar reference, which passes over NaN, does their blocks anyway.
HWY_INLINE std::int32_t WithSign(const float* block, std::int32_t magnitude) {
  if (HWY_UNLIKELY(magnitude >= 0x7F800000)) return magnitude;
  const DF df;
  const DI di;
  const auto plus = hn::Set(di, magnitude);
  const auto minus = hn::Or(plus, hn::Set(di, INT32_MIN));
  auto bits = hn::BitCast(di, hn::LoadU(df, block));
  auto any_plus = hn::Eq(bits, plus);
  auto any_minus = hn::Eq(bits, minus);
  for (std::size_t j = hn::Lanes(df); j < kBlock; j += hn::Lanes(df)) {
    bits = hn::BitCast(di, hn::LoadU(df, block + j));
    any_plus = hn::Or(any_plus, hn::Eq(bits, plus));
    any_minus = hn::Or(any_minus, hn::Eq(bits, minus));
  }
  const bool has_plus = !hn::AllFalse(di, any_plus);
  const bool has_minus = !hn::AllFalse(di, any_minus);
  if (HWY_UNLIKELY(has_plus && has_minus)) {
    const float first = scalar::largest(block);
    std::memcpy(&magnitude, &first, sizeof first);
    return magnitude;
  }
  return has_minus ? magnitude | INT32_MIN : magnitude;
}

/// d = largest / divisor and its inverse for every block of a group. True when some block holds NaN or infinity, or
/// numbers so small that 1 / d overflows: those are left to the scalar reference.
HWY_INLINE bool ComputeScales(Scales& scales, std::size_t blocks, float divisor) {
  const DF df;
  const DI di;
  const hn::Rebind<std::uint16_t, DF> dh;
  auto worst = hn::Zero(di);
  for (std::size_t b = 0; b < blocks; b += hn::Lanes(df)) {
    const auto bits = hn::Load(di, scales.largest + b);
    const auto magnitude = Magnitude(di, bits);
    // A block of zeros counts as +0, whatever their signs.
    const auto largest = hn::IfThenElseZero(hn::Gt(magnitude, hn::Zero(di)), bits);
    const auto d = hn::Div(hn::BitCast(df, largest), hn::Set(df, divisor));
    const auto inverse = hn::IfThenZeroElse(hn::Eq(d, hn::Zero(df)), hn::Div(hn::Set(df, 1.0F), d));
    worst = hn::Max(worst, hn::Max(magnitude, Magnitude(di, hn::BitCast(di, inverse))));
    hn::Store(inverse, df, scales.inverse + b);
    hn::Store(hn::DemoteTo(dh, F16::Narrow(di, hn::BitCast(di, d))), dh, scales.half + b);
  }
  return hn::GetLane(hn::MaxOfLanes(di, worst)) >= 0x7F800000;
}

/// Codes of Q8_0: the nearest integer, half away from zero.
HWY_INLINE void StoreQ8Codes(const float* block, float inverse, std::byte* dst) {
  const DF df;
  const DI di;
  const hn::Rebind<std::int8_t, DF> db;
  const auto scale = hn::Set(df, inverse);
  // The largest number below a half: adding a half itself would carry 0.49999997 up to 1.
  const auto nearly_half = hn::Set(df, 0.49999997F);
  for (std::size_t j = 0; j < kBlock; j += hn::Lanes(df)) {
    const auto scaled = hn::Mul(hn::LoadU(df, block + j), scale);
    const auto rounded = hn::ConvertTo(di, hn::Add(scaled, hn::CopySignToAbs(nearly_half, scaled)));
    hn::StoreU(hn::DemoteTo(db, rounded), db, reinterpret_cast<std::int8_t*>(dst + j));
  }
}

/// Codes of Q4_0: x / d + 8.5 without its fraction, at most 15; number j in the low half of byte j, j + 16 in the high.
HWY_INLINE void StoreQ4Codes(const float* block, float inverse, std::byte* dst) {
  const DF df;
  const DI di;
  const hn::Rebind<std::uint8_t, DF> db;
  const auto scale = hn::Set(df, inverse);
  const auto offset = hn::Set(df, 8.5F);
  const auto most = hn::Set(di, 15);
  for (std::size_t j = 0; j < kBlock / 2; j += hn::Lanes(df)) {
    const auto low = hn::Add(hn::Mul(hn::LoadU(df, block + j), scale), offset);
    const auto high = hn::Add(hn::Mul(hn::LoadU(df, block + kBlock / 2 + j), scale), offset);
    const auto low_code = hn::Min(hn::ConvertTo(di, low), most);
    const auto high_code = hn::Min(hn::ConvertTo(di, high), most);
    const auto codes = hn::Or(low_code, hn::ShiftLeft<4>(high_code));
    hn::StoreU(hn::DemoteTo(db, codes), db, reinterpret_cast<std::uint8_t*>(dst + j));
  }
}

void EncodeQ8_0(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q8_0(src, dst, n);
  Scales scales = {};
  for (std::size_t left = n / kBlock; left != 0;) {
    const std::size_t blocks = HWY_MIN(left, kGroup);
    for (std::size_t b = 0; b < blocks; ++b) scales.largest[b] = LargestMagnitude(src + b * kBlock);
    if (HWY_UNLIKELY(ComputeScales(scales, blocks, 127.0F))) {
      scalar::encode_q8_0(src, dst, blocks * kBlock);
    } else {
      for (std::size_t b = 0; b < blocks; ++b) {
        std::byte* const block = dst + b * scalar::kQ8_0Bytes;
        std::memcpy(block, scales.half + b, 2);
        StoreQ8Codes(src + b * kBlock, scales.inverse[b], block + 2);
      }
    }
    src += blocks * kBlock;
    dst += blocks * scalar::kQ8_0Bytes;
    left -= blocks;
  }
}

void EncodeQ4_0(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_q4_0(src, dst, n);
  Scales scales = {};
  for (std::size_t left = n / kBlock; left != 0;) {
    const std::size_t blocks = HWY_MIN(left, kGroup);
    for (std::size_t b = 0; b < blocks; ++b) {
      const float* const block = src + b * kBlock;
      scales.largest[b] = WithSign(block, LargestMagnitude(block));
    }
    if (HWY_UNLIKELY(ComputeScales(scales, blocks, -8.0F))) {
      scalar::encode_q4_0(src, dst, blocks * kBlock);
    } else {
      for (std::size_t b = 0; b < blocks; ++b) {
        std::byte* const block = dst + b * scalar::kQ4_0Bytes;
        std::memcpy(block, scales.half + b, 2);
        StoreQ4Codes(src + b * kBlock, scales.inverse[b], block + 2);
      }
    }
    src += blocks * kBlock;
    dst += blocks * scalar::kQ4_0Bytes;
    left -= blocks;
  }
}

/// The scales of a group of blocks, as float32.
HWY_INLINE void LoadScales(const std::byte* src, std::size_t block_bytes, std::size_t blocks, float* scales) {
  const DF df;
  const DI di;
  const hn::Rebind<std::uint16_t, DF> dh;
  HWY_ALIGN std::uint16_t half[kGroup] = {};
  for (std::size_t b = 0; b < blocks; ++b) std::memcpy(half + b, src + b * block_bytes, 2);
  for (std::size_t b = 0; b < blocks; b += hn::Lanes(df)) {
    const auto wide = F16::Widen(di, hn::PromoteTo(di, hn::Load(dh, half + b)));
    hn::Store(hn::BitCast(df, wide), df, scales + b);
  }
}

void DecodeQ8_0(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q8_0(src, dst, n);
  const DF df;
  const DI di;
  const hn::Rebind<std::int8_t, DF> db;
  HWY_ALIGN float scales[kGroup];
  for (std::size_t left = n / kBlock; left != 0;) {
    const std::size_t blocks = HWY_MIN(left, kGroup);
    LoadScales(src, scalar::kQ8_0Bytes, blocks, scales);
    for (std::size_t b = 0; b < blocks; ++b, src += scalar::kQ8_0Bytes, dst += kBlock) {
      const auto d = hn::Set(df, scales[b]);
      for (std::size_t j = 0; j < kBlock; j += hn::Lanes(df)) {
        const auto codes = hn::LoadU(db, reinterpret_cast<const std::int8_t*>(src + 2 + j));
        hn::StoreU(hn::Mul(hn::ConvertTo(df, hn::PromoteTo(di, codes)), d), df, dst + j);
      }
    }
    left -= blocks;
  }
}

void DecodeQ4_0(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_q4_0(src, dst, n);
  const DF df;
  const DI di;
  const hn::Rebind<std::uint8_t, DF> db;
  const auto middle = hn::Set(di, 8);
  HWY_ALIGN float scales[kGroup];
  for (std::size_t left = n / kBlock; left != 0;) {
    const std::size_t blocks = HWY_MIN(left, kGroup);
    LoadScales(src, scalar::kQ4_0Bytes, blocks, scales);
    for (std::size_t b = 0; b < blocks; ++b, src += scalar::kQ4_0Bytes, dst += kBlock) {
      const auto d = hn::Set(df, scales[b]);
      for (std::size_t j = 0; j < kBlock / 2; j += hn::Lanes(df)) {
        const auto codes = hn::PromoteTo(di, hn::LoadU(db, reinterpret_cast<const std::uint8_t*>(src + 2 + j)));
        const auto low = hn::Sub(hn::And(codes, hn::Set(di, 15)), middle);
        const auto high = hn::Sub(hn::ShiftRight<4>(codes), middle);
        hn::StoreU(hn::Mul(hn::ConvertTo(df, low), d), df, dst + j);
        hn::StoreU(hn::Mul(hn::ConvertTo(df, high), d), df, dst + kBlock / 2 + j);
      }
    }
    left -= blocks;
  }
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(EncodeQ8_0);
HWY_EXPORT(EncodeQ4_0);
HWY_EXPORT(DecodeQ8_0);
HWY_EXPORT(DecodeQ4_0);

namespace kernels {

void encode_q8_0(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ8_0)(src, dst, n); }
void encode_q4_0(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeQ4_0)(src, dst, n); }
void decode_q8_0(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ8_0)(src, dst, n); }
void decode_q4_0(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeQ4_0)(src, dst, n); }

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
