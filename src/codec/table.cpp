// The table of codecs: one row a type.
#include "codec/simd/float_kernels.hpp"
#include "codec/kernel.hpp"
#include "codec/simd/legacy_kernels.hpp"
#include "codec/scalar/floats.hpp"
#include "codec/scalar/legacy.hpp"

namespace headrace::codec {
namespace {

constexpr BadRange kNothing{1, 0};
// Blocks: from the first magnitude whose scale would be an infinite F16 (from 65520). NaN and infinity are above it.
constexpr BadRange kQ8_0{0x4AFDF020, 0x7FFFFFFF};  // from 65520 * 127
constexpr BadRange kQ4_0{0x48FFF000, 0x7FFFFFFF};  // from 65520 * 8
// Casts: from the first magnitude that rounds to infinity to the largest finite one. Infinity and NaN are kept …
constexpr BadRange kF16{0x477FF000, 0x7F7FFFFF};     // from 65520
constexpr BadRange kBF16{0x7F7F8000, 0x7F7FFFFF};    // from 2^128 − 2^119
constexpr BadRange kF8E5M2{0x47700000, 0x7F7FFFFF};  // from 61440
constexpr BadRange kF8E4M3{0x43E80001, 0x7F800000};  // … but here is no infinity, and all above 464 becomes NaN

/// A type that is only read, without a vector kernel.
constexpr Row read_only(DType dtype, DecodeFn decode) {
  return {dtype, {decode, nullptr}, {decode, nullptr}, decode, kNothing};
}

constexpr Row row(DType dtype, Kernels fast, Kernels reference, BadRange bad) {
  return {dtype, fast, reference, fast.decode, bad};
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
     {kernels::decode_f64, kernels::encode_f64},
     {scalar::decode_f64, scalar::encode_f64},
     kernels::decode_f64_odd,
     kNothing},
    row(DType::F32, {scalar::decode_f32, scalar::encode_f32}, {scalar::decode_f32, scalar::encode_f32}, kNothing),
    row(DType::F16, {kernels::decode_f16, kernels::encode_f16}, {scalar::decode_f16, scalar::encode_f16}, kF16),
    row(DType::BF16, {kernels::decode_bf16, kernels::encode_bf16}, {scalar::decode_bf16, scalar::encode_bf16}, kBF16),
    row(DType::F8_E4M3, {kernels::decode_f8_e4m3, kernels::encode_f8_e4m3},
        {scalar::decode_f8_e4m3, scalar::encode_f8_e4m3}, kF8E4M3),
    row(DType::F8_E5M2, {kernels::decode_f8_e5m2, kernels::encode_f8_e5m2},
        {scalar::decode_f8_e5m2, scalar::encode_f8_e5m2}, kF8E5M2),
    row(DType::Q8_0, {kernels::decode_q8_0, kernels::encode_q8_0}, {scalar::decode_q8_0, scalar::encode_q8_0}, kQ8_0),
    row(DType::Q4_0, {kernels::decode_q4_0, kernels::encode_q4_0}, {scalar::decode_q4_0, scalar::encode_q4_0}, kQ4_0),
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
