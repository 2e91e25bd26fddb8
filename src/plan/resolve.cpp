#include "plan/draft.hpp"

#include "format/printable.hpp"
#include "plan/shards.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace headrace::plan {
namespace {

// Indexes of the output tensors, by where their bytes lie: one source after the other.
std::vector<std::uint32_t> order_of_source(const Plan::Impl& plan) {
  std::vector<std::uint32_t> order(plan.tensors.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::uint32_t source_a = plan.first_of(a).source, source_b = plan.first_of(b).source;
    const TensorInfo &from_a = plan.source_of(a), &from_b = plan.source_of(b);
    if (source_a != source_b) return source_a < source_b;
    return from_a.file != from_b.file ? from_a.file < from_b.file : from_a.offset < from_b.offset;
  });
  return order;
}

// Bits of an element of a type that safetensors holds.
std::size_t bits_of(DType dtype) { return std::size_t{8} * info(dtype).block_bytes / info(dtype).block_elements; }

// True where each tensor, laid behind the one before, begins at a multiple of its element's bytes.
bool is_aligned(const Plan::Impl& plan, const std::vector<std::uint32_t>& order) {
  std::uint64_t at = 0;
  for (const std::uint32_t i : order) {
    const std::size_t bits = bits_of(plan.tensors[i].dtype);
    if (bits >= 8 && at % (bits / 8) != 0) return false;
    at += plan.tensors[i].bytes;
  }
  return true;
}

// safetensors has no padding. A copy keeps its source's order; where types change, the widest come first, so that
// every tensor is aligned to its element (the reference writer sorts so too). F6 and F4 come last: their length may be
// odd, and they need no alignment.
std::vector<std::uint32_t> order_of_data(const Plan::Impl& plan, bool retyped) {
  if (plan.to != Format::safetensors) return {};
  const bool copies = !retyped && plan.sources.size() == 1 && plan.sources.front()->header.format == plan.to;
  const bool whole = plan.dropped.empty() && plan.derived.empty();
  if (copies && (whole || is_aligned(plan, plan.by_source))) return plan.by_source;
  std::vector<std::uint32_t> order = plan.by_source;
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return bits_of(plan.tensors[a].dtype) > bits_of(plan.tensors[b].dtype);
  });
  return order;
}

// An order of all tensors, taken apart: each shard's own, numbered from its first tensor.
std::vector<std::vector<std::uint32_t>> orders_of_shards(const Plan::Impl& plan, bool retyped,
                                                         const std::vector<std::size_t>& counts) {
  std::vector<std::size_t> first(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), first.begin(), std::size_t{0});
  std::vector<std::vector<std::uint32_t>> orders(counts.size());
  for (const std::uint32_t i : order_of_data(plan, retyped)) {
    const std::uint32_t shard = plan.tensors[i].file;
    orders[shard].push_back(static_cast<std::uint32_t>(i - first[shard]));
  }
  return orders;
}

void lay_out_file(Plan::Impl& plan, bool retyped, std::uint64_t held) {
  plan.outputs.parts.push_back(
      {plan.output, format::lay_out(plan.to, plan.tensors, order_of_data(plan, retyped), *plan.metadata,
                                    plan.output.string(), plan.options.memory, held)});
}

void refuse_too_many(const Plan::Impl& plan, std::size_t shards) {
  constexpr std::size_t kMost = std::numeric_limits<std::uint16_t>::max();  // split.count has 16 bits
  if (shards <= kMost) return;
  throw Error(ErrorCode::invalid_argument, "the shards are too small for this model",
              {.file = plan.output.string(),
               .expected = fmt::format("at most {} files", kMost),
               .found = fmt::to_string(shards),
               .hint = "raise --shard-size"});
}

