#include "base/checked.hpp"
#include "flow/loading/loader.hpp"
#include "flow/measure.hpp"
#include "format/printable.hpp"
#include "plan/draft.hpp"
#include "plan/in_memory.hpp"
#include "plan/metadata_map.hpp"

#include <headrace/convert.hpp>
#include <headrace/error.hpp>
#include <headrace/load.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace headrace {
namespace {

using flow::Loader;

void check_options(const LoadOptions& options) {
  if ((options.alignment & (options.alignment - 1)) != 0) {
    throw Error(ErrorCode::invalid_argument, "an alignment is a power of two",
                {.found = std::to_string(options.alignment)});
  }
}

// "'a', 'b' and 3 more"
std::string some_of(const std::vector<std::string_view>& names) {
  constexpr std::size_t kMost = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i)
    text += fmt::format("{}'{}'", i == 0 ? "" : ", ", format::printable(names[i]));
  if (names.size() > kMost) text += fmt::format(" and {} more", names.size() - kMost);
  return text;
}

// Before a tensor is read: the names are those that were asked for, no more and no fewer.
void require_names(const Plan::Impl& plan, const std::vector<std::string>& expected) {
  const std::set<std::string_view> wanted(expected.begin(), expected.end());
  std::set<std::string_view> there;
  std::vector<std::string_view> unexpected, missing;
  for (const TensorInfo& tensor : plan.tensors) {
    there.insert(tensor.name);
    if (!wanted.contains(tensor.name)) unexpected.push_back(tensor.name);
  }
  for (const std::string_view name : wanted) {
    if (!there.contains(name)) missing.push_back(name);
  }
  if (unexpected.empty() && missing.empty()) return;
  std::string found;
  if (!missing.empty()) found = fmt::format("{} missing: {}", missing.size(), some_of(missing));
  if (!unexpected.empty())
    found += fmt::format("{}{} unexpected: {}", found.empty() ? "" : "; ", unexpected.size(), some_of(unexpected));
  throw Error(ErrorCode::conflict, "the checkpoint's tensors aren't those that are expected",
              {.file = plan.output.string(),
               .expected = fmt::format("{} names", wanted.size()),
               .found = found,
               .hint = "rename or select tensors, or don't be strict"});
}

std::shared_ptr<const Plan::Impl> plan_loading(const std::string& location, const LoadOptions& options) {
  const Input input{location};
  const ConvertOptions conversion = plan::conversion_into_memory(options);
  plan::Request request{.inputs = std::span(&input, 1),
                        .output = {},
                        .to = Format::safetensors,
                        .options = conversion,
                        .in_memory = true};
  auto plan = plan::resolve(plan::draft_conversion(request));
  if (!plan->unmeasured.empty()) {
    const plan::Measured measured = flow::measure(*plan, options.on_progress, options.source.cancel);
    request.opened = &plan->sources;
    request.measured = &measured;
    plan = plan::resolve(plan::draft_conversion(request));
  }
  if (options.strict) require_names(*plan, *options.strict);
  if (options.on_plan) options.on_plan(plan->tensors);
  return plan;
}

std::unique_ptr<Loader> start(const std::string& location, std::shared_ptr<Device> device, const LoadOptions& options,
                              Loader::Held held) {
  const auto begun = Loader::Clock::now();
  check_options(options);
  if (!device) throw Error(ErrorCode::invalid_argument, "there is no device to load to");
  return std::make_unique<Loader>(plan_loading(location, options), std::move(device), options, held, begun);
}

// A source's pairs, and what has to be known to say them in the language of another format.
struct SourcePairs {
  const Metadata& metadata;
  Format from;
  bool retyped;  // some tensor

  Metadata in(std::optional<Format> to, std::span<const TensorInfo> tensors) const {
    std::vector<std::string> notes;
    if (to != Format::gguf) return plan::metadata_for_safetensors(metadata, notes);
    const plan::KeySet none;
    const plan::GgufMetadata gguf{
        .tensors = tensors, .retyped = retyped, .architecture = {}, .file_type = {}, .unusable = none};
    return from == Format::gguf ? gguf.from_gguf(metadata, notes) : gguf.from_pairs(metadata, notes);
  }
};

Format format_of(const Plan::Impl& plan) { return plan.sources.front()->header.format; }

}  // namespace

struct WeightStream::Impl {
  std::unique_ptr<Loader> loader;
  std::string location;  // as errors call it
};

