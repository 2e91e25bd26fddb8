// Element types as DLPack numbers them.
#pragma once

#include <headrace/dtype.hpp>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <optional>

namespace headrace::python {

namespace nb = nanobind;

/// Nothing for what DLPack can't say.
inline std::optional<nb::dlpack::dtype> dlpack_type(DType dtype) {
  using enum nb::dlpack::dtype_code;
  const auto make = [&](nb::dlpack::dtype_code code) {
    return nb::dlpack::dtype{static_cast<std::uint8_t>(code), static_cast<std::uint8_t>(info(dtype).block_bytes * 8),
                             1};
  };
  switch (dtype) {
    case DType::BOOL: return make(Bool);
    case DType::U8:
    case DType::U16:
    case DType::U32:
    case DType::U64: return make(UInt);
    case DType::I8:
    case DType::I16:
    case DType::I32:
    case DType::I64: return make(Int);
    case DType::F16:
    case DType::F32:
    case DType::F64: return make(Float);
    case DType::BF16: return make(Bfloat);
    case DType::C64: return make(Complex);
    case DType::F8_E4M3: return make(Float8_E4M3FN);
    case DType::F8_E5M2: return make(Float8_E5M2);
    case DType::F8_E8M0: return make(Float8_E8M0FNU);
    case DType::F8_E4M3FNUZ: return make(Float8_E4M3FNUZ);
    case DType::F8_E5M2FNUZ: return make(Float8_E5M2FNUZ);
    default: return std::nullopt;
  }
}

}  // namespace headrace::python
