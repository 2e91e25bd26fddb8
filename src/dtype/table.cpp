#include <headrace/dtype.hpp>

#include <array>
#include <cstddef>

namespace headrace {
namespace {

using enum DType;
using enum DTypeKind;

// In the order of the enumeration, so that a type is its own row number.
// Columns: type, name, kind, elements and bytes of a block, safetensors' name, GGUF id, ggml's name, torch's name.
constexpr std::array kTable = {
    DTypeInfo{BOOL, "BOOL", boolean, 1, 1, "BOOL", -1, "", "bool"},
    DTypeInfo{U8, "U8", integer, 1, 1, "U8", -1, "", "uint8"},
    DTypeInfo{I8, "I8", integer, 1, 1, "I8", 24, "i8", "int8"},
    DTypeInfo{U16, "U16", integer, 1, 2, "U16", -1, "", "uint16"},
    DTypeInfo{I16, "I16", integer, 1, 2, "I16", 25, "i16", "int16"},
    DTypeInfo{U32, "U32", integer, 1, 4, "U32", -1, "", "uint32"},
    DTypeInfo{I32, "I32", integer, 1, 4, "I32", 26, "i32", "int32"},
    DTypeInfo{U64, "U64", integer, 1, 8, "U64", -1, "", "uint64"},
    DTypeInfo{I64, "I64", integer, 1, 8, "I64", 27, "i64", "int64"},
    DTypeInfo{F8_E4M3, "F8_E4M3", floating, 1, 1, "F8_E4M3", -1, "", "float8_e4m3fn"},
    DTypeInfo{F8_E5M2, "F8_E5M2", floating, 1, 1, "F8_E5M2", -1, "", "float8_e5m2"},
    DTypeInfo{F8_E8M0, "F8_E8M0", floating, 1, 1, "F8_E8M0", -1, "", "float8_e8m0fnu"},
    DTypeInfo{F8_E4M3FNUZ, "F8_E4M3FNUZ", floating, 1, 1, "F8_E4M3FNUZ", -1, "", "float8_e4m3fnuz"},
    DTypeInfo{F8_E5M2FNUZ, "F8_E5M2FNUZ", floating, 1, 1, "F8_E5M2FNUZ", -1, "", "float8_e5m2fnuz"},
    DTypeInfo{F16, "F16", floating, 1, 2, "F16", 1, "f16", "float16"},
    DTypeInfo{BF16, "BF16", floating, 1, 2, "BF16", 30, "bf16", "bfloat16"},
    DTypeInfo{F32, "F32", floating, 1, 4, "F32", 0, "f32", "float32"},
    DTypeInfo{F64, "F64", floating, 1, 8, "F64", 28, "f64", "float64"},
    DTypeInfo{C64, "C64", complex, 1, 8, "C64", -1, "", "complex64"},
    DTypeInfo{F4, "F4", floating, 2, 1, "F4", -1, "", "float4_e2m1fn_x2"},
    DTypeInfo{F6_E2M3, "F6_E2M3", floating, 4, 3, "F6_E2M3", -1, "", ""},
    DTypeInfo{F6_E3M2, "F6_E3M2", floating, 4, 3, "F6_E3M2", -1, "", ""},
    DTypeInfo{Q4_0, "Q4_0", block, 32, 18, "", 2, "q4_0", ""},
    DTypeInfo{Q4_1, "Q4_1", block, 32, 20, "", 3, "q4_1", ""},
    DTypeInfo{Q5_0, "Q5_0", block, 32, 22, "", 6, "q5_0", ""},
    DTypeInfo{Q5_1, "Q5_1", block, 32, 24, "", 7, "q5_1", ""},
    DTypeInfo{Q8_0, "Q8_0", block, 32, 34, "", 8, "q8_0", ""},
    DTypeInfo{Q8_1, "Q8_1", block, 32, 36, "", 9, "q8_1", "", true},
    DTypeInfo{Q2_K, "Q2_K", block, 256, 84, "", 10, "q2_K", ""},
    DTypeInfo{Q3_K, "Q3_K", block, 256, 110, "", 11, "q3_K", ""},
    DTypeInfo{Q4_K, "Q4_K", block, 256, 144, "", 12, "q4_K", ""},
    DTypeInfo{Q5_K, "Q5_K", block, 256, 176, "", 13, "q5_K", ""},
    DTypeInfo{Q6_K, "Q6_K", block, 256, 210, "", 14, "q6_K", ""},
    DTypeInfo{Q8_K, "Q8_K", block, 256, 292, "", 15, "q8_K", "", true},
    DTypeInfo{IQ1_S, "IQ1_S", block, 256, 50, "", 19, "iq1_s", ""},
    DTypeInfo{IQ1_M, "IQ1_M", block, 256, 56, "", 29, "iq1_m", ""},
    DTypeInfo{IQ2_XXS, "IQ2_XXS", block, 256, 66, "", 16, "iq2_xxs", ""},
    DTypeInfo{IQ2_XS, "IQ2_XS", block, 256, 74, "", 17, "iq2_xs", ""},
    DTypeInfo{IQ2_S, "IQ2_S", block, 256, 82, "", 22, "iq2_s", ""},
    DTypeInfo{IQ3_XXS, "IQ3_XXS", block, 256, 98, "", 18, "iq3_xxs", ""},
    DTypeInfo{IQ3_S, "IQ3_S", block, 256, 110, "", 21, "iq3_s", ""},
    DTypeInfo{IQ4_NL, "IQ4_NL", block, 32, 18, "", 20, "iq4_nl", ""},
    DTypeInfo{IQ4_XS, "IQ4_XS", block, 256, 136, "", 23, "iq4_xs", ""},
    DTypeInfo{TQ1_0, "TQ1_0", block, 256, 54, "", 34, "tq1_0", ""},
    DTypeInfo{TQ2_0, "TQ2_0", block, 256, 66, "", 35, "tq2_0", ""},
    DTypeInfo{MXFP4, "MXFP4", block, 32, 17, "", 39, "mxfp4", ""},
    DTypeInfo{NVFP4, "NVFP4", block, 64, 36, "", 40, "nvfp4", ""},
    DTypeInfo{Q1_0, "Q1_0", block, 128, 18, "", 41, "q1_0", ""},
    DTypeInfo{Q2_0, "Q2_0", block, 64, 18, "", 42, "q2_0", ""},
    DTypeInfo{STRING, "STRING", text, 1, 0, "", -1, "", ""},
};

constexpr bool in_enumeration_order() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<std::size_t>(kTable[i].dtype) != i) return false;
  }
  return kTable.size() == static_cast<std::size_t>(STRING) + 1;
}
static_assert(in_enumeration_order(), "a type must be its own row number");

// Not std::tolower: that one asks the host program's locale.
constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

constexpr bool same_letters(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

}  // namespace

const DTypeInfo& info(DType dtype) noexcept { return kTable[static_cast<std::size_t>(dtype)]; }

std::span<const DTypeInfo> all_dtypes() noexcept { return kTable; }

std::optional<DType> parse_dtype(std::string_view name) noexcept {
  if (name.empty()) return std::nullopt;  // an empty column means "has no such name"
  for (const DTypeInfo& row : kTable) {
    for (const std::string_view known : {row.name, row.safetensors_name, row.ggml_name, row.torch_name}) {
      if (same_letters(name, known)) return row.dtype;
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> bytes_of(DType dtype, std::uint64_t elements) noexcept {
  const DTypeInfo& row = info(dtype);
  if (elements % row.block_elements != 0) return std::nullopt;
  if (row.kind == text && elements != 0) return std::nullopt;
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements / row.block_elements, std::uint64_t{row.block_bytes}, &bytes)) return {};
  return bytes;
}

}  // namespace headrace
