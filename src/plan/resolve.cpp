#include "plan/draft.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

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
    const std::uint32_t source_a = plan.origins[a].source, source_b = plan.origins[b].source;
    return source_a != source_b ? source_a < source_b : plan.source_of(a).offset < plan.source_of(b).offset;
  });
  return order;
}

// Bits of an element of a type that safetensors holds.
std::size_t bits_of(DType dtype) { return std::size_t{8} * info(dtype).block_bytes / info(dtype).block_elements; }

// safetensors has no padding. A copy keeps its source's order; where types change, the widest come first, so that
// every tensor is aligned to its element (the reference writer sorts so too). F6 and F4 come last: their length may be
// odd, and they need no alignment.
std::vector<std::uint32_t> order_of_data(const Plan::Impl& plan, bool retyped) {
  if (plan.to != Format::safetensors) return {};
  const bool copies = !retyped && plan.sources.size() == 1 && plan.sources.front()->header.format == plan.to;
  if (copies) return plan.by_source;
  std::vector<std::uint32_t> order = plan.by_source;
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return bits_of(plan.tensors[a].dtype) > bits_of(plan.tensors[b].dtype);
  });
  return order;
}

}  // namespace

std::shared_ptr<const Plan::Impl> resolve(Draft draft) {
  const auto plan = std::make_shared<Plan::Impl>();
  plan->inputs = std::move(draft.inputs);
  plan->sources = std::move(draft.sources);
  plan->imatrix = std::move(draft.imatrix);
  plan->output = std::move(draft.output);
  plan->to = draft.to;
  plan->options = std::move(draft.options);
  plan->tensors = std::move(draft.tensors);
  plan->origins = std::move(draft.origins);
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
    plan->source_bytes += plan->source_of(i).bytes;
  }
  plan->by_source = order_of_source(*plan);
  const std::uint64_t held = memory_of(plan->sources) + plan->memory();
  plan->layout = format::lay_out(plan->to, plan->tensors, order_of_data(*plan, draft.retyped), *plan->metadata,
                                 plan->output.string(), plan->options.memory, held);
  return plan;
}

std::size_t memory_of(const std::vector<Plan::Impl::Source>& sources) noexcept {
  std::size_t bytes = 0;
  for (const Plan::Impl::Source& source : sources) bytes += source->memory();
  return bytes;
}

}  // namespace headrace::plan

std::size_t headrace::Plan::Impl::memory() const noexcept {
  std::size_t bytes = tensors.capacity() * sizeof(TensorInfo) + origins.capacity() * sizeof(Origin) +
                      by_source.capacity() * sizeof(std::uint32_t) + texts.memory() + layout.memory();
  if (metadata.get() != &sources.front()->header.metadata) bytes += metadata->memory();
  if (imatrix) bytes += imatrix->memory();
  for (const std::string& note : notes) bytes += sizeof(note) + note.capacity();
  return bytes;
}
