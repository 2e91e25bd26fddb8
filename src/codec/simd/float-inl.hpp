// Vector conversions between float32 and the narrower floats, for inclusion by kernel files once per target.
//
// Rounding is done with integers, so that it is to nearest even on every target; Highway's own conversions to 16-bit
// floats truncate on some.
//
// No include guard in the usual form: Highway includes this again for each target.
#if defined(HEADRACE_CODEC_FLOAT_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEADRACE_CODEC_FLOAT_INL_HPP
#undef HEADRACE_CODEC_FLOAT_INL_HPP
#else
#define HEADRACE_CODEC_FLOAT_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// False where a vector is one lane of plain C++: the scalar reference is as fast there, and more exact than the
/// library's emulation, which turns infinity into the largest finite number.
constexpr bool kVectors = HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128;

/// The bits of float32 magnitudes in a layout of `kMantissa` mantissa bits and exponent bias `kBias`, rounded to
/// nearest even, as if that had no end at the top. `DI` is a tag of int32.
template <int kMantissa, int kBias, class DI>
HWY_INLINE hn::Vec<DI> NarrowMagnitude(DI di, hn::Vec<DI> magnitude) {
  constexpr int kDropped = 23 - kMantissa;
  const hn::RebindToFloat<DI> df;
  // Half a unit less one, and one more where the kept part is odd: ties go to even. A carry raises the exponent.
  const auto odd = hn::And(hn::ShiftRight<kDropped>(magnitude), hn::Set(di, 1));
  const auto rebias = hn::Set(di, ((1 << (kDropped - 1)) - 1) - ((127 - kBias) << 23));
  const auto normal = hn::ShiftRight<kDropped>(hn::Add(hn::Add(magnitude, odd), rebias));
  // A denormal is a multiple of 2^(1 - bias - mantissa). Adding the float whose last bit has that weight makes the
  // adder round to it; what is left in the low bits is the multiple.
  const auto shifter = hn::Set(di, (151 - kBias - kMantissa) << 23);
  const auto sum = hn::Add(hn::BitCast(df, magnitude), hn::BitCast(df, shifter));
  const auto denormal = hn::Sub(hn::BitCast(di, sum), shifter);
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, (128 - kBias) << 23)), denormal, normal);
}

/// The float32 values of finite magnitudes in such a layout; exact.
template <int kMantissa, int kBias, class DI>
HWY_INLINE hn::Vec<DI> WidenMagnitude(DI di, hn::Vec<DI> magnitude) {
  const hn::RebindToFloat<DI> df;
  const auto shifted = hn::ShiftLeft<23 - kMantissa>(magnitude);
  const auto normal = hn::Add(shifted, hn::Set(di, (127 - kBias) << 23));
  // A denormal's bits under the exponent of the smallest normal, less that normal; no float32 denormal takes part.
  const auto smallest = hn::Set(di, (128 - kBias) << 23);
  const auto value = hn::Sub(hn::BitCast(df, hn::Add(shifted, smallest)), hn::BitCast(df, smallest));
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 1 << kMantissa)), hn::BitCast(di, value), normal);
}

template <class DI>
HWY_INLINE hn::Vec<DI> Magnitude(DI di, hn::Vec<DI> bits) {
  return hn::And(bits, hn::Set(di, 0x7FFFFFFF));
}

/// The sign bit of float32 bits, `kDown` places lower.
template <int kDown, class DI>
HWY_INLINE hn::Vec<DI> SignBit(DI di, hn::Vec<DI> bits) {
  return hn::And(hn::ShiftRight<kDown>(bits), hn::Set(di, static_cast<int32_t>(0x80000000U >> kDown)));
}

// Each of these has Narrow, from float32 bits to its own in the low bits of an int32, and Widen, the way back.

struct F16 {
  template <class DI>
  static HWY_INLINE hn::Vec<DI> Narrow(DI di, hn::Vec<DI> bits) {
    const auto magnitude = Magnitude(di, bits);
    const auto infinity = hn::Set(di, 0x7F800000);
    auto half = NarrowMagnitude<10, 15>(di, magnitude);
    half = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x477FF000)), half, hn::Set(di, 0x7C00));
    half = hn::IfThenElse(hn::Gt(magnitude, infinity), hn::Set(di, 0x7E00), half);
    return hn::Or(half, SignBit<16>(di, bits));
  }

  template <class DI>
  static HWY_INLINE hn::Vec<DI> Widen(DI di, hn::Vec<DI> half) {
    const auto magnitude = hn::And(half, hn::Set(di, 0x7FFF));
    const auto sign = hn::ShiftLeft<16>(hn::Sub(half, magnitude));
    auto bits = WidenMagnitude<10, 15>(di, magnitude);
    // Infinity and NaN: the exponent goes to the top, NaN becomes quiet.
    const auto top = hn::Or(hn::ShiftLeft<13>(magnitude), hn::Set(di, 0x7F800000));
    const auto quiet = hn::IfThenElseZero(hn::Gt(magnitude, hn::Set(di, 0x7C00)), hn::Set(di, 0x400000));
    bits = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x7C00)), bits, hn::Or(top, quiet));
    return hn::Or(bits, sign);
  }
};

