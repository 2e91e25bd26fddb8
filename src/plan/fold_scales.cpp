#include "plan/fold_scales.hpp"

#include "format/printable.hpp"
#include "plan/tally.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headrace::plan {
namespace {

bool is_fp8(DType dtype) noexcept {
  using enum DType;
  return dtype == F8_E4M3 || dtype == F8_E5M2 || dtype == F8_E4M3FNUZ || dtype == F8_E5M2FNUZ;
}

constexpr std::string_view kWeight = ".weight", kMark = "scaled_fp8";
constexpr std::array<std::string_view, 3> kScales = {".scale_weight", ".weight_scale", ".weight_scale_inv"};
constexpr std::array<std::string_view, 2> kInputScales = {".scale_input", ".input_scale"};

bool is_mark_name(std::string_view name) {
  return name == kMark || (name.ends_with(kMark) && name.size() > kMark.size() && name.rbegin()[kMark.size()] == '.');
}

// One number for the whole weight, or one for each index of its first dimension.
bool fits(const TensorInfo& scale, const TensorInfo& weight) {
  if (scale.elements == 1) return true;
  if (weight.shape.empty() || scale.elements != weight.shape[0] || scale.shape.empty()) return false;
  return scale.shape[0] == scale.elements;
}

// Folds one draft's scales.
class Folder {
 public:
  Folder(Draft& draft, const ScalesOfFp8& scales) : draft_(draft), scales_(scales) {}

  void run() {
    for (std::size_t i = 0; i < draft_.tensors.size(); ++i) {
      const TensorRef first = draft_.first_of(i);
      if (!is_fp8(draft_.at(first).dtype) || !has_scale(i)) continue;
      const bool waits = draft_.origins[i].why == Reason::unmeasured;
      const bool changes = !waits && draft_.tensors[i].dtype != draft_.source_of(i).dtype;
      if (changes || waits) {
        fold(i);
      } else {
        require_whole(i);
      }
      if (changes) folded_.add(draft_.tensors[i].name);
      remember(i, changes);
    }
    if (folded_.count == 0) return;
    leave_out_scales();
    draft_.notes.push_back(fmt::format("scaled FP8: the scale is folded into the weights of {}", folded_.text()));
  }

 private:
  bool has_scale(std::size_t i) const {
    return std::ranges::any_of(draft_.ranges_of(i),
                               [&](const Range& range) { return scales_.scale_of(range.from).has_value(); });
  }

  void remember(std::size_t i, bool is_folded) {
    for (const Range& range : draft_.ranges_of(i)) {
      (is_folded ? folded_weights_ : kept_weights_).insert(std::pair(range.from.source, range.from.tensor));
      if (!is_folded) kept_in_.insert(range.from.source);
    }
  }

  // Numbers that stay as they are belong to their scale.
  void require_whole(std::size_t i) const {
    if (!draft_.derived_of(i)) return;
    throw Error(ErrorCode::unsupported, "joined or cut as they are, 8-bit floats would be parted from their scale",
                {.file = draft_.file_of(i).name(),
                 .tensor = format::printable(draft_.tensors[i].name),
                 .hint = "--type f16 (or another type) folds the scale in"});
  }

  void fold(std::size_t i) {
    const TensorInfo old = draft_.source_of(i);
    std::vector<Range> ranges = draft_.ranges_of(i);
    for (Range& range : ranges) {
      range.scale = scales_.scale_of(range.from);
      if (range.scale) require_usable(range);
    }
    TensorInfo info = old;
    info.dtype = DType::F32;
    info.bytes = info.elements * sizeof(float);  // four times what fits a file
    info.encoding = Encoding::scaled;
    Origin& origin = draft_.origins[i];
    if (origin.source == Origin::kDerived) {
      draft_.derived[origin.tensor] = {info, std::move(ranges)};
      return;
    }
    origin.source = Origin::kDerived;
    origin.tensor = static_cast<std::uint32_t>(draft_.derived.size());
    draft_.derived.push_back({info, std::move(ranges)});
  }

