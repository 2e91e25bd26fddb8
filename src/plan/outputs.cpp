#include "plan/outputs.hpp"

#include "plan/shards.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace headrace::plan {
namespace {

void refuse_too_many(const OutputSpec& spec, std::size_t shards) {
  constexpr std::size_t kMost = std::numeric_limits<std::uint16_t>::max();  // split.count has 16 bits
  if (shards <= kMost) return;
  throw Error(ErrorCode::invalid_argument, "the shards are too small for this model",
              {.file = spec.path.string(),
               .expected = fmt::format("at most {} files", kMost),
               .found = fmt::to_string(shards),
               .hint = "raise --shard-size"});
}

// An order of all tensors, taken apart: each shard's own, numbered from its first tensor.
std::vector<std::vector<std::uint32_t>> orders_of_shards(std::span<const TensorInfo> tensors,
                                                         std::span<const std::uint32_t> data_order,
                                                         const std::vector<std::size_t>& counts) {
  std::vector<std::size_t> first(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), first.begin(), std::size_t{0});
  std::vector<std::vector<std::uint32_t>> orders(counts.size());
  for (const std::uint32_t i : data_order) {
    const std::uint32_t shard = tensors[i].file;
    orders[shard].push_back(static_cast<std::uint32_t>(i - first[shard]));
  }
  return orders;
}

// Every shard is a checkpoint of its own; its tensors follow each other in the list.
format::Outputs lay_out_shards(const OutputSpec& spec, std::span<TensorInfo> tensors,
                               std::span<const std::uint32_t> data_order, const std::vector<std::size_t>& counts) {
  refuse_too_many(spec, counts.size());
  const bool gguf = spec.to == Format::gguf;
  std::size_t next = 0;
  for (std::size_t shard = 0; shard < counts.size(); ++shard) {
    for (std::size_t i = 0; i < counts[shard]; ++i) tensors[next++].file = static_cast<std::uint32_t>(shard);
  }
  const auto orders = orders_of_shards(tensors, data_order, counts);
  format::Outputs outputs;
  std::vector<std::filesystem::path> paths;
  std::size_t first = 0;
  for (std::size_t shard = 0; shard < counts.size(); ++shard) {
    const auto own = tensors.subspan(first, counts[shard]);
    const auto& path = paths.emplace_back(shard_path(spec.path, spec.to, shard, counts.size()));
    const auto lay_out = [&](const Metadata& metadata) {
      return format::lay_out(spec.to, own, orders[shard], metadata, path.string(), spec.memory,
                             spec.held + outputs.memory());
    };
    format::Layout layout =
        gguf ? lay_out(metadata_of_part(spec.metadata, shard, counts.size(), tensors.size())) : lay_out(spec.metadata);
    outputs.parts.push_back({path, std::move(layout)});
    first += counts[shard];
  }
  outputs.first_part_last = gguf;
  if (!gguf) outputs.index = {index_path(spec.path), index_of(tensors, paths)};
  return outputs;
}

}  // namespace

format::Outputs lay_out_outputs(const OutputSpec& spec, std::span<TensorInfo> tensors,
                                std::span<const std::uint32_t> data_order) {
  const auto counts = cut_into_shards(tensors, spec.shard_size.value_or(format::kUnlimited));
  if (counts.size() > 1) return lay_out_shards(spec, tensors, data_order, counts);
  format::Outputs outputs;
  outputs.parts.push_back({spec.path, format::lay_out(spec.to, tensors, data_order, spec.metadata, spec.path.string(),
                                                      spec.memory, spec.held, spec.reserve)});
  return outputs;
}

}  // namespace headrace::plan
