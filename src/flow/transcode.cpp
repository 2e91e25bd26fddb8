#include "flow/transcode.hpp"

#include "codec/codec.hpp"

#include <algorithm>
#include <cstring>

namespace headrace::flow {
namespace {

std::optional<Misfit> transcode_weighted(const Plan::Impl& plan, const Run& run, DType to, EdgeRows edges,
                                         std::span<std::byte> scratch, std::span<std::byte> out) {
  const DType from = plan.source_of(run.tensor).dtype;
  const codec::Transcoder transcoder(from, to, plan.options.nonfinite == Nonfinite::refuse);
  PieceWeights weights(plan, run, to, edges, scratch);
  for (std::uint64_t done = 0; done < run.elements; done += PieceWeights::kTile) {
    const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(PieceWeights::kTile, run.elements - done));
    const std::byte* in = run.in.data() + *bytes_of(from, done);
    std::byte* made = out.data() + *bytes_of(to, done);
    const codec::Weights some = weights.next(n);
    if (const auto bad = transcoder.run(in, made, n, &some)) {
      const bool without = transcoder.run(in, made, n).has_value();
      return Misfit{run.first_element + done + bad->element, bad->value, !without};
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Misfit> transcode(const Plan::Impl& plan, const Run& run, DType to, EdgeRows edges,
                                std::span<std::byte> scratch, std::span<std::byte> out) {
  const DType from = plan.source_of(run.tensor).dtype;
  if (from == to) {
    if (!run.in.empty()) std::memcpy(out.data(), run.in.data(), run.in.size());
    return std::nullopt;
  }
  if (plan.origins[run.tensor].importance != Importance::none && codec::uses_weights(to))
    return transcode_weighted(plan, run, to, edges, scratch, out);
  const codec::Transcoder transcoder(from, to, plan.options.nonfinite == Nonfinite::refuse);
  const auto bad = transcoder.run(run.in.data(), out.data(), run.elements);
  return bad ? std::optional(Misfit{run.first_element + bad->element, bad->value, false}) : std::nullopt;
}

}  // namespace headrace::flow
