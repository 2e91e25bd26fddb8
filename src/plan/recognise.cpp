#include "plan/recognise.hpp"

#include "format/name_index.hpp"
#include "format/printable.hpp"
#include "plan/tally.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace headrace::plan {
namespace {

constexpr std::string_view kArchitecture = "general.architecture";

void require_taken(const Draft& draft) {
  const Profile& profile = draft.profile;
  for (std::size_t i = 0; i < draft.sources.size() && !profile.from.empty(); ++i) {
    const Format format = draft.sources[i]->header.format;
    if (std::ranges::find(profile.from, format) != profile.from.end()) continue;
    std::vector<std::string_view> taken;
    for (const Format one : profile.from) taken.push_back(name(one));
    throw Error(ErrorCode::invalid_argument, fmt::format("--for {} doesn't take this format", profile.name),
                {.file = draft.sources[i]->location,
                 .expected = fmt::format("{}", fmt::join(taken, " or ")),
                 .found = std::string(name(format)),
                 .hint = profile.from_why});
  }
  if (profile.to && *profile.to != draft.to) {
    throw Error(ErrorCode::invalid_argument, fmt::format("--for {} makes another format", profile.name),
                {.file = draft.output.string(),
                 .expected = std::string(name(*profile.to)),
                 .found = std::string(name(draft.to))});
  }
}

// Looks names up, of all tensors of the draft.
class Names {
  auto name_of() const {
    return [this](std::size_t i) { return draft_.tensors[i].name; };
  }

 public:
  explicit Names(const Draft& draft) : draft_(draft) {
    index_.reserve(draft.tensors.size(), name_of());
    for (const TensorInfo& tensor : draft.tensors) index_.add(tensor.name, name_of());
  }
  bool has(std::string_view name) const { return index_.find(name, name_of()).has_value(); }
  bool has_all(const std::vector<std::string>& names) const {
    return std::ranges::all_of(names, [&](const std::string& name) { return has(name); });
  }

 private:
  const Draft& draft_;
  format::NameIndex index_;
};

// Throws where the names are of a layout of that architecture which the profile's readers refuse.
void require_layout(const Draft& draft, const Names& names, const ProfileArchitecture& architecture) {
  const auto wrong = std::ranges::find_if(architecture.has_not, [&](const auto& name) { return names.has(name); });
  if (wrong == architecture.has_not.end()) return;
  throw Error(ErrorCode::unsupported, fmt::format("--for {} can't take this model", draft.profile.name),
              {.file = draft.sources.front()->location,
               .tensor = *wrong,
               .hint = fmt::format("{}; --rename and --concat can make them", architecture.has_not_why)});
}

const ProfileArchitecture* find_by_tensors(const Draft& draft, const Names& names) {
  const auto at = std::ranges::find_if(draft.profile.architectures, [&](const ProfileArchitecture& architecture) {
    return std::ranges::any_of(architecture.has, [&](const auto& list) { return names.has_all(list); });
  });
  return at == draft.profile.architectures.end() ? nullptr : &*at;
}

// The architecture that the metadata of the inputs names, of those whose tensors come into the output.
std::optional<std::string> named_architecture(const Draft& draft) {
  std::vector<bool> counts(draft.sources.size());
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) counts[draft.first_of(i).source] = true;
  for (std::size_t i = 0; i < draft.sources.size(); ++i) {
    const format::Header& header = draft.sources[i]->header;
    if (!counts[i] || header.format != Format::gguf) continue;
    const auto value = header.metadata.find(kArchitecture);
    const auto text = value ? value->as_string() : std::nullopt;
    if (text && !text->empty()) return std::string(*text);
  }
  return std::nullopt;
}

[[noreturn]] void refuse_unknown(const Draft& draft) {
  std::vector<std::string_view> known;
  for (const ProfileArchitecture& architecture : draft.profile.architectures) known.push_back(architecture.name);
  throw Error(ErrorCode::invalid_argument,
              fmt::format("--for {}: the tensors' names are of no model that it knows", draft.profile.name),
              {.file = draft.sources.front()->location,
               .expected = fmt::format("{}", fmt::join(known, ", ")),
               .hint = fmt::format("{}; say which with --architecture NAME", draft.profile.needs_architecture)});
}

