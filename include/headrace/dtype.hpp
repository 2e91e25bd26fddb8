// Element types: what one number, or one block of numbers, looks like in bytes.
//
// Sources: the safetensors README (dtype names), ggml's ggml_type enumeration and block structs (GGUF ids and sizes).
// Thread-safety: everything here is constant data.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace headrace {

/// Every element type that a checkpoint can hold. Scalars first, then block types.
// clang-format off
enum class DType : std::uint8_t {
  // scalars
  BOOL, U8, I8, U16, I16, U32, I32, U64, I64,
  F8_E4M3, F8_E5M2, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ,
  F16, BF16, F32, F64, C64,
  // packed sub-byte scalars of safetensors
  F4, F6_E2M3, F6_E3M2,
  // ggml block types
  Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1,
  Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, Q8_K,
  IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ4_NL, IQ4_XS,
  TQ1_0, TQ2_0, MXFP4, NVFP4, Q1_0, Q2_0,
  // text of TensorFlow.js: of each element a u32 with its length, then that many bytes
  STRING,
};
// clang-format on

enum class DTypeKind : std::uint8_t {
  boolean,
  integer,
  floating,  ///< a real number per element, sub-byte ones included
  complex,
  block,  ///< a block type of ggml: numbers with shared scales
  text,   ///< no number; elements differ in length
};

/// A row of the one table of element types.
struct DTypeInfo {
  DType dtype;
  std::string_view name;  ///< canonical name, as in plans and errors: "F16", "Q4_K"
  DTypeKind kind;
  std::uint16_t block_elements;       ///< elements per block; 1 for whole-byte scalars, 2 for F4, 4 for F6
  std::uint16_t block_bytes;          ///< bytes per block; 0 for text, whose length only the data tells
  std::string_view safetensors_name;  ///< empty when safetensors can't hold it
  std::int16_t gguf_id;               ///< ggml_type, or -1 when GGUF can't hold it
  std::string_view ggml_name;         ///< ggml's own spelling ("q4_K"), or empty
  std::string_view torch_name;        ///< "bfloat16", …, or empty
  bool internal = false;              ///< an intermediate of ggml's (Q8_1, Q8_K): read and copied, never made
};

const DTypeInfo& info(DType dtype) noexcept;
std::span<const DTypeInfo> all_dtypes() noexcept;

/// Finds a type by any of its names (canonical, safetensors', ggml's, torch's), in any case.
std::optional<DType> parse_dtype(std::string_view name) noexcept;

inline std::string_view name(DType dtype) noexcept { return info(dtype).name; }
inline bool is_block(DType dtype) noexcept { return info(dtype).kind == DTypeKind::block; }
inline bool is_float(DType dtype) noexcept { return info(dtype).kind == DTypeKind::floating; }

/// Bytes of `elements` elements; nothing when they are no whole number of blocks, the size doesn't fit 64 bits, or only
/// the data tells it (text, unless there are no elements).
std::optional<std::uint64_t> bytes_of(DType dtype, std::uint64_t elements) noexcept;

}  // namespace headrace
