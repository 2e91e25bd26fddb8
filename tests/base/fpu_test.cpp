#include "base/fpu.hpp"

#include <gtest/gtest.h>

#include <cfenv>
#include <limits>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace headrace::base {
namespace {

// volatile, so that the arithmetic happens where it is written.
volatile float tiny = std::numeric_limits<float>::denorm_min();
volatile float one = 1.0F;
volatile float small = 1e-12F;

TEST(FloatMode, RoundsToNearestAndGivesTheModeBack) {
  ASSERT_EQ(std::fesetround(FE_UPWARD), 0);
  {
    const FloatMode mode;
    EXPECT_EQ(one + small, 1.0F);
  }
  EXPECT_GT(one + small, 1.0F);
  std::fesetround(FE_TONEAREST);
}

#if defined(__SSE__)
TEST(FloatMode, KeepsDenormalsWhereTheHostFlushesThem) {
  constexpr unsigned kFlush = 0x8040;  // flush-to-zero and denormals-are-zero
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | kFlush);
  const float flushed = tiny * one;
  float kept = 0;
  {
    const FloatMode mode;
    kept = tiny * one;
  }
  const unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_EQ(flushed, 0.0F);
  EXPECT_EQ(kept, std::numeric_limits<float>::denorm_min());
  EXPECT_EQ(after & kFlush, kFlush);
}

TEST(FloatMode, RaisesNoTraps) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before & ~0x1F80U);  // unmask every exception
  volatile float zero = 0.0F;
  float quotient = 0;
  {
    const FloatMode mode;
    quotient = one / zero;
  }
  _mm_setcsr(before);
  EXPECT_EQ(quotient, std::numeric_limits<float>::infinity());
}
#endif

}  // namespace
}  // namespace headrace::base
