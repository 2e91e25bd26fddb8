#include "format/name_index.hpp"

#include <chrono>
#include <exception>
#include <random>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace headrace::format {
namespace {

std::uint64_t draw_seed() noexcept {
  try {
    std::random_device device;
    return (std::uint64_t{device()} << 32) | device();
  } catch (const std::exception&) {  // no source of randomness: the clock is harder to guess than a constant
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  }
}

}  // namespace

std::uint64_t hash_of_name(std::string_view name) noexcept {
  static const std::uint64_t seed = draw_seed();
  return XXH3_64bits_withSeed(name.data(), name.size(), seed);
}

}  // namespace headrace::format