WeightStream::WeightStream(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
WeightStream::WeightStream(WeightStream&&) noexcept = default;
WeightStream& WeightStream::operator=(WeightStream&&) noexcept = default;
WeightStream::~WeightStream() = default;

std::optional<LoadedTensor> WeightStream::next() { return impl_->loader->next(); }
std::size_t WeightStream::size() const noexcept { return impl_->loader->plan().tensors.size(); }
const std::string& WeightStream::location() const noexcept { return impl_->location; }
const Metadata& WeightStream::metadata() const noexcept { return *impl_->loader->plan().metadata; }
Metadata WeightStream::metadata_for(Format to) const {
  const Plan::Impl& plan = impl_->loader->plan();
  return SourcePairs{*plan.metadata, format_of(plan), plan.retyped()}.in(to, plan.tensors);
}
Progress WeightStream::progress() const noexcept { return impl_->loader->progress(); }
LoadReport WeightStream::report() const { return impl_->loader->report(); }

WeightStream stream(const std::string& location, std::shared_ptr<Device> device, const LoadOptions& options) {
  // Who takes tensors may let go of them.
  auto loader = start(location, std::move(device), options, Loader::Held::some);
  std::string name = loader->plan().output.string();
  return WeightStream(std::make_unique<WeightStream::Impl>(WeightStream::Impl{std::move(loader), std::move(name)}));
}

WeightStream stream(const std::string& location, std::string_view device, const LoadOptions& options) {
  return stream(location, open_device(device), options);
}

struct Weights::Impl {
  std::string location;  // as errors call it
  Format from = Format::safetensors;
  std::vector<LoadedTensor> tensors;
  std::map<std::string, std::size_t, std::less<>> by_name;
  std::shared_ptr<const Metadata> metadata;
  LoadReport report;
  bool retyped = false;

  Metadata metadata_for(std::optional<Format> to) const;
  std::size_t index_of(std::string_view name) const {
    const auto at = by_name.find(name);
    if (at != by_name.end()) return at->second;
    throw Error(ErrorCode::invalid_argument, "there is no tensor of this name",
                {.file = location, .tensor = format::printable(name)});
  }
};

Metadata Weights::Impl::metadata_for(std::optional<Format> to) const {
  std::vector<TensorInfo> infos;
  for (const LoadedTensor& tensor : tensors) {
    TensorInfo info;
    info.name = tensor.name;
    info.shape = tensor.shape;
    info.elements = *base::checked_product(tensor.shape);
    info.bytes = tensor.bytes();
    info.dtype = tensor.dtype;
    infos.push_back(info);
  }
  return SourcePairs{*metadata, from, retyped}.in(to, infos);
}

Weights::Weights(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Weights::Weights(Weights&&) noexcept = default;
Weights& Weights::operator=(Weights&&) noexcept = default;
Weights::~Weights() = default;

std::size_t Weights::size() const noexcept { return impl_->tensors.size(); }
std::vector<LoadedTensor>::const_iterator Weights::begin() const noexcept { return impl_->tensors.begin(); }
std::vector<LoadedTensor>::const_iterator Weights::end() const noexcept { return impl_->tensors.end(); }

const LoadedTensor* Weights::find(std::string_view name) const noexcept {
  const auto at = impl_->by_name.find(name);
  return at == impl_->by_name.end() ? nullptr : &impl_->tensors[at->second];
}

const LoadedTensor& Weights::at(std::string_view name) const { return impl_->tensors[impl_->index_of(name)]; }

LoadedTensor Weights::take(std::string_view name) {
  const std::size_t index = impl_->index_of(name);
  LoadedTensor taken = std::move(impl_->tensors[index]);
  impl_->tensors.erase(impl_->tensors.begin() + static_cast<std::ptrdiff_t>(index));
  impl_->by_name.erase(impl_->by_name.find(name));
  for (auto& [other, at] : impl_->by_name) at -= at > index ? 1 : 0;
  return taken;
}

const std::string& Weights::location() const noexcept { return impl_->location; }
const Metadata& Weights::metadata() const noexcept { return *impl_->metadata; }
const LoadReport& Weights::report() const noexcept { return impl_->report; }

void Weights::save(const std::filesystem::path& path, WriterOptions options) const {
  std::vector<TensorSpec> specs;
  for (const LoadedTensor& tensor : impl_->tensors) {
    if (tensor.host_bytes().size() != tensor.bytes()) {
      throw Error(ErrorCode::unsupported, "these weights were streamed to a device, and the host has no copy to save",
                  {.file = path.string(),
                   .tensor = format::printable(tensor.name),
                   .found = "on " + tensor.buffer.device()->name(),
                   .hint = "load them with keep_host_copy, or convert " + impl_->location + " instead"});
    }
    specs.push_back({tensor.name, tensor.dtype, tensor.shape});
  }
  Metadata metadata = impl_->metadata_for(options.to ? options.to : format_of_suffix(path));
  for (std::size_t i = 0; i < options.metadata.size(); ++i) {
    const MetadataValue value = options.metadata.value(i);
    metadata.set(options.metadata.key(i), value.type(), value.bytes());
  }
  options.metadata = std::move(metadata);
  CheckpointWriter writer(path, specs, options);
  for (const LoadedTensor& tensor : impl_->tensors) writer.write(tensor.name, tensor.host_bytes());
  writer.commit();
}

Weights load(const std::string& location, std::shared_ptr<Device> device, const LoadOptions& options) {
  const auto loader = start(location, std::move(device), options, Loader::Held::all);
  auto weights = std::make_unique<Weights::Impl>();
  weights->location = loader->plan().output.string();
  weights->metadata = loader->plan().metadata;
  weights->from = format_of(loader->plan());
  weights->retyped = loader->plan().retyped();
  weights->tensors.reserve(loader->plan().tensors.size());
  while (auto tensor = loader->next()) {
    if (options.on_tensor) options.on_tensor(tensor->name, *tensor);
    weights->tensors.push_back(std::move(*tensor));
  }
  std::ranges::sort(weights->tensors, {}, &LoadedTensor::index);
  for (std::size_t i = 0; i < weights->tensors.size(); ++i) weights->by_name[weights->tensors[i].name] = i;
  weights->report = loader->report();
  return Weights(std::move(weights));
}

Weights load(const std::string& location, std::string_view device, const LoadOptions& options) {
  return load(location, open_device(device), options);
}

}  // namespace headrace
