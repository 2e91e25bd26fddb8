#include "codec/simd/ternary_kernels.hpp"

#include <cstdint>
#include <cstring>

#include "codec/kernel.hpp"
#include "codec/scalar/floats.hpp"
#include "codec/scalar/ternary.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/ternary_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/float-inl.hpp"
#include "codec/simd/unpack-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {
namespace {

constexpr std::size_t kBlock = 256;
constexpr std::size_t kTQ1_0Bytes = 54, kTQ1_0Scale = 52;
constexpr std::size_t kTQ2_0Bytes = 66, kTQ2_0Scale = 64;

// Both types have numbers that lie a fixed distance apart in one byte, so a vector takes as many neighbouring bytes as
// it has lanes, and no number has to change its lane.

/// One of the three runs of TQ1_0: kTrits numbers in each of kBytes bytes, kBytes apart.
template <std::size_t kBytes, std::size_t kTrits>
HWY_INLINE void DecodeTrits(const std::byte* src, float d, float* dst) {
  const hn::CappedTag<float, HWY_MIN(kBytes, 16)> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::uint8_t, decltype(df)> db;
  for (std::size_t j = 0; j < kBytes; j += hn::Lanes(df)) {
    auto rest = hn::PromoteTo(di, hn::LoadU(db, reinterpret_cast<const std::uint8_t*>(src + j)));
    for (std::size_t k = 0; k < kTrits; ++k) {
      const auto thrice = hn::Add(hn::Add(rest, rest), rest);
      const auto trit = hn::Sub(hn::ShiftRight<8>(thrice), hn::Set(di, 1));
      hn::StoreU(hn::Mul(hn::ConvertTo(df, trit), hn::Set(df, d)), df, dst + j + k * kBytes);
      rest = hn::And(thrice, hn::Set(di, 0xFF));
    }
  }
}

void DecodeTQ1Batch(const std::byte* src, float* dst, std::size_t blocks) {
  HWY_ALIGN float d[kBatch];
  LoadScales(src + kTQ1_0Scale, kTQ1_0Bytes, blocks, d);
  for (std::size_t b = 0; b < blocks; ++b, src += kTQ1_0Bytes, dst += kBlock) {
    DecodeTrits<32, 5>(src, d[b], dst);
    DecodeTrits<16, 5>(src + 32, d[b], dst + 160);
    DecodeTrits<4, 4>(src + 48, d[b], dst + 240);
  }
}

void DecodeTQ2Batch(const std::byte* src, float* dst, std::size_t blocks) {
  const CodeF df;
  const CodeI di;
  HWY_ALIGN float d[kBatch];
  LoadScales(src + kTQ2_0Scale, kTQ2_0Bytes, blocks, d);
  for (std::size_t b = 0; b < blocks; ++b, src += kTQ2_0Bytes, dst += kBlock) {
    const auto scale = hn::Set(df, d[b]);
    for (std::size_t j = 0; j < kBlock / 4; j += hn::Lanes(df)) {
      auto codes = LoadBytes(src + j);
      float* const to = dst + j / 32 * 128 + j % 32;
      for (std::size_t k = 0; k < 4; ++k) {
        StoreScaled(hn::Sub(hn::And(codes, hn::Set(di, 3)), hn::Set(di, 1)), scale, to + 32 * k);
        codes = hn::ShiftRight<2>(codes);
      }
    }
  }
}

/// The scale of a block, the largest magnitude, and its inverse.
struct Scale {
  float d, inverse;
  bool odd;  ///< the block holds NaN, infinity or only numbers so small that the inverse overflows
};

HWY_INLINE Scale ScaleOf(const float* x) {
  const CodeF df;
  const CodeI di;
  auto most = hn::Zero(di);
  for (std::size_t i = 0; i < kBlock; i += hn::Lanes(df)) {
    most = hn::Max(most, Magnitude(di, hn::BitCast(di, hn::LoadU(df, x + i))));
  }
  const std::int32_t bits = hn::GetLane(hn::MaxOfLanes(di, most));
  float d = 0;
  std::memcpy(&d, &bits, sizeof d);
  // From 2^-127 on the inverse is finite.
  return {d, bits != 0 ? 1 / d : 0, bits >= 0x7F800000 || (bits != 0 && bits < 0x00400000)};
}

/// code − 1: the nearest of −1, 0 and 1, half away from zero. No number is far beyond ±1.
template <class DF>
HWY_INLINE hn::Vec<hn::RebindToSigned<DF>> TritOf(DF df, const float* x, float inverse) {
  const hn::RebindToSigned<DF> di;
  const auto scaled = hn::Mul(hn::LoadU(df, x), hn::Set(df, inverse));
  const auto up = hn::VecFromMask(di, hn::RebindMask(di, hn::Ge(scaled, hn::Set(df, 0.5F))));
  const auto down = hn::VecFromMask(di, hn::RebindMask(di, hn::Le(scaled, hn::Set(df, -0.5F))));
  return hn::Sub(down, up);  // a true mask is −1
}

template <std::size_t kBytes, std::size_t kTrits>
HWY_INLINE void EncodeTrits(const float* x, float inverse, std::byte* dst) {
  const hn::CappedTag<float, HWY_MIN(kBytes, 16)> df;
  const hn::RebindToSigned<decltype(df)> di;
  const hn::Rebind<std::uint8_t, decltype(df)> db;
  for (std::size_t j = 0; j < kBytes; j += hn::Lanes(df)) {
    auto number = hn::Zero(di);
    for (std::size_t k = 0; k < kTrits; ++k) {
      number = hn::Add(hn::Add(number, number), number);
      number = hn::Add(number, hn::Add(TritOf(df, x + j + k * kBytes, inverse), hn::Set(di, 1)));
    }
    if constexpr (kTrits == 4) number = hn::Add(hn::Add(number, number), number);
    // number · 256 / 243, rounded up: number + (13 · number + 242) / 243, the quotient as a product with
    // 2^20 / 243 + 0.87, whose error is too small to carry any numerator of at most 3388 past an integer.
    const auto rest = hn::Add(hn::Mul(number, hn::Set(di, 13)), hn::Set(di, 242));
    const auto more = hn::ShiftRight<20>(hn::Mul(rest, hn::Set(di, 4316)));
    hn::StoreU(hn::DemoteTo(db, hn::Add(number, more)), db, reinterpret_cast<std::uint8_t*>(dst + j));
  }
}

HWY_INLINE void StoreScale(float d, std::byte* dst) {
  const std::uint16_t half = scalar::f32_to_f16(d);
  std::memcpy(dst, &half, sizeof half);
}

void EncodeTQ1_0(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_tq1_0(src, dst, n);
  for (; n != 0; n -= kBlock, src += kBlock, dst += kTQ1_0Bytes) {
    const Scale scale = ScaleOf(src);
    if (HWY_UNLIKELY(scale.odd)) {
      scalar::encode_tq1_0(src, dst, kBlock);
      continue;
    }
    EncodeTrits<32, 5>(src, scale.inverse, dst);
    EncodeTrits<16, 5>(src + 160, scale.inverse, dst + 32);
    EncodeTrits<4, 4>(src + 240, scale.inverse, dst + 48);
    StoreScale(scale.d, dst + kTQ1_0Scale);
  }
}

void EncodeTQ2_0(const float* src, std::byte* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::encode_tq2_0(src, dst, n);
  const CodeF df;
  const CodeI di;
  const CodeBytes db;
  for (; n != 0; n -= kBlock, src += kBlock, dst += kTQ2_0Bytes) {
    const Scale scale = ScaleOf(src);
    if (HWY_UNLIKELY(scale.odd)) {
      scalar::encode_tq2_0(src, dst, kBlock);
      continue;
    }
    for (std::size_t j = 0; j < kBlock / 4; j += hn::Lanes(df)) {
      const float* const x = src + j / 32 * 128 + j % 32;
      auto codes = hn::Zero(di);
      for (std::size_t k = 4; k-- != 0;) {
        codes = hn::Add(hn::ShiftLeft<2>(codes), TritOf(df, x + 32 * k, scale.inverse));
      }
      codes = hn::Add(codes, hn::Set(di, 0x55));  // the 1 of each code
      hn::StoreU(hn::DemoteTo(db, codes), db, reinterpret_cast<std::uint8_t*>(dst + j));
    }
    StoreScale(scale.d, dst + kTQ2_0Scale);
  }
}

void DecodeTQ1_0(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_tq1_0(src, dst, n);
  DecodeInBatches<kTQ1_0Bytes, kBlock, DecodeTQ1Batch>(src, dst, n);
}
void DecodeTQ2_0(const std::byte* src, float* dst, std::size_t n) {
  if constexpr (!kVectors) return scalar::decode_tq2_0(src, dst, n);
  DecodeInBatches<kTQ2_0Bytes, kBlock, DecodeTQ2Batch>(src, dst, n);
}

}  // namespace
}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(DecodeTQ1_0);
HWY_EXPORT(EncodeTQ1_0);
HWY_EXPORT(DecodeTQ2_0);
HWY_EXPORT(EncodeTQ2_0);

namespace kernels {

void decode_tq1_0(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeTQ1_0)(src, dst, n); }
void decode_tq2_0(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeTQ2_0)(src, dst, n); }
void encode_tq1_0(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeTQ1_0)(src, dst, n); }
void encode_tq2_0(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeTQ2_0)(src, dst, n); }

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
