// The table of codecs: one row a type.
#include "codec/kernel.hpp"
#include "codec/scalar/few_bits.hpp"
#include "codec/scalar/floats.hpp"
#include "codec/scalar/fp4.hpp"
#include "codec/scalar/iq.hpp"
#include "codec/scalar/iq4.hpp"
#include "codec/scalar/k_quants.hpp"
#include "codec/scalar/legacy.hpp"
#include "codec/scalar/small_floats.hpp"
#include "codec/scalar/ternary.hpp"
#include "codec/simd/decode_iq_kernels.hpp"
#include "codec/simd/decode_k_kernels.hpp"
#include "codec/simd/few_bits_kernels.hpp"
#include "codec/simd/float_kernels.hpp"
#include "codec/simd/fp4_kernels.hpp"
#include "codec/simd/iq4_kernels.hpp"
#include "codec/simd/k_affine_kernels.hpp"
#include "codec/simd/k_scale_kernels.hpp"
#include "codec/simd/legacy_affine_kernels.hpp"
#include "codec/simd/legacy_kernels.hpp"
#include "codec/simd/legacy_scale_kernels.hpp"
#include "codec/simd/ternary_kernels.hpp"

namespace headrace::codec {
namespace {

constexpr BadRange kNothing{1, 0};
// Blocks: from the first magnitude whose scale would be an infinite F16 (from 65520). NaN and infinity are above it.
constexpr BadRange kQ8_0{0x4AFDF020, 0x7FFFFFFF};     // from 65520 * 127
constexpr BadRange kQ4_0{0x48FFF000, 0x7FFFFFFF};     // from 65520 * 8
constexpr BadRange kQ5_0{0x497FF000, 0x7FFFFFFF};     // from 65520 * 16
constexpr BadRange kQ4_1{0x477FF000, 0x7FFFFFFF};     // from 65520: the lowest number is stored; so in Q5_1
constexpr BadRange kTernary{0x477FF000, 0x7FFFFFFF};  // from 65520: the largest number is the scale; so in Q2_0
constexpr BadRange kQ1_0{0x477FEFC0, 0x7FFFFFFF};     // from 65519.75: 128 of less can't have a rounded mean of 65520
// A fitted scale is a weighted mean of number / code, so no larger than the largest such quotient.
constexpr BadRange kQ3_K{0x49FFF000, 0x7FFFFFFF};    // from 65520 * 32: the quotient is at most the number
constexpr BadRange kQ6_K{0x4D1FF600, 0x7FFFFFFF};    // from 65520 * 128 * 20: at most 1.5 / 31.1 of it
constexpr BadRange kIQ4_NL{0x4987F780, 0x7FFFFFFF};  // from 65520 * 17: at most 7 / 120 of it
constexpr BadRange kIQ4_XS{0x4C07F780, 0x7FFFFFFF};  // from 65520 * 17 * 32
// A fitted offset can lie far beyond numbers that nearly agree, for then its equations are mostly rounding: at worst,
// in a search over millions of such blocks, at 5 times the largest in Q2_K, which stores a fifteenth of the offset, and
// at 14 times in Q4_K and Q5_K, which store a sixty-third. What F16 can hold leaves room beyond that.
constexpr BadRange kFittedOffset{0x477FF000, 0x7FFFFFFF};  // from 65520
// Their scale is no F16. MXFP4's suits every float32; NVFP4's ends at 448, which is still the nearest up to 464.
constexpr BadRange kMXFP4{0x7F800000, 0x7FFFFFFF};  // infinity and NaN alone
constexpr BadRange kNVFP4{0x452E0001, 0x7FFFFFFF};  // above 464 * 6
// Casts: from the first magnitude that rounds to infinity to the largest finite one. Infinity and NaN are kept …
constexpr BadRange kF16{0x477FF000, 0x7F7FFFFF};           // from 65520
constexpr BadRange kBF16{0x7F7F8000, 0x7F7FFFFF};          // from 2^128 − 2^119
constexpr BadRange kF8E5M2{0x47700000, 0x7F7FFFFF};        // from 61440
constexpr BadRange kF8E4M3{0x43E80001, 0x7F800000};        // … but here is no infinity, and all above 464 becomes NaN
constexpr BadRange kF8E4M3FNUZ{0x43780000, 0x7F800000};    // the same, from 248
constexpr BadRange kF8E5M2FNUZ{0x47700000, 0x7F800000};    // from 61440
constexpr BadRange kF8E8M0{0x7F400000, 0x7F800000, true};  // from 1.5 * 2^127; and 0 or less
// … nor NaN here, and what is too large becomes the largest.
constexpr BadRange kF6E2M3{0x40F80000, 0x7FFFFFFF};  // from 7.75
constexpr BadRange kF6E3M2{0x41F00000, 0x7FFFFFFF};  // from 30
constexpr BadRange kF4{0x40E00000, 0x7FFFFFFF};      // from 7

/// A type that is only read, without a vector kernel.
constexpr Row read_only(DType dtype, DecodeFn decode) {
  return {dtype, kNothing, {decode, nullptr}, {decode, nullptr}, decode};
}

/// A type without a vector kernel.
constexpr Row plain(DType dtype, DecodeFn decode, EncodeFn encode, BadRange bad) {
  return {dtype, bad, {decode, encode}, {decode, encode}, decode};
}

constexpr Row row(DType dtype, Kernels fast, Kernels reference, BadRange bad) {
  return {dtype, bad, fast, reference, fast.decode};
}

constexpr Row kRows[] = {
    read_only(DType::BOOL, scalar::decode_bool),
    read_only(DType::U8, scalar::decode_u8),
    read_only(DType::I8, scalar::decode_i8),
    read_only(DType::U16, scalar::decode_u16),
    read_only(DType::I16, scalar::decode_i16),
    read_only(DType::U32, scalar::decode_u32),
    read_only(DType::I32, scalar::decode_i32),
    read_only(DType::U64, scalar::decode_u64),
    read_only(DType::I64, scalar::decode_i64),
    {DType::F64,
     kNothing,
     {kernels::decode_f64, kernels::encode_f64},
     {scalar::decode_f64, scalar::encode_f64},
     kernels::decode_f64_odd},
    row(DType::F32, {scalar::decode_f32, scalar::encode_f32}, {scalar::decode_f32, scalar::encode_f32}, kNothing),
    row(DType::F16, {kernels::decode_f16, kernels::encode_f16}, {scalar::decode_f16, scalar::encode_f16}, kF16),
    row(DType::BF16, {kernels::decode_bf16, kernels::encode_bf16}, {scalar::decode_bf16, scalar::encode_bf16}, kBF16),
    row(DType::F8_E4M3, {kernels::decode_f8_e4m3, kernels::encode_f8_e4m3},
        {scalar::decode_f8_e4m3, scalar::encode_f8_e4m3}, kF8E4M3),
    row(DType::F8_E5M2, {kernels::decode_f8_e5m2, kernels::encode_f8_e5m2},
        {scalar::decode_f8_e5m2, scalar::encode_f8_e5m2}, kF8E5M2),
    plain(DType::F8_E8M0, scalar::decode_f8_e8m0, scalar::encode_f8_e8m0, kF8E8M0),
    row(DType::F8_E4M3FNUZ, {kernels::decode_f8_e4m3fnuz, kernels::encode_f8_e4m3fnuz},
        {scalar::decode_f8_e4m3fnuz, scalar::encode_f8_e4m3fnuz}, kF8E4M3FNUZ),
    row(DType::F8_E5M2FNUZ, {kernels::decode_f8_e5m2fnuz, kernels::encode_f8_e5m2fnuz},
        {scalar::decode_f8_e5m2fnuz, scalar::encode_f8_e5m2fnuz}, kF8E5M2FNUZ),
    plain(DType::F4, scalar::decode_f4, scalar::encode_f4, kF4),
    plain(DType::F6_E2M3, scalar::decode_f6_e2m3, scalar::encode_f6_e2m3, kF6E2M3),
    plain(DType::F6_E3M2, scalar::decode_f6_e3m2, scalar::encode_f6_e3m2, kF6E3M2),
    row(DType::Q4_0, {kernels::decode_q4_0, kernels::encode_q4_0, kernels::encode_q4_0_weighted},
        {scalar::decode_q4_0, scalar::encode_q4_0, scalar::encode_q4_0_weighted}, kQ4_0),
    row(DType::Q4_1, {kernels::decode_q4_1, kernels::encode_q4_1, kernels::encode_q4_1_weighted},
        {scalar::decode_q4_1, scalar::encode_q4_1, scalar::encode_q4_1_weighted}, kQ4_1),
    row(DType::Q5_0, {kernels::decode_q5_0, kernels::encode_q5_0, kernels::encode_q5_0_weighted},
        {scalar::decode_q5_0, scalar::encode_q5_0, scalar::encode_q5_0_weighted}, kQ5_0),
    row(DType::Q5_1, {kernels::decode_q5_1, kernels::encode_q5_1, kernels::encode_q5_1_weighted},
        {scalar::decode_q5_1, scalar::encode_q5_1, scalar::encode_q5_1_weighted}, kQ4_1),
    row(DType::Q8_0, {kernels::decode_q8_0, kernels::encode_q8_0}, {scalar::decode_q8_0, scalar::encode_q8_0}, kQ8_0),
    row(DType::Q2_K, {kernels::decode_q2_k, kernels::encode_q2_k, kernels::encode_q2_k_weighted},
        {scalar::decode_q2_k, scalar::encode_q2_k, scalar::encode_q2_k_weighted}, kFittedOffset),
    row(DType::Q3_K, {kernels::decode_q3_k, kernels::encode_q3_k, kernels::encode_q3_k_weighted},
        {scalar::decode_q3_k, scalar::encode_q3_k, scalar::encode_q3_k_weighted}, kQ3_K),
    row(DType::Q4_K, {kernels::decode_q4_k, kernels::encode_q4_k, kernels::encode_q4_k_weighted},
        {scalar::decode_q4_k, scalar::encode_q4_k, scalar::encode_q4_k_weighted}, kFittedOffset),
    row(DType::Q5_K, {kernels::decode_q5_k, kernels::encode_q5_k, kernels::encode_q5_k_weighted},
        {scalar::decode_q5_k, scalar::encode_q5_k, scalar::encode_q5_k_weighted}, kFittedOffset),
    row(DType::Q6_K, {kernels::decode_q6_k, kernels::encode_q6_k, kernels::encode_q6_k_weighted},
        {scalar::decode_q6_k, scalar::encode_q6_k, scalar::encode_q6_k_weighted}, kQ6_K),
    row(DType::IQ1_S, {kernels::decode_iq1_s, nullptr}, {scalar::decode_iq1_s, nullptr}, kNothing),
    row(DType::IQ1_M, {kernels::decode_iq1_m, nullptr}, {scalar::decode_iq1_m, nullptr}, kNothing),
    row(DType::IQ2_XXS, {kernels::decode_iq2_xxs, nullptr}, {scalar::decode_iq2_xxs, nullptr}, kNothing),
    row(DType::IQ2_XS, {kernels::decode_iq2_xs, nullptr}, {scalar::decode_iq2_xs, nullptr}, kNothing),
    row(DType::IQ2_S, {kernels::decode_iq2_s, nullptr}, {scalar::decode_iq2_s, nullptr}, kNothing),
    row(DType::IQ3_XXS, {kernels::decode_iq3_xxs, nullptr}, {scalar::decode_iq3_xxs, nullptr}, kNothing),
    row(DType::IQ3_S, {kernels::decode_iq3_s, nullptr}, {scalar::decode_iq3_s, nullptr}, kNothing),
    row(DType::IQ4_NL, {kernels::decode_iq4_nl, kernels::encode_iq4_nl, kernels::encode_iq4_nl_weighted},
        {scalar::decode_iq4_nl, scalar::encode_iq4_nl, scalar::encode_iq4_nl_weighted}, kIQ4_NL),
    row(DType::IQ4_XS, {kernels::decode_iq4_xs, kernels::encode_iq4_xs, kernels::encode_iq4_xs_weighted},
        {scalar::decode_iq4_xs, scalar::encode_iq4_xs, scalar::encode_iq4_xs_weighted}, kIQ4_XS),
    row(DType::TQ1_0, {kernels::decode_tq1_0, kernels::encode_tq1_0}, {scalar::decode_tq1_0, scalar::encode_tq1_0},
        kTernary),
    row(DType::TQ2_0, {kernels::decode_tq2_0, kernels::encode_tq2_0}, {scalar::decode_tq2_0, scalar::encode_tq2_0},
        kTernary),
    row(DType::MXFP4, {kernels::decode_mxfp4, kernels::encode_mxfp4}, {scalar::decode_mxfp4, scalar::encode_mxfp4},
        kMXFP4),
    row(DType::NVFP4, {kernels::decode_nvfp4, kernels::encode_nvfp4}, {scalar::decode_nvfp4, scalar::encode_nvfp4},
        kNVFP4),
    row(DType::Q1_0, {kernels::decode_q1_0, kernels::encode_q1_0}, {scalar::decode_q1_0, scalar::encode_q1_0}, kQ1_0),
    row(DType::Q2_0, {kernels::decode_q2_0, kernels::encode_q2_0}, {scalar::decode_q2_0, scalar::encode_q2_0},
        kTernary),
};

}  // namespace

std::span<const Row> all_rows() noexcept { return kRows; }

const Row* find_row(DType dtype) noexcept {
  for (const Row& row : kRows) {
    if (row.dtype == dtype) return &row;
  }
  return nullptr;
}

}  // namespace headrace::codec
