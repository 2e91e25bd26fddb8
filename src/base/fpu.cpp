#include "base/fpu.hpp"

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace headrace::base {
namespace {

#if defined(__SSE__) || defined(_M_X64)

// MXCSR: every exception masked (bits 7-12), rounding to nearest even (bits 13-14), no flush-to-zero (bit 15), no
// denormals-are-zero (bit 6). The value a processor starts with.
constexpr unsigned kMode = 0x1F80;

unsigned read_mode() noexcept { return _mm_getcsr(); }
void write_mode(unsigned mode) noexcept { _mm_setcsr(mode); }

#elif defined(__aarch64__)

// FPCR: no traps, rounding to nearest even, no flushing of denormals, NaN payloads kept, IEEE half precision.
constexpr unsigned kMode = 0;

unsigned read_mode() noexcept {
  std::uint64_t mode = 0;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return static_cast<unsigned>(mode);
}
void write_mode(unsigned mode) noexcept { asm volatile("msr fpcr, %0" : : "r"(std::uint64_t{mode})); }

#else

// Elsewhere the mode of the C++ environment is taken as it is.
constexpr unsigned kMode = 0;

unsigned read_mode() noexcept { return kMode; }
void write_mode(unsigned) noexcept {}

#endif

}  // namespace

FloatMode::FloatMode() noexcept : saved_(read_mode()) { write_mode(kMode); }

FloatMode::~FloatMode() { write_mode(saved_); }

}  // namespace headrace::base
