// Numbers in the records of a zip file, and what the records share. Source: APPNOTE.TXT 6.3.10.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace headrace::format::zip {

static_assert(std::endian::native == std::endian::little, "numbers are read as they are");

/// The number at byte `at`; it must lie inside.
template <class T>
T field(std::span<const std::byte> record, std::size_t at) noexcept {
  T number{};
  std::memcpy(&number, record.data() + at, sizeof number);
  return number;
}

/// In a field of 16 or 32 bits: the number is in the ZIP64 record instead.
inline constexpr std::uint16_t kSee64Short = 0xFFFF;
inline constexpr std::uint32_t kSee64 = 0xFFFFFFFF;

/// Bits of the flags.
inline constexpr unsigned kEncrypted = 1u << 0, kSizesFollow = 1u << 3, kPatch = 1u << 5, kStrongEncryption = 1u << 6,
                          kUtf8 = 1u << 11, kMasked = 1u << 13;

inline constexpr std::uint16_t kStored = 0, kDeflated = 8;

/// The contents of the ZIP64 extra field among the extra fields. Nothing when there is none, or when the fields run
/// out of their bytes before one comes: some writers pad with what isn't a field.
inline std::optional<std::span<const std::byte>> find_zip64(std::span<const std::byte> extra) noexcept {
  constexpr std::uint16_t kZip64 = 1;
  constexpr std::size_t kHead = 4;
  while (extra.size() >= kHead) {
    const auto id = field<std::uint16_t>(extra, 0);
    const std::size_t length = field<std::uint16_t>(extra, 2);
    if (length > extra.size() - kHead) return std::nullopt;
    if (id == kZip64) return extra.subspan(kHead, length);
    extra = extra.subspan(kHead + length);
  }
  return std::nullopt;
}

}  // namespace headrace::format::zip
