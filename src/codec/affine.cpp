#include "codec/affine.hpp"

#include "codec/codec.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace headrace::codec {
namespace {

// Numbers decoded at a time. All of a tile is read before any of it is written: where `in` is the end of `out`, a tile
// written ends no later than the next one to be read begins.
constexpr std::size_t kTile = 1024;

// What assigning to an element of an Int32Array makes of a number: its integer part modulo 2^32.
std::int32_t to_int32(double number) noexcept {
  constexpr double kTwo32 = 4294967296.0;
  if (!std::isfinite(number)) return 0;
  const double rest = std::fmod(std::trunc(number), kTwo32);  // exact, with the number's sign
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(static_cast<std::int64_t>(rest)));
}

// Math.round: the nearest integer, halves towards infinity. floor(x + 0.5) is another thing where x + 0.5 isn't exact:
// just below 0.5, and above 2^52.
double js_round(double number) noexcept {
  const double below = std::floor(number);
  return number - below >= 0.5 ? below + 1 : below;
}

std::int32_t rounded(double number) noexcept {
  constexpr double kLargest = std::numeric_limits<std::int32_t>::max();
  const double whole = js_round(number);
  return std::fabs(whole) <= kLargest ? static_cast<std::int32_t>(whole) : to_int32(whole);
}

template <class Stored, class Number, class Make>
void decode_tiles(const std::byte* in, std::byte* out, std::size_t n, const Make& make) noexcept {
  alignas(64) std::array<Stored, kTile> stored;
  alignas(64) std::array<Number, kTile> numbers;
  while (n > 0) {
    const std::size_t now = std::min(n, kTile);
    std::memcpy(stored.data(), in, now * sizeof(Stored));
    make(stored.data(), numbers.data(), now);
    std::memcpy(out, numbers.data(), now * sizeof(Number));
    in += now * sizeof(Stored);
    out += now * sizeof(Number);
    n -= now;
  }
}

template <class Stored>
void decode_integers(double scale, double min, DType to, const std::byte* in, std::byte* out, std::size_t n) noexcept {
  if (to == DType::I32) {
    return decode_tiles<Stored, std::int32_t>(in, out, n, [=](const Stored* from, std::int32_t* made, std::size_t now) {
      for (std::size_t i = 0; i < now; ++i) made[i] = rounded(static_cast<double>(from[i]) * scale + min);
    });
  }
  decode_tiles<Stored, float>(in, out, n, [=](const Stored* from, float* made, std::size_t now) {
    for (std::size_t i = 0; i < now; ++i) made[i] = static_cast<float>(static_cast<double>(from[i]) * scale + min);
  });
}

}  // namespace

void decode_affine(DType stored, double scale, double min, DType to, const std::byte* in, std::byte* out,
                   std::size_t n) noexcept {
  if (stored == DType::U8) return decode_integers<std::uint8_t>(scale, min, to, in, out, n);
  if (stored == DType::U16) return decode_integers<std::uint16_t>(scale, min, to, in, out, n);
  decode_tiles<std::uint16_t, float>(in, out, n, [](const std::uint16_t* from, float* made, std::size_t now) {
    decode(DType::F16, reinterpret_cast<const std::byte*>(from), made, now);
  });
}

}  // namespace headrace::codec
