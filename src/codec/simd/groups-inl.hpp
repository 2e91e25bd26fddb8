// Groups side by side: number i of every group in one vector, a group in each lane.
//
// A scale is searched by sums over a group that must be made in order, so a vector can't run along a group; it runs
// across them. Included once for each instruction set, after hwy/highway.h.
#if defined(HEADRACE_CODEC_SIMD_GROUPS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef HEADRACE_CODEC_SIMD_GROUPS_INL_HPP
#undef HEADRACE_CODEC_SIMD_GROUPS_INL_HPP
#else
#define HEADRACE_CODEC_SIMD_GROUPS_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace headrace::codec::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// A group in each lane; at most 16.
using GroupF = hn::CappedTag<float, 16>;
using GroupI = hn::RebindToSigned<GroupF>;
inline constexpr std::size_t kMaxGroups = 16;

#if HWY_TARGET != HWY_SCALAR && !HWY_HAVE_SCALABLE

/// Numbers `at` to at + 3 of every fourth row, as many rows as fill a vector of `D`.
template <class D>
HWY_INLINE hn::Vec<D> LoadQuads(D d, const float* const* rows, std::size_t at) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::LoadU(d, rows[0] + at);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, LoadQuads(half, rows + hn::MaxLanes(half), at), LoadQuads(half, rows, at));
  }
}

/// The four vectors that hold numbers `at` to at + 3 of every group. The quads are brought together by loads, which
/// leaves the shuffles within 16 bytes: half of what a whole transposition would take.
HWY_INLINE void TransposeQuads(const float* const* rows, std::size_t at, float* HWY_RESTRICT to) {
  const GroupF df;
  const hn::Repartition<std::uint64_t, GroupF> du64;
  const auto a = LoadQuads(df, rows, at), b = LoadQuads(df, rows + 1, at);
  const auto c = LoadQuads(df, rows + 2, at), d = LoadQuads(df, rows + 3, at);
  const auto ab_low = hn::BitCast(du64, hn::InterleaveLower(df, a, b));
  const auto ab_high = hn::BitCast(du64, hn::InterleaveUpper(df, a, b));
  const auto cd_low = hn::BitCast(du64, hn::InterleaveLower(df, c, d));
  const auto cd_high = hn::BitCast(du64, hn::InterleaveUpper(df, c, d));
  const std::size_t lanes = hn::Lanes(df);
  hn::Store(hn::BitCast(df, hn::InterleaveLower(du64, ab_low, cd_low)), df, to);
  hn::Store(hn::BitCast(df, hn::InterleaveUpper(du64, ab_low, cd_low)), df, to + lanes);
  hn::Store(hn::BitCast(df, hn::InterleaveLower(du64, ab_high, cd_high)), df, to + 2 * lanes);
  hn::Store(hn::BitCast(df, hn::InterleaveUpper(du64, ab_high, cd_high)), df, to + 3 * lanes);
}

/// `to[i * Lanes + g]` becomes number i of group g, for i below kSize. Lanes past `groups` repeat the last group.
/// `to` is aligned to a vector.
template <std::size_t kSize>
HWY_INLINE void LoadGroups(const float* from, std::size_t groups, float* HWY_RESTRICT to) {
  static_assert(kSize % 4 == 0);
  const GroupF df;
  const float* rows[kMaxGroups];
  for (std::size_t g = 0; g < hn::Lanes(df); ++g) rows[g] = from + HWY_MIN(g, groups - 1) * kSize;
  for (std::size_t i = 0; i < kSize; i += 4) TransposeQuads(rows, i, to + i * hn::Lanes(df));
}

#else  // vectors of a length that isn't known here

template <std::size_t kSize>
HWY_INLINE void LoadGroups(const float* from, std::size_t groups, float* HWY_RESTRICT to) {
  const GroupF df;
  const GroupI di;
  const auto last = hn::Set(di, static_cast<std::int32_t>(groups - 1));
  const auto lane = hn::Min(hn::Iota(di, 0), last);
  const auto offset = hn::Mul(lane, hn::Set(di, static_cast<std::int32_t>(kSize)));
  for (std::size_t i = 0; i < kSize; ++i) {
    hn::Store(hn::GatherIndex(df, from + i, offset), df, to + i * hn::Lanes(df));
  }
}

#endif

}  // namespace headrace::codec::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
