#include "codec/simd/float_kernels.hpp"

#include <cstdint>

#include "codec/scalar/floats.hpp"
#include "codec/scalar/small_floats.hpp"

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/float_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

#include "codec/simd/float-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

/// Widens runs of `Bits` (uint16_t or uint8_t) as `Type` does; the rest that fills no vector goes to `rest`.
template <class Type, typename Bits>
HWY_INLINE void DecodeRun(const std::byte* src, float* dst, std::size_t n, DecodeFn rest) {
  std::size_t i = 0;
  if constexpr (kVectors) {
    const hn::ScalableTag<float> df;
    const hn::RebindToSigned<decltype(df)> di;
    const hn::Rebind<Bits, decltype(df)> db;
    const std::size_t lanes = hn::Lanes(df);
    for (; i + lanes <= n; i += lanes) {
      const auto narrow = hn::LoadU(db, reinterpret_cast<const Bits*>(src + i * sizeof(Bits)));
      hn::StoreU(hn::BitCast(df, Type::Widen(di, hn::PromoteTo(di, narrow))), df, dst + i);
    }
  }
  rest(src + i * sizeof(Bits), dst + i, n - i);
}

template <class Type, typename Bits>
HWY_INLINE void EncodeRun(const float* src, std::byte* dst, std::size_t n, EncodeFn rest) {
  std::size_t i = 0;
  if constexpr (kVectors) {
    const hn::ScalableTag<float> df;
    const hn::RebindToSigned<decltype(df)> di;
    const hn::Rebind<Bits, decltype(df)> db;
    const std::size_t lanes = hn::Lanes(df);
    for (; i + lanes <= n; i += lanes) {
      const auto narrow = Type::Narrow(di, hn::BitCast(di, hn::LoadU(df, src + i)));
      hn::StoreU(hn::DemoteTo(db, narrow), db, reinterpret_cast<Bits*>(dst + i * sizeof(Bits)));
    }
  }
  rest(src + i, dst + i * sizeof(Bits), n - i);
}

void DecodeF16(const std::byte* src, float* dst, std::size_t n) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  // One instruction there, exact, and it makes NaN quiet as the reference does; it takes no notice of the
  // floating-point mode.
  const hn::ScalableTag<float> df;
  const hn::Rebind<hwy::float16_t, decltype(df)> dh;
  const std::size_t lanes = hn::Lanes(df);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto half = hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(src + i * 2));
    hn::StoreU(hn::PromoteTo(df, half), df, dst + i);
  }
  scalar::decode_f16(src + i * 2, dst + i, n - i);
#else
  DecodeRun<F16, std::uint16_t>(src, dst, n, scalar::decode_f16);
#endif
}

void DecodeBF16(const std::byte* src, float* dst, std::size_t n) {
  DecodeRun<BF16, std::uint16_t>(src, dst, n, scalar::decode_bf16);
}
void DecodeF8E4M3(const std::byte* src, float* dst, std::size_t n) {
  DecodeRun<F8E4M3, std::uint8_t>(src, dst, n, scalar::decode_f8_e4m3);
}
void DecodeF8E5M2(const std::byte* src, float* dst, std::size_t n) {
  DecodeRun<F8E5M2, std::uint8_t>(src, dst, n, scalar::decode_f8_e5m2);
}
void DecodeF8E4M3Fnuz(const std::byte* src, float* dst, std::size_t n) {
  DecodeRun<F8E4M3Fnuz, std::uint8_t>(src, dst, n, scalar::decode_f8_e4m3fnuz);
}
void DecodeF8E5M2Fnuz(const std::byte* src, float* dst, std::size_t n) {
  DecodeRun<F8E5M2Fnuz, std::uint8_t>(src, dst, n, scalar::decode_f8_e5m2fnuz);
}

void EncodeF16(const float* src, std::byte* dst, std::size_t n) {
  EncodeRun<F16, std::uint16_t>(src, dst, n, scalar::encode_f16);
}
void EncodeBF16(const float* src, std::byte* dst, std::size_t n) {
  EncodeRun<BF16, std::uint16_t>(src, dst, n, scalar::encode_bf16);
}
void EncodeF8E4M3(const float* src, std::byte* dst, std::size_t n) {
  EncodeRun<F8E4M3, std::uint8_t>(src, dst, n, scalar::encode_f8_e4m3);
}
void EncodeF8E5M2(const float* src, std::byte* dst, std::size_t n) {
  EncodeRun<F8E5M2, std::uint8_t>(src, dst, n, scalar::encode_f8_e5m2);
}
void EncodeF8E4M3Fnuz(const float* src, std::byte* dst, std::size_t n) {
  EncodeRun<F8E4M3Fnuz, std::uint8_t>(src, dst, n, scalar::encode_f8_e4m3fnuz);
}
void EncodeF8E5M2Fnuz(const float* src, std::byte* dst, std::size_t n) {
  EncodeRun<F8E5M2Fnuz, std::uint8_t>(src, dst, n, scalar::encode_f8_e5m2fnuz);
}

