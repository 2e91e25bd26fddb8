// What the decoders of blocks share. Included once for each instruction set, after hwy/highway.h.
#if defined(HEADRACE_CODEC_SIMD_UNPACK_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEADRACE_CODEC_SIMD_UNPACK_INL_HPP
#undef HEADRACE_CODEC_SIMD_UNPACK_INL_HPP
#else
#define HEADRACE_CODEC_SIMD_UNPACK_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "codec/simd/float-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

/// Blocks whose scales are widened together.
inline constexpr std::size_t kBatch = 32;

// Vectors of at most 16 lanes, so that 16 numbers are always a whole number of them.
using CodeF = hn::CappedTag<float, 16>;
using CodeI = hn::RebindToSigned<CodeF>;
using CodeBytes = hn::Rebind<std::uint8_t, CodeF>;
using SignedCodeBytes = hn::Rebind<std::int8_t, CodeF>;

/// F16 scales of up to kBatch blocks, `block_bytes` apart, as float32. `scales` has room for kBatch and is aligned.
HWY_INLINE void LoadScales(const std::byte* src, std::size_t block_bytes, std::size_t blocks, float* scales) {
  const CodeF df;
  const CodeI di;
  const hn::Rebind<std::uint16_t, CodeF> dh;
  HWY_ALIGN std::uint16_t half[kBatch] = {};
  for (std::size_t b = 0; b < blocks; ++b) std::memcpy(half + b, src + b * block_bytes, 2);
  for (std::size_t b = 0; b < blocks; b += hn::Lanes(df)) {
    const auto wide = F16::Widen(di, hn::PromoteTo(di, hn::Load(dh, half + b)));
    hn::Store(hn::BitCast(df, wide), df, scales + b);
  }
}

/// True when all of them are numbers: no NaN, no infinity.
HWY_INLINE bool AllFinite(const float* scales, std::size_t count) {
  bool finite = true;
  for (std::size_t i = 0; i < count; ++i) finite &= scales[i] - scales[i] == 0;
  return finite;
}

/// As many bytes as there are lanes, one in each.
HWY_INLINE hn::Vec<CodeI> LoadBytes(const std::byte* src) {
  return hn::PromoteTo(CodeI(), hn::LoadU(CodeBytes(), reinterpret_cast<const std::uint8_t*>(src)));
}
HWY_INLINE hn::Vec<CodeI> LoadSignedBytes(const std::int8_t* src) {
  return hn::PromoteTo(CodeI(), hn::LoadU(SignedCodeBytes(), src));
}

/// code · scale
HWY_INLINE void StoreScaled(hn::Vec<CodeI> codes, hn::Vec<CodeF> scale, float* dst) {
  const CodeF df;
  hn::StoreU(hn::Mul(hn::ConvertTo(df, codes), scale), df, dst);
}
/// code · scale + offset
HWY_INLINE void StoreRaised(hn::Vec<CodeI> codes, hn::Vec<CodeF> scale, hn::Vec<CodeF> offset, float* dst) {
  const CodeF df;
  hn::StoreU(hn::Add(hn::Mul(hn::ConvertTo(df, codes), scale), offset), df, dst);
}
/// code · scale − min
HWY_INLINE void StoreLowered(hn::Vec<CodeI> codes, hn::Vec<CodeF> scale, hn::Vec<CodeF> min, float* dst) {
  const CodeF df;
  hn::StoreU(hn::Sub(hn::Mul(hn::ConvertTo(df, codes), scale), min), df, dst);
}

/// What 32 codes of four bits stand for, given what the 16 codes do: the codes in the low nibbles of 16 bytes, then
/// those in the high ones.
HWY_INLINE void LookUpNibbles(const std::byte* src, const std::int8_t* meanings, std::int8_t* HWY_RESTRICT values) {
  const hn::CappedTag<std::uint8_t, 16> du;
  const hn::CappedTag<std::int8_t, 16> di;
  const auto table = hn::Load(di, meanings);
  const auto bytes = hn::LoadU(du, reinterpret_cast<const std::uint8_t*>(src));
  const auto low = hn::And(bytes, hn::Set(du, 15)), high = hn::ShiftRight<4>(bytes);
  hn::Store(hn::TableLookupBytes(table, hn::BitCast(di, low)), di, values);
  hn::Store(hn::TableLookupBytes(table, hn::BitCast(di, high)), di, values + 16);
}

/// 1, 2, 4, … in the lanes.
HWY_INLINE hn::Vec<CodeI> LaneBits() {
  const CodeI di;
  return hn::Shl(hn::Set(di, 1), hn::Iota(di, 0));
}
/// Adds `value` to the codes of those lanes whose bit in `bits` is set. The codes have none of `value`'s bits yet.
HWY_INLINE hn::Vec<CodeI> AddWhereSet(hn::Vec<CodeI> codes, std::uint32_t bits, std::int32_t value) {
  const CodeI di;
  const auto clear = hn::Eq(hn::And(hn::Set(di, static_cast<std::int32_t>(bits)), LaneBits()), hn::Zero(di));
  return hn::Or(codes, hn::IfThenZeroElse(clear, hn::Set(di, value)));
}

using DecodeBatchFn = void (*)(const std::byte* src, float* dst, std::size_t blocks);

/// Decodes `n` numbers, at most kBatch blocks at a time.
template <std::size_t kBlockBytes, std::size_t kBlockSize, DecodeBatchFn kDecodeBatch>
HWY_INLINE void DecodeInBatches(const std::byte* src, float* dst, std::size_t n) {
  for (std::size_t left = n / kBlockSize; left != 0;) {
    const std::size_t blocks = HWY_MIN(left, kBatch);
    kDecodeBatch(src, dst, blocks);
    src += blocks * kBlockBytes;
    dst += blocks * kBlockSize;
    left -= blocks;
  }
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