// Every shard is a checkpoint of its own; its tensors follow each other in the plan.
void lay_out_shards(Plan::Impl& plan, const std::vector<std::size_t>& counts, bool retyped, std::uint64_t held) {
  refuse_too_many(plan, counts.size());
  const bool gguf = plan.to == Format::gguf;
  const auto metadata_of = [&](std::size_t shard) {
    return metadata_of_part(*plan.metadata, shard, counts.size(), plan.tensors.size());
  };
  if (gguf) plan.metadata = std::make_shared<const Metadata>(metadata_of(0));
  std::size_t next = 0;
  for (std::size_t shard = 0; shard < counts.size(); ++shard) {
    for (std::size_t i = 0; i < counts[shard]; ++i) plan.tensors[next++].file = static_cast<std::uint32_t>(shard);
  }
  const auto orders = orders_of_shards(plan, retyped, counts);
  std::vector<std::filesystem::path> paths;
  std::size_t first = 0;
  for (std::size_t shard = 0; shard < counts.size(); ++shard) {
    const auto tensors = std::span(plan.tensors).subspan(first, counts[shard]);
    const bool own = gguf && shard > 0;
    const auto& path = paths.emplace_back(shard_path(plan.output, plan.to, shard, counts.size()));
    format::Layout layout = format::lay_out(plan.to, tensors, orders[shard], own ? metadata_of(shard) : *plan.metadata,
                                            path.string(), plan.options.memory, held + plan.outputs.memory());
    plan.outputs.parts.push_back({path, std::move(layout)});
    first += counts[shard];
  }
  plan.outputs.first_part_last = gguf;
  if (!gguf) plan.outputs.index = {index_path(plan.output), index_of(plan.tensors, paths)};
}

}  // namespace

std::shared_ptr<const Plan::Impl> resolve(Draft draft) {
  const auto plan = std::make_shared<Plan::Impl>();
  static_cast<Material&>(*plan) = std::move(static_cast<Material&>(draft));
  plan->imatrix = std::move(draft.imatrix);
  plan->output = std::move(draft.output);
  plan->to = draft.to;
  plan->options = std::move(draft.options);
  plan->profile = std::move(draft.profile);
  for (const Rule& rule : plan->options.rules) plan->rule_texts.push_back(to_string(rule));
  for (const Rule& rule : plan->profile.rules) plan->rule_texts.push_back(to_string(rule));
  plan->tensors = std::move(draft.tensors);
  plan->unmeasured = std::move(draft.unmeasured);
  plan->dropped = std::move(draft.dropped);
  plan->entries = std::move(draft.entries);
  plan->texts = std::move(draft.texts);
  if (draft.keeps_metadata) {
    plan->metadata = {plan->sources.front(), &plan->sources.front()->header.metadata};
  } else {
    plan->metadata = std::make_shared<const Metadata>(std::move(draft.metadata));
  }
  plan->notes = std::move(draft.notes);

  for (std::uint32_t i = 0; i < plan->tensors.size(); ++i) {
    TensorInfo& tensor = plan->tensors[i];
    const auto bytes = bytes_of(tensor.dtype, tensor.elements);
    if (!bytes) {
      throw Error(ErrorCode::unsupported, "the tensor is too large for its new type",
                  {.file = plan->file_of(i).name(),
                   .tensor = format::printable(tensor.name),
                   .found = to_string(tensor.shape) + " of " + std::string(name(tensor.dtype))});
    }
    tensor.bytes = *bytes;
    plan->source_bytes += plan->bytes_in_inputs(i);
  }
  plan->by_source = order_of_source(*plan);
  const std::uint64_t held = memory_of(plan->sources) + plan->memory();
  const std::vector<std::size_t> counts =
      cut_into_shards(plan->tensors, plan->options.shard_size.value_or(format::kUnlimited));
  if (counts.size() == 1) {
    lay_out_file(*plan, draft.retyped, held);
  } else {
    lay_out_shards(*plan, counts, draft.retyped, held);
  }
  return plan;
}

}  // namespace headrace::plan

bool headrace::Plan::Impl::is_input(const io::FileId& file) const noexcept {
  return std::ranges::any_of(sources, [&](const plan::Source& source) { return source->comes_from(file); });
}

std::size_t headrace::Plan::Impl::memory() const noexcept {
  std::size_t bytes = memory_of_lists() + tensors.capacity() * sizeof(TensorInfo) +
                      (by_source.capacity() + unmeasured.capacity()) * sizeof(std::uint32_t) + texts.memory() +
                      outputs.memory() + profile.memory();
  if (metadata.get() != &sources.front()->header.metadata) bytes += metadata->memory();
  if (imatrix) bytes += imatrix->memory() + entries.capacity() * sizeof(std::string_view);
  for (const std::string& note : notes) bytes += sizeof(note) + note.capacity();
  for (const DroppedTensor& one : dropped) bytes += sizeof(one) + one.why.capacity();
  return bytes;
}
