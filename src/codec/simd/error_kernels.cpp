#include "codec/simd/error_kernels.hpp"

#include <algorithm>

// Highway compiles the rest of this file once for each instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/error_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target:
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Strands = hn::CappedTag<double, kernels::kErrorStrands>;
using Sums = hn::Vec<Strands>;

/// Adds a pair of numbers to each strand in the vectors. Products of float32 numbers are exact in float64.
HWY_INLINE void AddPairs(const float* a, const float* b, Sums& squared_error, Sums& squared, Sums& squared_other,
                         Sums& product, Sums& largest) {
  const Strands dd;
  const hn::Rebind<float, Strands> df;
  const auto truth = hn::PromoteTo(dd, hn::LoadU(df, a)), number = hn::PromoteTo(dd, hn::LoadU(df, b));
  const auto apart = hn::Sub(truth, number);
  squared_error = hn::Add(squared_error, hn::Mul(apart, apart));
  squared = hn::Add(squared, hn::Mul(truth, truth));
  squared_other = hn::Add(squared_other, hn::Mul(number, number));
  product = hn::Add(product, hn::Mul(truth, number));
  largest = hn::Max(largest, hn::Abs(apart));
}

/// `n` is a multiple of the strands; `a_rest` and `b_rest` hold one pair more for each. As many strands as fill a
/// vector go through all numbers, then the next ones: the arithmetic takes longer than the latency of one addition, and
/// no more than five sums want a register.
void SumStrands(const float* a, const float* b, std::size_t n, const float* a_rest, const float* b_rest,
                kernels::ErrorStrands& to) {
  const Strands dd;
  for (std::size_t strand = 0; strand < kernels::kErrorStrands; strand += hn::Lanes(dd)) {
    auto squared_error = hn::Zero(dd), squared = hn::Zero(dd), squared_other = hn::Zero(dd);
    auto product = hn::Zero(dd), largest = hn::Zero(dd);
    for (std::size_t i = strand; i < n; i += kernels::kErrorStrands) {
      AddPairs(a + i, b + i, squared_error, squared, squared_other, product, largest);
    }
    AddPairs(a_rest + strand, b_rest + strand, squared_error, squared, squared_other, product, largest);
    hn::StoreU(squared_error, dd, to.squared_error + strand);
    hn::StoreU(squared, dd, to.squared + strand);
    hn::StoreU(squared_other, dd, to.squared_other + strand);
    hn::StoreU(product, dd, to.product + strand);
    hn::StoreU(largest, dd, to.largest + strand);
  }
}

}  // namespace
}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace headrace::codec {

HWY_EXPORT(SumStrands);

namespace kernels {
namespace {

ErrorSums joined(const ErrorStrands& strands) noexcept {
  ErrorSums sums;
  for (std::size_t i = 0; i < kErrorStrands; ++i) {
    sums.squared_error += strands.squared_error[i];
    sums.squared += strands.squared[i];
    sums.squared_other += strands.squared_other[i];
    sums.product += strands.product[i];
    sums.largest = std::max(sums.largest, strands.largest[i]);
  }
  return sums;
}

}  // namespace

ErrorSums error_sums_reference(const float* a, const float* b, std::size_t n) noexcept {
  ErrorStrands strands;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t strand = i % kErrorStrands;
    const double truth = a[i], number = b[i], apart = distance(truth, number);
    strands.squared_error[strand] += apart * apart;
    strands.largest[strand] = std::max(strands.largest[strand], apart);
    if (!std::isfinite(truth)) continue;
    strands.squared[strand] += truth * truth;
    if (!std::isfinite(number)) continue;
    strands.squared_other[strand] += number * number;
    strands.product[strand] += truth * number;
  }
  return joined(strands);
}

ErrorSums error_sums(const float* a, const float* b, std::size_t n) noexcept {
  // The pairs that don't go round all strands; zeros beside them leave the other sums as they are.
  const std::size_t rest = n % kErrorStrands, whole = n - rest;
  float a_rest[kErrorStrands] = {}, b_rest[kErrorStrands] = {};
  std::copy_n(a + whole, rest, a_rest);
  std::copy_n(b + whole, rest, b_rest);
  ErrorStrands strands;
  HWY_DYNAMIC_DISPATCH(SumStrands)(a, b, whole, a_rest, b_rest, strands);
  const ErrorSums sums = joined(strands);
  // No sum of finite float32's squares overflows float64: somewhere there is infinity or NaN, which is rare and has
  // rules of its own.
  if (!std::isfinite(sums.squared + sums.squared_other)) return error_sums_reference(a, b, n);
  return sums;
}

}  // namespace kernels
}  // namespace headrace::codec
#endif  // HWY_ONCE
