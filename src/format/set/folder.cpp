#include "format/json_document.hpp"
#include "format/printable.hpp"
#include "format/set/members.hpp"
#include "format/set/pipeline.hpp"
#include "format/set/set.hpp"
#include "format/set/weights_choice.hpp"
#include "io/file.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace headrace::format::set {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLookedFor =
    "model_index.json, *.safetensors, *.gguf, *.bin, *.pt, *.pth, *.ckpt or an index of them, model.json, *.npz";

// Names of all but folders. A link that leads nowhere counts: to pass it over could mean to take another model.
std::vector<std::string> files_in(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_directory(ignored)) names.push_back(entry->path().filename().string());
  }
  if (error) throw Error(ErrorCode::io, "can't list the folder: " + error.message(), {.file = folder.string()});
  return names;
}

io::Location location_in(const fs::path& folder, const std::string& file) {
  return io::Location((folder / file).string());
}

Contents open_shards(const fs::path& folder, const std::vector<std::string>& files, const Opening& opening) {
  const std::string name = folder.string();
  const io::Location first = location_in(folder, files.front());
  const Opening set{first, opening.options, opening.memory};
  Joiner joiner(name, opening.memory);
  join_members(
      joiner, files.size(), opened_at_once(set),
      [&](std::size_t i, std::uint64_t left) { return open_member(location_in(folder, files[i]), set, left, name); },
      [&](std::size_t, Contents member) { joiner.add(std::move(member)); });
  return std::move(joiner).take(KeptPairs::of_any);
}

Contents open_choice(const fs::path& folder, const WeightsChoice& choice, const Opening& opening) {
  if (choice.files.size() > 1) return open_shards(folder, choice.files, opening);
  const io::Location location = location_in(folder, choice.files.front());
  return open_contents({location, opening.options, opening.memory});
}

Contents open_model(const fs::path& folder, const Opening& opening) {
  const auto choice = choose_weights(folder.string(), files_in(folder), {.variant = opening.options.variant});
  if (choice) return open_choice(folder, *choice, opening);
  throw Error(ErrorCode::format, "there is no checkpoint in this folder",
              {.file = folder.string(), .expected = std::string(kLookedFor)});
}

struct Chosen {
  fs::path folder;
  std::string prefix;
  WeightsChoice weights;
};

// What to open of a component; nothing for one without weights.
std::optional<Chosen> choose(const fs::path& pipeline, const Component& component, std::string_view variant) {
  const fs::path folder = pipeline / component.folder;
  std::error_code ignored;
  std::optional<WeightsChoice> choice;
  if (fs::is_directory(folder, ignored))
    choice = choose_weights(folder.string(), files_in(folder), {.variant = variant, .or_without_variant = true});
  if (choice) return Chosen{folder, component.prefix, std::move(*choice)};
  if (!component.needs_weights) return std::nullopt;
  throw Error(ErrorCode::format, "a component of the pipeline has no weights",
              {.file = folder.string(),
               .expected = fmt::format("weights of {}", component.class_name),
               .hint = "was the download interrupted?"});
}

// Publishers give a variant of the large components only, so each may have it or not; but one has to, or the word is
// wrong.
std::vector<Chosen> choose_all(const fs::path& folder, const std::vector<Component>& components,
                               std::string_view variant) {
  std::vector<Chosen> chosen;
  for (const Component& component : components) {
    if (auto choice = choose(folder, component, variant)) chosen.push_back(std::move(*choice));
  }
  if (chosen.empty()) {
    throw Error(ErrorCode::format, "the pipeline has no component with weights",
                {.file = (folder / kPipelineFile).string()});
  }
  const auto has_it = [&](const Chosen& choice) { return choice.weights.variant == variant; };
  if (std::ranges::none_of(chosen, has_it)) {
    throw Error(ErrorCode::invalid_argument, "no component of the pipeline has weights of the variant",
                {.file = folder.string(), .expected = fmt::format("'{}'", printable(variant))});
  }
  return chosen;
}

Contents open_pipeline(const fs::path& folder, const Opening& opening) {
  const io::File index = io::File::open(folder / kPipelineFile);
  const std::vector<Component> listed = read_pipeline(JsonDocument(index, opening.memory));
  const std::vector<Chosen> components = choose_all(folder, listed, opening.options.variant);
  Joiner joiner(folder.string(), opening.memory);
  for (const Chosen& component : components) {
    const Opening left{opening.location, opening.options, joiner.memory_left()};
    joiner.add(open_choice(component.folder, component.weights, left), component.prefix);
  }
  Contents contents = std::move(joiner).take(KeptPairs::of_all);
  contents.documents.push_back(index.id());
  return contents;
}

}  // namespace

Contents open_folder(const Opening& opening) {
  const fs::path folder = opening.location.path();
  std::error_code ignored;
  const bool is_pipeline = fs::exists(folder / kPipelineFile, ignored);
  return is_pipeline ? open_pipeline(folder, opening) : open_model(folder, opening);
}

}  // namespace headrace::format::set