  void require_usable(const Range& range) const {
    const TensorInfo &weight = draft_.at(range.from), &scale = draft_.at(*range.scale);
    const io::ByteSource& file = draft_.file_of(*range.scale);
    if (!fits(scale, weight) || !is_float(scale.dtype)) {
      throw Error(ErrorCode::unsupported, "the scale of 8-bit floats has a shape that Headrace doesn't know",
                  {.file = file.name(),
                   .tensor = format::printable(scale.name),
                   .expected = weight.shape.empty() ? "one number" : fmt::format("one number, or {}", weight.shape[0]),
                   .found = fmt::format("{} of {}", to_string(scale.shape), name(scale.dtype)),
                   .hint = "without a type the weights and their scale stay as they are"});
    }
    if (file.access() != Access::forward || scale.offset < weight.offset) return;
    throw Error(ErrorCode::unsupported, "the scale comes after its weights, which a stream brings only once",
                {.file = file.name(),
                 .tensor = format::printable(weight.name),
                 .offset = scale.offset,
                 .expected = fmt::format("'{}' before byte {}", format::printable(scale.name), weight.offset),
                 .hint = "save it to a file first, and give that"});
  }

  // Scales that all weights have taken in, and the mark when no scale is left.
  void leave_out_scales() {
    std::vector<bool> out(draft_.tensors.size());
    for (std::size_t i = 0; i < draft_.tensors.size(); ++i) {
      const TensorRef ref = draft_.first_of(i);
      if (!scales_.is_scale(ref) || draft_.origins[i].why != Reason::scale) continue;  // or a rule keeps it
      const auto weight = scales_.weight_of(ref);
      const auto of = weight ? std::pair(weight->source, weight->tensor) : std::pair(0U, 0U);
      const bool is_idle = scales_.is_mark(ref) ? !kept_in_.contains(ref.source)
                                                : weight && folded_weights_.contains(of) && !kept_weights_.contains(of);
      if (is_idle) draft_.drop(i, "folded into its weights", out);
    }
    draft_.leave_out(out);
  }

  struct HashOfPair {
    std::size_t operator()(std::pair<std::uint32_t, std::uint32_t> pair) const noexcept {
      return std::hash<std::uint64_t>()((std::uint64_t{pair.first} << 32) | pair.second);
    }
  };
  using Refs = std::unordered_set<std::pair<std::uint32_t, std::uint32_t>, HashOfPair>;

  Draft& draft_;
  const ScalesOfFp8& scales_;
  Tally folded_;
  std::unordered_set<std::uint32_t> kept_in_;  // sources that have weights which stay
  Refs folded_weights_, kept_weights_;
};

}  // namespace

ScalesOfFp8::ScalesOfFp8(const Draft& draft) {
  for (std::uint32_t source = 0; source < draft.sources.size(); ++source) {
    const format::TensorTable& table = draft.sources[source]->header.tensors;
    const auto tensors = table.tensors();
    bool any = false;
    std::string other;
    const auto enter = [&](TensorRef weight, std::string_view name, bool of_weights) {
      const auto at = table.find(name);
      if (!at || *at == weight.tensor) return;
      const TensorRef scale{source, static_cast<std::uint32_t>(*at)};
      if (of_weights) scale_of_.emplace(key(weight), scale);
      scales_.emplace(key(scale), weight);
      any = true;
    };
    for (std::uint32_t i = 0; i < tensors.size(); ++i) {
      const std::string_view name = tensors[i].name;
      if (!is_fp8(tensors[i].dtype)) continue;
      const TensorRef weight{source, i};
      if (!name.ends_with(kWeight)) {
        enter(weight, std::string(name) + "_scale", true);
        continue;
      }
      const std::string base(name.substr(0, name.size() - kWeight.size()));
      for (const std::string_view ending : kScales) enter(weight, base + std::string(ending), true);
      for (const std::string_view ending : kInputScales) enter(weight, base + std::string(ending), false);
    }
    for (std::uint32_t i = 0; any && i < tensors.size(); ++i) {
      if (is_mark_name(tensors[i].name)) marks_.insert(key({source, i}));
    }
  }
}

std::optional<TensorRef> ScalesOfFp8::scale_of(TensorRef weight) const {
  const auto at = scale_of_.find(key(weight));
  return at == scale_of_.end() ? std::nullopt : std::optional(at->second);
}

std::optional<TensorRef> ScalesOfFp8::weight_of(TensorRef scale) const {
  const auto at = scales_.find(key(scale));
  return at == scales_.end() ? std::nullopt : std::optional(at->second);
}

void fold_scales(Draft& draft, const ScalesOfFp8& scales) { Folder(draft, scales).run(); }

}  // namespace headrace::plan
