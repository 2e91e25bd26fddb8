#include "format/set/pipeline.hpp"

#include "format/printable.hpp"
#include "io/location.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace headrace::format::set {
namespace {

constexpr std::size_t kMostComponents = 256;
constexpr std::size_t kMostOfAName = 255;  // what a folder's name can have

// Classes that hold no weights end so.
constexpr std::array<std::string_view, 7> kWeightless = {
    "Scheduler", "Tokenizer", "TokenizerFast", "FeatureExtractor", "ImageProcessor", "Processor", "Guider"};

std::string prefix_of(const std::string& folder, std::string_view class_name) {
  if (folder == "transformer" || folder == "unet") return "model.diffusion_model.";
  if (folder == "vae") return "vae.";
  if (folder.starts_with("text_encoder")) {
    if (class_name.starts_with("T5") || class_name.starts_with("UMT5")) return "text_encoders.t5xxl.transformer.";
    if (class_name.starts_with("CLIP") && folder == "text_encoder") return "text_encoders.clip_l.transformer.";
    if (class_name.starts_with("CLIP") && folder == "text_encoder_2") return "text_encoders.clip_g.transformer.";
  }
  return folder + ".";
}

// The class of ["library", "Class"]; nothing for settings of the pipeline and for components that are left out.
std::optional<std::string_view> class_of(simdjson::dom::element value) {
  simdjson::dom::array pair;
  std::string_view library, class_name;
  if (value.get(pair) || pair.size() != 2) return std::nullopt;
  if (pair.at(0).get(library) || pair.at(1).get(class_name)) return std::nullopt;
  return class_name;
}

void require_folder_name(std::string_view name, const std::string& file) {
  const bool plain =
      name.size() <= kMostOfAName && io::stays_inside(name) && name != "." && name.find('/') == name.npos;
  if (plain) return;
  throw Error(ErrorCode::format, "a component's name is no name of a folder",
              {.file = file, .found = fmt::format("'{}'", printable(name))});
}

// Tensors of two models under one prefix could be taken for one model's.
void refuse_same(const std::vector<Component>& known, const Component& next, const std::string& file) {
  for (const Component& other : known) {
    if (other.folder == next.folder) {
      throw Error(ErrorCode::format, "a component is listed twice",
                  {.file = file, .found = fmt::format("'{}'", printable(next.folder))});
    }
    if (other.prefix != next.prefix) continue;
    throw Error(ErrorCode::conflict, "two components would have one prefix",
                {.file = file,
                 .found = fmt::format("'{}' for '{}' and '{}'", printable(next.prefix), printable(other.folder),
                                      printable(next.folder)),
                 .hint = "give the components' folders one by one: --component PREFIX=FOLDER"});
  }
}

}  // namespace

std::vector<Component> read_pipeline(const JsonDocument& document) {
  simdjson::dom::object root;
  if (document.root().get(root))
    throw Error(ErrorCode::format, "this is no list of components", {.file = document.file(), .expected = "an object"});
  std::vector<Component> components;
  for (const auto field : root) {
    const auto class_name = class_of(field.value);
    if (!class_name || field.key.starts_with('_')) continue;
    require_folder_name(field.key, document.file());
    Component component;
    component.folder = field.key;
    component.class_name = printable(*class_name);
    component.prefix = prefix_of(component.folder, *class_name);
    const auto ends_so = [&](std::string_view end) { return class_name->ends_with(end); };
    component.needs_weights = std::ranges::none_of(kWeightless, ends_so);
    refuse_same(components, component, document.file());
    if (components.size() == kMostComponents)
      throw Error(ErrorCode::unsupported, "a pipeline with too many components", {.file = document.file()});
    components.push_back(std::move(component));
  }
  return components;
}

}  // namespace headrace::format::set