struct BF16 {
  template <class DI>
  static HWY_INLINE hn::Vec<DI> Narrow(DI di, hn::Vec<DI> bits) {
    // Carries may run into the sign bit only from NaN, which is replaced.
    const hn::RebindToUnsigned<DI> du;
    const auto unsigned_bits = hn::BitCast(du, bits);
    const auto odd = hn::And(hn::ShiftRight<16>(unsigned_bits), hn::Set(du, 1U));
    const auto rounded = hn::ShiftRight<16>(hn::Add(unsigned_bits, hn::Add(odd, hn::Set(du, 0x7FFFU))));
    const auto nan = hn::Or(hn::ShiftRight<16>(unsigned_bits), hn::Set(du, 0x40U));
    const auto is_nan = hn::Gt(Magnitude(di, bits), hn::Set(di, 0x7F800000));
    return hn::IfThenElse(is_nan, hn::BitCast(di, nan), hn::BitCast(di, rounded));
  }

  template <class DI>
  static HWY_INLINE hn::Vec<DI> Widen(DI, hn::Vec<DI> brain) {
    return hn::ShiftLeft<16>(brain);
  }
};

struct F8E4M3 {
  template <class DI>
  static HWY_INLINE hn::Vec<DI> Narrow(DI di, hn::Vec<DI> bits) {
    const auto magnitude = Magnitude(di, bits);
    auto code = NarrowMagnitude<3, 7>(di, magnitude);
    code = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x43E80000)), hn::Set(di, 0x7F), code);  // above 464: NaN
    return hn::Or(code, SignBit<24>(di, bits));
  }

  template <class DI>
  static HWY_INLINE hn::Vec<DI> Widen(DI di, hn::Vec<DI> code) {
    const auto magnitude = hn::And(code, hn::Set(di, 0x7F));
    const auto sign = hn::ShiftLeft<24>(hn::Sub(code, magnitude));
    auto bits = WidenMagnitude<3, 7>(di, magnitude);
    bits = hn::IfThenElse(hn::Eq(magnitude, hn::Set(di, 0x7F)), hn::Set(di, 0x7FC00000), bits);
    return hn::Or(bits, sign);
  }
};

struct F8E5M2 {
  template <class DI>
  static HWY_INLINE hn::Vec<DI> Narrow(DI di, hn::Vec<DI> bits) {
    const auto magnitude = Magnitude(di, bits);
    auto code = NarrowMagnitude<2, 15>(di, magnitude);
    code = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x47700000)), code, hn::Set(di, 0x7C));  // 61440
    code = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7F800000)), hn::Set(di, 0x7F), code);
    return hn::Or(code, SignBit<24>(di, bits));
  }

  template <class DI>
  static HWY_INLINE hn::Vec<DI> Widen(DI di, hn::Vec<DI> code) {
    return F16::Widen(di, hn::ShiftLeft<8>(code));
  }
};

/// FNUZ: no infinity, no −0; the code that would be −0 is NaN, and so becomes all that is too large.
template <int kMantissa, int kBias>
struct F8Fnuz {
  template <class DI>
  static HWY_INLINE hn::Vec<DI> Narrow(DI di, hn::Vec<DI> bits) {
    const auto magnitude = Magnitude(di, bits);
    const auto nan = hn::Set(di, 0x80);
    const auto code = NarrowMagnitude<kMantissa, kBias>(di, magnitude);
    const auto fits = hn::And(hn::Lt(code, nan), hn::Lt(magnitude, hn::Set(di, 0x7F800000)));
    const auto sign = hn::IfThenElseZero(hn::Gt(code, hn::Zero(di)), SignBit<24>(di, bits));
    return hn::IfThenElse(fits, hn::Or(code, sign), nan);
  }

  template <class DI>
  static HWY_INLINE hn::Vec<DI> Widen(DI di, hn::Vec<DI> code) {
    const auto magnitude = hn::And(code, hn::Set(di, 0x7F));
    const auto sign = hn::ShiftLeft<24>(hn::Sub(code, magnitude));
    const auto bits = hn::Or(WidenMagnitude<kMantissa, kBias>(di, magnitude), sign);
    const auto nan = hn::Set(di, static_cast<int32_t>(0xFFC00000U));
    return hn::IfThenElse(hn::Eq(code, hn::Set(di, 0x80)), nan, bits);
  }
};
using F8E4M3Fnuz = F8Fnuz<3, 8>;
using F8E5M2Fnuz = F8Fnuz<2, 16>;

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
