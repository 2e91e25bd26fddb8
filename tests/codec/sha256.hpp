// SHA-256 (FIPS 180-4), for comparing with published digests.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace headrace::codec {

/// The digest in hexadecimal.
inline std::string sha256(std::span<const std::byte> message) {
  // The constants are the first 32 bits of the fractions of the roots of the first primes.
  std::uint32_t k[64], h[8];
  unsigned found = 0;
  for (unsigned prime = 2; found < 64; ++prime) {
    bool is_prime = true;
    for (unsigned factor = 2; factor * factor <= prime; ++factor) is_prime = is_prime && prime % factor != 0;
    if (!is_prime) continue;
    const auto fraction = [](long double root) {
      return static_cast<std::uint32_t>((root - std::floor(root)) * 4294967296.0L);
    };
    if (found < 8) h[found] = fraction(std::sqrt(static_cast<long double>(prime)));
    k[found++] = fraction(std::cbrt(static_cast<long double>(prime)));
  }
  std::vector<std::uint8_t> data;
  for (const std::byte b : message) data.push_back(std::to_integer<std::uint8_t>(b));
  data.push_back(0x80);
  while (data.size() % 64 != 56) data.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8) {
    data.push_back(static_cast<std::uint8_t>(std::uint64_t{message.size()} * 8 >> shift));
  }
  for (std::size_t at = 0; at < data.size(); at += 64) {
    std::uint32_t w[64], s[8];
    for (std::size_t i = 0; i < 16; ++i) {
      const std::uint8_t* p = data.data() + at + i * 4;
      w[i] = static_cast<std::uint32_t>(p[0]) << 24 | static_cast<std::uint32_t>(p[1]) << 16 |
             static_cast<std::uint32_t>(p[2]) << 8 | p[3];
    }
    for (std::size_t i = 16; i < 64; ++i) {
      const std::uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    for (int i = 0; i < 8; ++i) s[i] = h[i];
    for (std::size_t i = 0; i < 64; ++i) {
      const std::uint32_t t1 = s[7] + (std::rotr(s[4], 6) ^ std::rotr(s[4], 11) ^ std::rotr(s[4], 25)) +
                               ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
      const std::uint32_t t2 = (std::rotr(s[0], 2) ^ std::rotr(s[0], 13) ^ std::rotr(s[0], 22)) +
                               ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
      for (int j = 7; j > 0; --j) s[j] = s[j - 1];
      s[4] += t1;
      s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; ++i) h[i] += s[i];
  }
  std::string text;
  for (const std::uint32_t word : h) {
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
  }
  return text;
}

}  // namespace headrace::codec
