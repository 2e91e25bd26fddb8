#include "plan/draft.hpp"

#include "base/checked.hpp"
#include "format/printable.hpp"
#include "plan/data_order.hpp"
#include "plan/outputs.hpp"
#include "plan/shards.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
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
    if (from_a.file != from_b.file) return from_a.file < from_b.file;
    // A tensor of no bytes lies where the one after it begins.
    return from_a.offset != from_b.offset ? from_a.offset < from_b.offset : from_a.bytes < from_b.bytes;
  });
  return order;
}

// A copy keeps its source's order where that is aligned, or was never to be.
std::vector<std::uint32_t> order_of_data(const Plan::Impl& plan, bool retyped) {
  if (plan.to != Format::safetensors) return {};
  const bool copies = !retyped && plan.sources.size() == 1 && plan.sources.front()->header.format == plan.to;
  const bool whole = plan.dropped.empty() && plan.derived.empty();
  if (copies && (whole || is_aligned(plan.tensors, plan.by_source))) return plan.by_source;
  return widest_first(plan.tensors, plan.by_source);
}

// Places in memory that nobody has: they only say which tensors may travel together, and how they lie then.
format::Layout pack(Plan::Impl& plan) {
  format::Layout layout{.header = {}, .file_bytes = 0, .alignment = 64};
  for (const std::uint32_t i : plan.by_source) {
    TensorInfo& tensor = plan.tensors[i];
    tensor.offset = layout.file_bytes;
    const auto end = base::checked_add(tensor.offset, tensor.bytes);
    const auto next = end ? base::checked_round_up(*end, layout.alignment) : std::nullopt;
    if (!next) {
      throw Error(ErrorCode::unsupported, "the tensors are more than any memory holds",
                  {.file = plan.output.string(), .tensor = format::printable(tensor.name)});
    }
    layout.file_bytes = *next;
  }
  return layout;
}

}  // namespace

std::shared_ptr<const Plan::Impl> resolve(Draft draft) {
  const auto plan = std::make_shared<Plan::Impl>();
  static_cast<Material&>(*plan) = std::move(static_cast<Material&>(draft));
  plan->imatrix = std::move(draft.imatrix);
  plan->output = std::move(draft.output);
  plan->to = draft.to;
  plan->in_memory = draft.in_memory;
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
  if (plan->in_memory) {
    plan->outputs.parts.push_back({plan->output, pack(*plan)});
    return plan;
  }
  const std::uint64_t held = memory_of(plan->sources) + plan->memory();
  OutputSpec spec{plan->output, plan->to, *plan->metadata};
  spec.shard_size = plan->options.shard_size;
  spec.memory = plan->options.memory;
  spec.held = held;
  plan->outputs = lay_out_outputs(spec, plan->tensors, order_of_data(*plan, draft.retyped));
  if (plan->to == Format::gguf && plan->outputs.parts.size() > 1) {
    plan->metadata = std::make_shared<const Metadata>(
        metadata_of_part(*plan->metadata, 0, plan->outputs.parts.size(), plan->tensors.size()));
  }
  return plan;
}

}  // namespace headrace::plan

bool headrace::Plan::Impl::is_input(const io::FileId& file) const noexcept {
  return std::ranges::any_of(sources, [&](const plan::Source& source) { return source->comes_from(file); });
}

bool headrace::Plan::Impl::retyped() const noexcept {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].dtype != source_of(i).dtype) return true;
  }
  return false;
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
