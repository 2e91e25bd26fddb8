// Runs a test body on every instruction set that this processor has and the kernels were built for.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cstdint>
#include <string>

namespace headrace::codec {

template <typename Body>
void on_every_target(Body body) {
  int ran = 0;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    {
      SCOPED_TRACE(std::string("target ") + hwy::TargetName(target));
      body();
    }
    hwy::SetSupportedTargetsForTest(0);
    ++ran;
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_GE(ran, 1);
#if defined(__x86_64__)
  // A build for one processor alone (-march=native) has a single set of kernels.
  constexpr bool kOneTarget = (HWY_TARGETS & (HWY_TARGETS - 1)) == 0;
  if (!kOneTarget && __builtin_cpu_supports("avx2") != 0) {
    EXPECT_GE(ran, 2) << "only the baseline was tested";
  }
#endif
}

}  // namespace headrace::codec
