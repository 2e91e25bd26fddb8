#include "plan/weigh.hpp"

#include "codec/codec.hpp"
#include "format/printable.hpp"
#include "plan/recipe.hpp"
#include "plan/tally.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <set>
#include <string_view>

namespace headrace::plan {
namespace {

// Matrices of a tensor: a mixture of experts has one for each expert.
std::uint64_t matrices_of(const TensorInfo& tensor) {
  std::uint64_t matrices = 1;
  for (std::size_t i = 0; i + 2 < tensor.shape.size(); ++i) matrices *= tensor.shape[i];
  return matrices;
}

// One set of weights for a row, or one for each matrix.
void require_fit(const Draft& draft, const TensorInfo& tensor, std::string_view entry_name) {
  const std::uint64_t row = tensor.row_elements();
  for (const auto& file : draft.imatrix->files()) {
    const auto entry = file.find(entry_name);
    if (!entry) continue;
    const std::uint64_t weights = file.entries()[*entry].elements;
    const std::uint64_t columns = file.columns_of(*entry);
    if ((weights == row || weights == row * matrices_of(tensor)) && (columns == 0 || columns == row)) continue;
    throw Error(
        ErrorCode::format, "the importance matrix doesn't fit this tensor",
        {.file = file.file().name(),
         .tensor = format::printable(tensor.name),
         .expected = fmt::format("{} weights for rows of {}", row, row),
         .found = columns == 0 || columns == weights ? fmt::format("{} weights", weights)
                                                     : fmt::format("{} weights in rows of {}", weights, columns),
         .hint = "it was made with another model"});
  }
}

// True for what is quantised by weights, and for what may be once its data was looked at.
bool may_use_weights(const Draft& draft, std::size_t i) {
  if (draft.origins[i].why == Reason::unmeasured) return true;
  const DType to = draft.tensors[i].dtype;
  return to != draft.source_of(i).dtype && codec::uses_weights(to);
}

// What the caller lets the files weigh.
bool is_let_in(const Draft& draft, std::string_view name) {
  const auto is_in = [&](const std::string& part) { return name.find(part) != name.npos; };
  const ConvertOptions& options = draft.options;
  if (!options.imatrix_include.empty()) return std::ranges::any_of(options.imatrix_include, is_in);
  return std::ranges::none_of(options.imatrix_exclude, is_in);
}

// By the name in the output, as it was before layers moved up, else by that in the input; nothing when there is no
// entry. A view into the matrix.
std::optional<std::string_view> entry_for(const Draft& draft, std::size_t i) {
  const std::string_view out = draft.tensors[i].name, in = draft.at(draft.first_of(i)).name;
  const std::string before = draft.pruning ? draft.pruning->name_before(out) : std::string(out);
  for (const std::string_view name : {std::string_view(before), in}) {
    for (const auto& file : draft.imatrix->files()) {
      if (const auto entry = file.find(name)) return file.entries()[*entry].name;
    }
  }
  return std::nullopt;
}

// True when some tensor has that name in its input or in the output.
bool is_known(const Draft& draft, std::string_view name) {
  for (std::size_t i = 0; i < draft.sources.size(); ++i) {
    const format::TensorTable& tensors = draft.sources[i]->header.tensors;
    const std::string_view prefix = draft.inputs[i].prefix;
    if (tensors.find(name)) return true;
    if (name.starts_with(prefix) && tensors.find(name.substr(prefix.size()))) return true;
  }
  return false;
}

// Entries whose tensor isn't there: of another model, or of a part that isn't converted.
Tally entries_without_tensor(const Draft& draft, std::set<std::string_view> known) {
  for (const DroppedTensor& dropped : draft.dropped) known.insert(dropped.name);
  Tally unknown;
  for (const auto& file : draft.imatrix->files()) {
    for (const TensorInfo& entry : file.entries()) {
      if (!known.contains(entry.name) && !is_known(draft, entry.name)) unknown.add(entry.name);
    }
  }
  return unknown;
}

void weigh_by_files(Draft& draft) {
  const ConvertOptions& options = draft.options;
  std::size_t let_in = 0;
  Tally missing, shared;
  std::set<std::string_view> used;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    const TensorInfo& tensor = draft.tensors[i];
    if (!may_use_weights(draft, i) || !is_let_in(draft, tensor.name)) continue;
    ++let_in;
    if (const auto entry = entry_for(draft, i)) {
      require_fit(draft, tensor, *entry);
      draft.origins[i].importance = Importance::file;
      draft.entries.resize(draft.tensors.size());
      draft.entries[i] = *entry;
      if (!used.insert(*entry).second) shared.add(tensor.name);
    } else {
      missing.add(tensor.name);
      if (draft.options.recipe) require_allowed(*draft.options.recipe, draft.source_of(i), tensor.dtype, false);
    }
  }
  const Tally unknown = entries_without_tensor(draft, used);
  if (used.empty() && missing.count > 0) {
    throw Error(ErrorCode::format, "the importance matrix has an entry for none of the tensors to be quantised",
                {.file = draft.imatrix->files().front().file().name(),
                 .expected = fmt::format("entries such as '{}'", format::printable(missing.first)),
                 .found = fmt::format("'{}'", format::printable(draft.imatrix->files().front().entries().front().name)),
                 .hint = "it was made with another model"});
  }
  if (missing.count > 0)
    draft.notes.push_back(
        fmt::format("made without weights, for the importance matrix has no entry: {}", missing.text()));
  if (used.empty() && let_in == 0 && !(options.imatrix_include.empty() && options.imatrix_exclude.empty())) {
    draft.notes.push_back("--include-weights and --exclude-weights let no tensor be weighed");
    return;
  }
  if (used.empty()) draft.notes.push_back("the importance matrix matters to none of the types that are made");
  if (shared.count > 0) {
    draft.notes.push_back(
        fmt::format("weighed by an entry that another input's tensor of the same name uses too: {}", shared.text()));
  }
  if (unknown.count > 0)
    draft.notes.push_back(fmt::format("entries of the importance matrix that match no tensor: {}", unknown.text()));
}

}  // namespace

void weigh(Draft& draft) {
  const ConvertOptions& options = draft.options;
  const bool has_files = !options.imatrix_files.empty();
  if (has_files != (options.importance == Importance::file)) {
    throw Error(ErrorCode::invalid_argument, has_files ? "an importance matrix is given but not to be used"
                                                       : "an importance matrix is to be used but none is given");
  }
  if (!has_files && !(options.imatrix_include.empty() && options.imatrix_exclude.empty()))
    throw Error(ErrorCode::invalid_argument, "--include-weights and --exclude-weights are about an importance matrix",
                {.hint = "give one with --imatrix FILE"});
  if (options.importance == Importance::ones) {
    for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
      if (may_use_weights(draft, i)) draft.origins[i].importance = Importance::ones;
    }
  }
  if (!has_files) return;
  const std::uint64_t held = memory_of(draft.sources) + draft.tensors.size() * (sizeof(TensorInfo) + sizeof(Origin));
  draft.imatrix = std::make_shared<const format::imatrix::Imatrix>(
      format::imatrix::Imatrix::open(options.imatrix_files, options.memory - std::min(held, options.memory)));
  weigh_by_files(draft);
}

}  // namespace headrace::plan
