#include "plan/gather.hpp"

#include "format/allowance.hpp"
#include "format/name_index.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

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

// The file of a tensor, and its name there where that is another.
std::string claim(const Draft& draft, std::size_t i) {
  const Checkpoint::Impl& source = *draft.sources[draft.origins[i].source];
  const std::string& file = source.file_of(draft.source_of(i)).name();
  const std::string_view name = draft.source_of(i).name;
  return name == draft.tensors[i].name ? fmt::format("'{}'", file)
                                       : fmt::format("'{}' (as '{}')", file, format::printable(name));
}

// Within one file names are unique until they are prefixed; between files they never are for sure.
void refuse_duplicates(const Draft& draft) {
  const auto name_of = [&](std::size_t i) { return draft.tensors[i].name; };
  format::NameIndex index;
  index.reserve(draft.tensors.size(), name_of);
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    if (index.add(name_of(i), name_of)) continue;
    const std::size_t first = *index.find(name_of(i), name_of);
    throw Error(ErrorCode::conflict, fmt::format("{} and {} both have it", claim(draft, first), claim(draft, i)),
                {.tensor = format::printable(name_of(i)),
                 .hint = "a prefix for one of them keeps both: --component PREFIX=FILE"});
  }
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
      [](std::size_t sum, const Plan::Impl::Source& source) { return sum + source->header.tensors.tensors().size(); });
  draft.renamed = draft.inputs.size() > 1 || !draft.inputs.front().prefix.empty();
  std::size_t texts = 0;
  for (std::size_t i = 0; i < draft.sources.size(); ++i) texts += bytes_of_names(*draft.sources[i], draft.inputs[i]);
  constexpr std::size_t kEach = sizeof(TensorInfo) + sizeof(Plan::Impl::Origin);
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
  if (draft.renamed) refuse_duplicates(draft);
}

}  // namespace headrace::plan
