#include "codec/byte_order.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace headrace::codec {
namespace {

/// `count` numbers of `width` bytes each, one after the other, in a block.
struct Field {
  std::uint16_t offset = 0;
  std::uint8_t width = 0;
  std::uint8_t count = 1;
};

/// The fields of a block that have a byte order; all other bytes stand alone.
struct BlockLayout {
  DType dtype;
  std::uint16_t block_bytes;
  std::array<Field, 2> fields = {};
};

// Two neighbours of one width are one field: d and dmin, say.
constexpr std::array kBlocks = {
    BlockLayout{DType::Q4_0, 18, {{{0, 2}}}},                 // d
    BlockLayout{DType::Q4_1, 20, {{{0, 2, 2}}}},              // d, m
    BlockLayout{DType::Q5_0, 22, {{{0, 2}, {2, 4}}}},         // d; qh, made as one u32
    BlockLayout{DType::Q5_1, 24, {{{0, 2, 2}, {4, 4}}}},      // d, m; qh
    BlockLayout{DType::Q8_0, 34, {{{0, 2}}}},                 // d
    BlockLayout{DType::Q8_1, 36, {{{0, 2, 2}}}},              // d, s
    BlockLayout{DType::Q2_K, 84, {{{80, 2, 2}}}},             // d, dmin
    BlockLayout{DType::Q3_K, 110, {{{108, 2}}}},              // d
    BlockLayout{DType::Q4_K, 144, {{{0, 2, 2}}}},             // d, dmin
    BlockLayout{DType::Q5_K, 176, {{{0, 2, 2}}}},             // d, dmin
    BlockLayout{DType::Q6_K, 210, {{{208, 2}}}},              // d
    BlockLayout{DType::Q8_K, 292, {{{0, 4}, {260, 2, 16}}}},  // d, a float; bsums
    BlockLayout{DType::IQ1_S, 50, {{{0, 2}, {34, 2, 8}}}},    // d; qh
    BlockLayout{DType::IQ1_M, 56, {{{48, 2, 4}}}},            // scales, made as u16
    BlockLayout{DType::IQ2_XXS, 66, {{{0, 2}, {2, 4, 16}}}},  // d; qs, made as u32
    BlockLayout{DType::IQ2_XS, 74, {{{0, 2}, {2, 2, 32}}}},   // d; qs
    BlockLayout{DType::IQ2_S, 82, {{{0, 2}}}},                // d
    BlockLayout{DType::IQ3_XXS, 98, {{{0, 2}, {66, 4, 8}}}},  // d; scales and signs behind the grid's numbers, as u32
    BlockLayout{DType::IQ3_S, 110, {{{0, 2}}}},               // d
    BlockLayout{DType::IQ4_NL, 18, {{{0, 2}}}},               // d
    BlockLayout{DType::IQ4_XS, 136, {{{0, 2, 2}}}},           // d, scales_h
    BlockLayout{DType::TQ1_0, 54, {{{52, 2}}}},               // d
    BlockLayout{DType::TQ2_0, 66, {{{64, 2}}}},               // d
    BlockLayout{DType::MXFP4, 17},                            // its scale is a byte
    BlockLayout{DType::NVFP4, 36},                            // its scales are bytes
    BlockLayout{DType::Q1_0, 18, {{{0, 2}}}},                 // d
    BlockLayout{DType::Q2_0, 18, {{{0, 2}}}},                 // d
};

constexpr bool fields_lie_inside() {
  for (const BlockLayout& block : kBlocks) {
    unsigned end = 0;
    for (const Field& field : block.fields) {
      if (field.width == 0) continue;
      if (field.width != 2 && field.width != 4) return false;
      if (field.offset < end) return false;
      end = field.offset + unsigned{field.width} * field.count;
    }
    if (end > block.block_bytes) return false;
  }
  return true;
}
static_assert(fields_lie_inside(), "the fields of a block must lie in it, in order");

std::uint16_t reversed(std::uint16_t number) noexcept { return static_cast<std::uint16_t>(number << 8 | number >> 8); }
std::uint32_t reversed(std::uint32_t number) noexcept { return __builtin_bswap32(number); }
std::uint64_t reversed(std::uint64_t number) noexcept { return __builtin_bswap64(number); }

template <class Number>
void swap_each(std::byte* at, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i, at += sizeof(Number)) {
    Number number;
    std::memcpy(&number, at, sizeof number);
    number = reversed(number);
    std::memcpy(at, &number, sizeof number);
  }
}

void swap_numbers(std::byte* at, std::size_t width, std::size_t count) noexcept {
  switch (width) {
    case 2: return swap_each<std::uint16_t>(at, count);
    case 4: return swap_each<std::uint32_t>(at, count);
    case 8: return swap_each<std::uint64_t>(at, count);
    default: return;
  }
}

// Every block type has one.
const BlockLayout& layout_of(DType dtype) noexcept {
  return *std::find_if(kBlocks.begin(), kBlocks.end(),
                       [dtype](const BlockLayout& block) { return block.dtype == dtype; });
}

// Bytes of one number of a scalar type; 1 where several share bytes (F4, F6) or bytes are all there is.
std::size_t scalar_width(DType dtype) noexcept {
  const DTypeInfo& type = info(dtype);
  if (type.block_elements != 1 || type.block_bytes == 0) return 1;
  return type.kind == DTypeKind::complex ? type.block_bytes / 2u : type.block_bytes;
}

}  // namespace

void swap_byte_order(DType dtype, std::span<std::byte> bytes) noexcept {
  if (!is_block(dtype)) {
    const std::size_t width = scalar_width(dtype);
    return swap_numbers(bytes.data(), width, bytes.size() / width);
  }
  const BlockLayout& block = layout_of(dtype);
  for (const Field& field : block.fields) {
    if (field.width == 0) continue;
    for (std::size_t at = 0; at < bytes.size(); at += block.block_bytes) {
      swap_numbers(bytes.data() + at + field.offset, field.width, field.count);
    }
  }
}

}  // namespace headrace::codec