void DecodeF64(const std::byte* src, float* dst, std::size_t n) {
  std::size_t i = 0;
  if constexpr (kVectors) {
    const hn::ScalableTag<double> dd;
    const hn::Rebind<float, decltype(dd)> df;
    const std::size_t lanes = hn::Lanes(dd);
    for (; i + lanes <= n; i += lanes) {
      const auto wide = hn::LoadU(dd, reinterpret_cast<const double*>(src + i * 8));
      hn::StoreU(hn::DemoteTo(df, wide), df, dst + i);
    }
  }
  scalar::decode_f64(src + i * 8, dst + i, n - i);
}

void DecodeF64Odd(const std::byte* src, float* dst, std::size_t n) {
  std::size_t i = 0;
  if constexpr (kVectors) {
    const hn::ScalableTag<double> dd;
    const hn::RebindToUnsigned<decltype(dd)> du64;
    const hn::Rebind<float, decltype(dd)> df;
    const hn::RebindToUnsigned<decltype(df)> du32;
    const std::size_t lanes = hn::Lanes(dd);
    for (; i + lanes <= n; i += lanes) {
      const auto wide = hn::LoadU(dd, reinterpret_cast<const double*>(src + i * 8));
      const auto nearest = hn::DemoteTo(df, wide);
      const auto back = hn::PromoteTo(dd, nearest);
      const auto inexact = hn::And(hn::Ne(back, wide), hn::Eq(wide, wide));  // NaN is left as it is
      const auto too_large = hn::Gt(hn::Abs(back), hn::Abs(wide));
      const auto set = hn::IfThenElseZero(hn::RebindMask(du64, inexact), hn::Set(du64, 1U));
      const auto down = hn::IfThenElseZero(hn::RebindMask(du64, too_large), hn::Set(du64, 1U));
      const auto bits = hn::Sub(hn::BitCast(du32, nearest), hn::TruncateTo(du32, down));
      hn::StoreU(hn::BitCast(df, hn::Or(bits, hn::TruncateTo(du32, set))), df, dst + i);
    }
  }
  scalar::decode_f64_odd(src + i * 8, dst + i, n - i);
}

void EncodeF64(const float* src, std::byte* dst, std::size_t n) {
  std::size_t i = 0;
  if constexpr (kVectors) {
    const hn::ScalableTag<double> dd;
    const hn::Rebind<float, decltype(dd)> df;
    const std::size_t lanes = hn::Lanes(dd);
    for (; i + lanes <= n; i += lanes) {
      hn::StoreU(hn::PromoteTo(dd, hn::LoadU(df, src + i)), dd, reinterpret_cast<double*>(dst + i * 8));
    }
  }
  scalar::encode_f64(src + i, dst + i * 8, n - i);
}

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace headrace::codec {

HWY_EXPORT(DecodeF64);
HWY_EXPORT(DecodeF64Odd);
HWY_EXPORT(DecodeF16);
HWY_EXPORT(DecodeBF16);
HWY_EXPORT(DecodeF8E4M3);
HWY_EXPORT(DecodeF8E5M2);
HWY_EXPORT(DecodeF8E4M3Fnuz);
HWY_EXPORT(DecodeF8E5M2Fnuz);
HWY_EXPORT(EncodeF64);
HWY_EXPORT(EncodeF16);
HWY_EXPORT(EncodeBF16);
HWY_EXPORT(EncodeF8E4M3);
HWY_EXPORT(EncodeF8E5M2);
HWY_EXPORT(EncodeF8E4M3Fnuz);
HWY_EXPORT(EncodeF8E5M2Fnuz);

namespace kernels {

void decode_f64(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeF64)(src, dst, n); }
void decode_f64_odd(const std::byte* src, float* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(DecodeF64Odd)(src, dst, n);
}
void decode_f16(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeF16)(src, dst, n); }
void decode_bf16(const std::byte* src, float* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(DecodeBF16)(src, dst, n); }
void decode_f8_e4m3(const std::byte* src, float* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(DecodeF8E4M3)(src, dst, n);
}
void decode_f8_e5m2(const std::byte* src, float* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(DecodeF8E5M2)(src, dst, n);
}
void encode_f64(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeF64)(src, dst, n); }
void encode_f16(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeF16)(src, dst, n); }
void encode_bf16(const float* src, std::byte* dst, std::size_t n) { HWY_DYNAMIC_DISPATCH(EncodeBF16)(src, dst, n); }
void encode_f8_e4m3(const float* src, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeF8E4M3)(src, dst, n);
}
void encode_f8_e5m2(const float* src, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeF8E5M2)(src, dst, n);
}
void decode_f8_e4m3fnuz(const std::byte* src, float* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(DecodeF8E4M3Fnuz)(src, dst, n);
}
void decode_f8_e5m2fnuz(const std::byte* src, float* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(DecodeF8E5M2Fnuz)(src, dst, n);
}
void encode_f8_e4m3fnuz(const float* src, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeF8E4M3Fnuz)(src, dst, n);
}
void encode_f8_e5m2fnuz(const float* src, std::byte* dst, std::size_t n) {
  HWY_DYNAMIC_DISPATCH(EncodeF8E5M2Fnuz)(src, dst, n);
}

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
