#include "plan/gather.hpp"

#include "format/allowance.hpp"

#include <algorithm>
#include <numeric>
#include <string>

namespace headrace::plan {
namespace {

std::string_view prefixed(std::string_view prefix, std::string_view name, base::Arena& texts) {
  if (name.starts_with(prefix)) return name;
  std::string text(prefix);
  text += name;
  return texts.copy(text);
}

// What the names of an input take that get a prefix.
std::size_t bytes_of_names(const Checkpoint::Impl& source, const Input& input) {
  std::size_t bytes = 0;
  for (const TensorInfo& tensor : source.header.tensors.tensors()) {
    if (!tensor.name.starts_with(input.prefix)) bytes += (input.prefix.size() + tensor.name.size() + 7) / 8 * 8;
  }
  return bytes;
}

}  // namespace

void open_sources(Draft& draft) {
  for (Input& input : draft.inputs) {
    const std::uint64_t held = memory_of(draft.sources);
    draft.sources.push_back(format::open_checkpoint(
        input.location, {draft.options.memory - std::min(held, draft.options.memory), draft.options.source}));
    input.location = draft.sources.back()->location;  // without credentials, for whoever prints the plan
  }
}

void gather_tensors(Draft& draft) {
  const std::size_t count = std::accumulate(
      draft.sources.begin(), draft.sources.end(), std::size_t{0},
      [](std::size_t sum, const Source& source) { return sum + source->header.tensors.tensors().size(); });
  draft.renamed = draft.inputs.size() > 1 || !draft.inputs.front().prefix.empty();
  std::size_t texts = 0;
  for (std::size_t i = 0; i < draft.sources.size(); ++i) texts += bytes_of_names(*draft.sources[i], draft.inputs[i]);
  constexpr std::size_t kEach = sizeof(TensorInfo) + sizeof(Origin);
  constexpr std::size_t kIndexed = 4 * sizeof(std::uint32_t);  // at most, in the index of names
  format::Allowance(draft.output.string(), draft.options.memory)
      .require(memory_of(draft.sources) + texts + count * (kEach + (draft.renamed ? kIndexed : 0)));
  draft.tensors.reserve(count);
  draft.origins.reserve(count);
  for (std::uint32_t source = 0; source < draft.sources.size(); ++source) {
    const auto tensors = draft.sources[source]->header.tensors.tensors();
    for (std::uint32_t i = 0; i < tensors.size(); ++i) {
      TensorInfo tensor = tensors[i];
      tensor.name = prefixed(draft.inputs[source].prefix, tensor.name, draft.texts);
      tensor.encoding = Encoding::plain;
      tensor.file = 0;
      draft.tensors.push_back(tensor);
      draft.origins.push_back({.source = source, .tensor = i, .why = Reason::kept});
    }
  }
}

}  // namespace headrace::plan
