#include "plan/weigh.hpp"

#include "codec/codec.hpp"
#include "format/printable.hpp"
#include "plan/tally.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
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

// By the name in the output, else by that in the input; nothing when there is no entry.
std::optional<std::string_view> entry_for(const Draft& draft, std::size_t i) {
  for (const std::string_view name : {draft.tensors[i].name, draft.source_of(i).name}) {
    if (draft.imatrix->size_of(name)) return name;
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
Tally entries_without_tensor(const Draft& draft) {
  Tally unknown;
  for (const auto& file : draft.imatrix->files()) {
    for (const TensorInfo& entry : file.entries()) {
      if (!is_known(draft, entry.name)) unknown.add(entry.name);
    }
  }
  return unknown;
}

void weigh_by_files(Draft& draft) {
  Tally missing, shared;
  std::set<std::string_view> used;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    const TensorInfo& tensor = draft.tensors[i];
    if (tensor.dtype == draft.source_of(i).dtype || !codec::uses_weights(tensor.dtype)) continue;
    if (const auto entry = entry_for(draft, i)) {
      require_fit(draft, tensor, *entry);
      draft.origins[i].importance = Importance::file;
      if (!used.insert(*entry).second) shared.add(tensor.name);
    } else {
      missing.add(tensor.name);
    }
  }
  const Tally unknown = entries_without_tensor(draft);
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
  if (options.importance == Importance::ones) {
    for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
      const DType to = draft.tensors[i].dtype;
      if (to != draft.source_of(i).dtype && codec::uses_weights(to)) draft.origins[i].importance = Importance::ones;
    }
  }
  if (!has_files) return;
  const std::uint64_t held =
      memory_of(draft.sources) + draft.tensors.size() * (sizeof(TensorInfo) + sizeof(Plan::Impl::Origin));
  draft.imatrix = std::make_shared<const format::imatrix::Imatrix>(
      format::imatrix::Imatrix::open(options.imatrix_files, options.memory - std::min(held, options.memory)));
  weigh_by_files(draft);
}

}  // namespace headrace::plan
