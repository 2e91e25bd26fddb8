#include "plan/plan.hpp"
#include "io/file.hpp"

#include <headrace/plan.hpp>

#include <algorithm>

namespace headrace {

std::span<const Input> Plan::inputs() const noexcept { return impl_->inputs; }
Format Plan::from(std::size_t input) const noexcept { return impl_->sources[input]->header.format; }
const std::filesystem::path& Plan::output() const noexcept { return impl_->output; }
Format Plan::to() const noexcept { return impl_->to; }
std::span<const DroppedTensor> Plan::dropped() const noexcept { return impl_->dropped; }
std::size_t Plan::unmeasured() const noexcept { return impl_->unmeasured.size(); }
const ConvertOptions& Plan::options() const noexcept { return impl_->options; }
std::size_t Plan::size() const noexcept { return impl_->tensors.size(); }
const Metadata& Plan::metadata() const noexcept { return *impl_->metadata; }
std::span<const std::string> Plan::notes() const noexcept { return impl_->notes; }
std::uint64_t Plan::source_bytes() const noexcept { return impl_->source_bytes; }
std::uint64_t Plan::header_bytes() const noexcept { return impl_->outputs.header_bytes(); }
std::uint64_t Plan::output_bytes() const noexcept { return impl_->outputs.file_bytes(); }
std::size_t Plan::output_files() const noexcept { return impl_->outputs.parts.size(); }
const std::filesystem::path& Plan::output_file(std::size_t i) const noexcept { return impl_->outputs.parts[i].path; }

const std::filesystem::path& Plan::output_index() const noexcept {
  static const std::filesystem::path none;
  return impl_->outputs.index ? impl_->outputs.index->path : none;
}

bool Plan::is_input(const std::filesystem::path& file) const {
  const auto id = io::file_id(file);
  return id && impl_->is_input(*id);
}

bool Plan::is_made_of(std::size_t i, std::string_view source_name) const noexcept {
  const plan::Derived* derived = impl_->derived_of(i);
  if (!derived) return impl_->source_of(i).name == source_name;
  return std::ranges::any_of(derived->ranges,
                             [&](const plan::Range& range) { return impl_->at(range.from).name == source_name; });
}

PlannedTensor Plan::operator[](std::size_t i) const noexcept {
  const TensorInfo& made_of = impl_->source_of(i);
  const TensorInfo& from = impl_->at(impl_->first_of(i));
  const TensorInfo& to = impl_->tensors[i];
  const plan::Origin& origin = impl_->origins[i];
  PlannedTensor tensor;
  tensor.name = to.name;
  tensor.source_name = from.name;
  tensor.input = impl_->first_of(i).source;
  if (const plan::Derived* derived = impl_->derived_of(i)) {
    const auto& ranges = derived->ranges;
    tensor.sources = ranges.size();
    tensor.is_part = ranges.size() == 1 && ranges.front().elements != from.elements;
    tensor.scaled = made_of.encoding == Encoding::scaled;
  }
  tensor.shape = to.shape;
  tensor.source_shape = made_of.shape;
  tensor.from = from.dtype;
  tensor.to = to.dtype;
  tensor.why = origin.why;
  tensor.importance = origin.importance;
  tensor.asked = impl_->options.type;
  if (impl_->options.recipe && !tensor.asked) tensor.asked = info(impl_->options.recipe->recipe).type;
  if (const Rule* rule = impl_->rule_of(i)) {
    if (rule->action.kind == Action::Kind::type) tensor.asked = rule->action.types.front();
    tensor.rule = impl_->rule_text_of(i);
    tensor.by_profile = origin.by_profile;
  }
  tensor.source_bytes = impl_->bytes_in_inputs(i);
  tensor.bytes = to.bytes;
  tensor.file = to.file;
  tensor.offset = to.offset;
  return tensor;
}

}  // namespace headrace