// [elements / 256, 256]
constexpr std::uint64_t kRow = 256, kLeast = 512;

bool wants_other_rows(const TensorInfo& tensor) {
  return tensor.shape.size() > 1 && tensor.elements >= kLeast && tensor.elements % kRow == 0 &&
         tensor.row_elements() % kRow != 0;
}

// So that k-quants fit them.
void rearrange(Draft& draft) {
  Tally changed;
  for (TensorInfo& tensor : draft.tensors) {
    if (!wants_other_rows(tensor)) continue;
    const std::array<std::uint64_t, 2> shape{tensor.elements / kRow, kRow};
    tensor.shape = draft.texts.copy(Shape(shape));
    changed.add(tensor.name);
  }
  if (changed.count == 0) return;
  draft.rearranged = true;
  draft.notes.push_back(
      fmt::format("rows that are no multiple of {} become rows of {}, and the shape is recorded in the metadata: {}",
                  kRow, kRow, changed.text()));
}

}  // namespace

void load_profile(Draft& draft) {
  const bool implied = draft.options.profile.empty() && draft.options.recipe;
  const std::string name = implied ? "llamacpp" : draft.options.profile;
  if (name.empty()) return;
  const std::uint64_t held = std::min(memory_of(draft.sources), draft.options.memory);
  draft.profile = load_profile(name, draft.options.memory - held);
  require_taken(draft);
}

void recognise(Draft& draft) {
  Profile& profile = draft.profile;
  if (profile.architectures.empty()) return;
  const auto by_name = [&](const std::string& name) -> const ProfileArchitecture* {
    const auto at = std::ranges::find(profile.architectures, name, &ProfileArchitecture::name);
    return at == profile.architectures.end() ? nullptr : &*at;
  };
  const Names names(draft);
  const ProfileArchitecture* found = nullptr;
  if (const ProfileArchitecture* alike = find_by_tensors(draft, names)) require_layout(draft, names, *alike);
  if (draft.options.architecture) {  // whoever says what it is knows better
    found = by_name(*draft.options.architecture);
    if (!found)
      draft.notes.push_back(fmt::format("--for {} doesn't know the architecture '{}'", profile.name,
                                        format::printable(*draft.options.architecture)));
  } else if ((found = find_by_tensors(draft, names))) {
    draft.architecture = found->name;
    draft.notes.push_back(fmt::format("--for {}: the tensors' names are those of {}", profile.name, found->name));
  } else if (const auto named = named_architecture(draft)) {
    draft.architecture = *named;
    found = by_name(*named);
  } else if (!profile.needs_architecture.empty()) {
    refuse_unknown(draft);
  }
  if (!found) return;
  require_layout(draft, names, *found);
  if (found->rearrange && draft.to == Format::gguf) rearrange(draft);
  std::vector<Rule> rules = found->rules;
  rules.insert(rules.end(), profile.rules.begin(), profile.rules.end());
  profile.rules = std::move(rules);
}

void note_unreadable(Draft& draft) {
  if (draft.profile.reads.empty()) return;
  Tally unreadable;
  for (std::size_t i = 0; i < draft.tensors.size(); ++i) {
    const DType to = draft.tensors[i].dtype;
    if ((is_block(to) || is_float(to)) && std::ranges::find(draft.profile.reads, to) == draft.profile.reads.end())
      unreadable.add(draft.tensors[i].name);
  }
  if (unreadable.count > 0)
    draft.notes.push_back(fmt::format("--for {}: its readers are not known to take the type of {}", draft.profile.name,
                                      unreadable.text()));
}

void require_short_names(const Draft& draft) {
  if (!draft.profile.longest_name) return;
  const std::size_t most = *draft.profile.longest_name;
  for (const TensorInfo& tensor : draft.tensors) {
    if (tensor.name.size() <= most) continue;
    throw Error(ErrorCode::unsupported, fmt::format("the name is too long for --for {}", draft.profile.name),
                {.file = draft.output.string(),
                 .tensor = format::printable(tensor.name),
                 .expected = fmt::format("at most {} bytes", most),
                 .found = fmt::to_string(tensor.name.size()),
                 .hint = "--rename or --strip-prefix shortens it"});
  }
}

}  // namespace headrace::plan
