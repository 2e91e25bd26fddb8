#include "plan/derive.hpp"

#include "base/checked.hpp"
#include "format/name_index.hpp"
#include "format/printable.hpp"
#include "plan/shape_list.hpp"
#include "plan/shapes.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

namespace headrace::plan {
namespace {

constexpr std::string_view kNumber = "{}";  // stands for the same number in all names of one option

// The digits for which `name` is `pattern`; "" where the pattern has no number and is the name; nothing otherwise.
std::optional<std::string_view> number_in(std::string_view pattern, std::string_view name) {
  const std::size_t at = pattern.find(kNumber);
  if (at == pattern.npos) return pattern == name ? std::optional<std::string_view>("") : std::nullopt;
  const std::string_view head = pattern.substr(0, at);
  if (!name.starts_with(head)) return std::nullopt;
  const std::size_t digits = std::min(name.find_first_not_of("0123456789", at), name.size()) - at;
  if (digits == 0) return std::nullopt;
  const std::string_view number = name.substr(at, digits);
  std::string whole(pattern);
  for (std::size_t hole = whole.find(kNumber); hole != whole.npos; hole = whole.find(kNumber, hole + digits))
    whole.replace(hole, kNumber.size(), number);
  return whole == name ? std::optional(number) : std::nullopt;
}

std::string filled(std::string_view pattern, std::string_view number) {
  std::string name(pattern);
  for (std::size_t hole = name.find(kNumber); hole != name.npos; hole = name.find(kNumber, hole + number.size()))
    name.replace(hole, kNumber.size(), number);
  return name;
}

// Elements behind one index of the first dimension.
std::uint64_t slice_of(const TensorInfo& tensor) {
  return tensor.shape.empty() || tensor.shape[0] == 0 ? tensor.elements : tensor.elements / tensor.shape[0];
}

// Works on a draft's list, found by name.
class Deriver {
  auto name_of() const {
    return [this](std::size_t i) { return draft_.tensors[i].name; };
  }

 public:
  explicit Deriver(Draft& draft) : draft_(draft), out_(draft.tensors.size()) {
    recorded_.reserve(draft.sources.size());
    for (const Source& source : draft.sources) recorded_.emplace_back(source->header);
    index_.reserve(draft.tensors.size(), name_of());
    for (std::size_t i = 0; i < draft.tensors.size(); ++i) index_.add(draft.tensors[i].name, name_of());
  }

  void cut(const Split& split) {
    const std::size_t count = draft_.tensors.size();
    bool any = false;
    for (std::size_t i = 0; i < count; ++i) {
      if (out_[i]) continue;
      const auto number = number_in(split.name, draft_.tensors[i].name);
      if (!number) continue;
      any = true;
      cut_one(i, split, std::string(*number));
    }
    if (!any) refuse_missing("--split", split.name);
  }

  void join(const Concat& concat) {
    const std::size_t count = draft_.tensors.size();
    bool any = false;
    for (std::size_t i = 0; i < count; ++i) {
      if (out_[i]) continue;
      const auto number = number_in(concat.parts.front(), draft_.tensors[i].name);
      if (!number) continue;
      any = true;
      join_one(i, concat, std::string(*number));
    }
    if (!any) refuse_missing("--concat", concat.parts.front());
  }

  // New tensors stand at the end so far; they belong where their first part was.
  void finish() {
    std::ranges::stable_sort(made_, {}, [](const auto& made) { return made.first; });
    std::vector<TensorInfo> tensors;
    std::vector<Origin> origins;
    tensors.reserve(draft_.tensors.size());
    origins.reserve(draft_.tensors.size());
    const auto place = [&](const auto& self, std::size_t i) -> void {
      if (!out_[i]) {
        tensors.push_back(draft_.tensors[i]);
        origins.push_back(draft_.origins[i]);
      }
      auto at = std::ranges::lower_bound(made_, i, {}, [](const auto& made) { return made.first; });
      for (; at != made_.end() && at->first == i; ++at) self(self, at->second);
    };
    for (std::size_t i = 0; i < first_made_; ++i) place(place, i);
    draft_.tensors = std::move(tensors);
    draft_.origins = std::move(origins);
    draft_.renamed = true;
    refuse_duplicates(draft_, "--rename gives one of them another name");
  }

 private:
  [[noreturn]] void refuse_missing(std::string_view option, std::string_view name) const {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: there is no tensor '{}'", option, format::printable(name)),
                {.hint = "'headrace inspect FILE --tensors' lists the names; --rename comes first"});
  }

  Error error_about(std::size_t i, ErrorCode code, std::string problem, std::string expected, std::string found) const {
    return {code,
            std::move(problem),
            {.file = draft_.file_of(i).name(),
             .tensor = format::printable(draft_.tensors[i].name),
             .expected = std::move(expected),
             .found = std::move(found)}};
  }

  // Adds a tensor made of `ranges`, which stands where tensor `place` is.
  void add(std::size_t place, const std::string& name, TensorInfo info, std::vector<Range> ranges) {
    info.name = draft_.texts.copy(name);
    const TensorInfo& first = draft_.at(ranges.front().from);
    info.file = first.file;
    info.offset = first.offset;
    const bool plain = ranges.size() == 1 && first.encoding == Encoding::plain;
    info.encoding = plain ? Encoding::plain : Encoding::joined;
    if (first.encoding == Encoding::plain) info.offset += *bytes_of(first.dtype, ranges.front().first_element);
    const auto bytes = bytes_of(info.dtype, info.elements);
    if (!bytes) throw error_about(place, ErrorCode::unsupported, "the new tensor is too large", "", name);
    info.bytes = *bytes;
    draft_.origins.push_back(
        {.source = Origin::kDerived, .tensor = static_cast<std::uint32_t>(draft_.derived.size()), .why = Reason::kept});
    draft_.derived.push_back({info, std::move(ranges)});
    TensorInfo out = info;
    out.encoding = Encoding::plain;
    out.file = 0;
    draft_.tensors.push_back(out);
    out_.push_back(false);
    made_.emplace_back(place, draft_.tensors.size() - 1);
    made_by_name_[out.name] = draft_.tensors.size() - 1;
  }

  // Of a tensor's elements, those of a run, wherever they are.
  void append_ranges(std::size_t i, std::uint64_t first, std::uint64_t elements, std::vector<Range>& to) const {
    for (const Range& range : draft_.ranges_of(i)) {
      const std::uint64_t skip = std::min(first, range.elements);
      const std::uint64_t take = std::min(elements, range.elements - skip);
      if (take > 0) to.push_back({range.from, range.first_element + skip, take});
      first -= skip;
      elements -= take;
    }
  }

  // What has no first dimension can't be cut or joined along it.
  void require_rows(std::size_t i, std::string_view option) const {
    const TensorInfo& tensor = draft_.tensors[i];
    const auto refuse = [&](std::string_view why, std::string found) {
      throw error_about(i, ErrorCode::invalid_argument, fmt::format("{}: {}", option, why), "", std::move(found));
    };
    if (shape_of(i).empty()) refuse("a scalar has no rows", "");
    if (is_text(tensor)) refuse("texts have no rows", "");
  }

  // As it was before it came into a GGUF, which may have merged its first dimensions.
  Shape shape_of(std::size_t i) const {
    const Origin& origin = draft_.origins[i];
    const auto recorded =
        origin.source == Origin::kDerived ? std::nullopt : recorded_[origin.source].find(origin.tensor);
    return recorded.value_or(draft_.tensors[i].shape);
  }

  void cut_one(std::size_t i, const Split& split, const std::string& number) {
    require_rows(i, "--split");
    TensorInfo whole = draft_.tensors[i];
    whole.shape = shape_of(i);
    const std::uint64_t rows = whole.shape[0];
    std::optional<std::uint64_t> sum = 0;
    const bool equal = split.parts.front().rows == 0;
    for (const Split::Part& part : split.parts) sum = sum ? base::checked_add(*sum, part.rows) : sum;
    if (equal ? rows % split.parts.size() != 0 || rows == 0 : sum != rows) {
      throw error_about(i, ErrorCode::invalid_argument, "--split: the rows don't add up",
                        equal ? fmt::format("a multiple of {}", split.parts.size())
                        : sum ? fmt::to_string(*sum)
                              : "fewer than 2^64",
                        to_string(whole.shape));
    }
    std::uint64_t first = 0;
    for (const Split::Part& part : split.parts) {
      const std::uint64_t some = equal ? rows / split.parts.size() : part.rows;
      add_part(i, filled(part.name, number), first, some);
      first += some;
    }
    out_[i] = true;
  }

  void add_part(std::size_t i, const std::string& name, std::uint64_t first_row, std::uint64_t rows) {
    TensorInfo whole = draft_.tensors[i];
    whole.shape = draft_.texts.copy(shape_of(i));
    const std::uint64_t slice = slice_of(whole), block = info(whole.dtype).block_elements;
    if (first_row * slice % block != 0 || rows * slice % block != 0) {
      throw error_about(i, ErrorCode::unsupported, "--split would cut a block of numbers in two",
                        fmt::format("rows that are whole blocks of {}", block), to_string(whole.shape));
    }
    std::vector<std::uint64_t> shape(whole.shape.begin(), whole.shape.end());
    shape[0] = rows;
    TensorInfo info = whole;
    info.shape = draft_.texts.copy(Shape(shape));
    info.elements = rows * slice;
    std::vector<Range> ranges;
    append_ranges(i, first_row * slice, info.elements, ranges);
    if (ranges.empty()) ranges = {{draft_.first_of(i), 0, 0}};
    add(i, name, info, std::move(ranges));
  }

  std::size_t part_named(const std::string& name) const {
    const auto at = index_.find(name, name_of());
    if (at && !out_[*at]) return *at;
    const auto made = made_by_name_.find(name);
    if (made != made_by_name_.end() && !out_[made->second]) return made->second;
    refuse_missing("--concat", name);
  }

  void join_one(std::size_t place, const Concat& concat, const std::string& number) {
    require_rows(place, "--concat");
    TensorInfo info = draft_.tensors[place];
    const Shape first = shape_of(place);
    std::vector<std::uint64_t> shape(first.begin(), first.end());
    shape[0] = 0;
    info.elements = 0;
    std::vector<Range> ranges;
    for (const std::string& pattern : concat.parts) {
      const std::size_t i = part_named(filled(pattern, number));
      require_fits(place, i);
      const TensorInfo& part = draft_.tensors[i];
      const std::uint64_t rows = shape_of(i)[0];
      shape[0] += rows;
      const auto sum = base::checked_add(info.elements, part.elements);
      if (!sum || shape[0] < rows)
        throw error_about(i, ErrorCode::unsupported, "--concat: the new tensor is too large", "", "");
      info.elements = *sum;
      append_ranges(i, 0, part.elements, ranges);
      out_[i] = true;
    }
    if (ranges.empty()) ranges = {{draft_.first_of(place), 0, 0}};
    info.shape = draft_.texts.copy(Shape(shape));
    add(place, filled(concat.name, number), info, std::move(ranges));
  }

  void require_fits(std::size_t first, std::size_t i) const {
    const TensorInfo &a = draft_.tensors[first], &b = draft_.tensors[i];
    if (draft_.file_of(i).access() == Access::forward) {
      throw Error(ErrorCode::unsupported, "what a stream brings can't be joined: its order is the stream's",
                  {.file = draft_.file_of(i).name(),
                   .tensor = format::printable(b.name),
                   .hint = "save it to a file first, and give that"});
    }
    require_rows(i, "--concat");
    const Shape like = shape_of(first), shape = shape_of(i);
    const bool fits =
        a.dtype == b.dtype && like.size() == shape.size() && std::ranges::equal(like.subspan(1), shape.subspan(1));
    if (fits && b.elements % info(b.dtype).block_elements == 0) return;
    throw error_about(i, ErrorCode::invalid_argument, "--concat: the parts don't fit each other",
                      fmt::format("{} of {}, but for the first dimension", to_string(like), name(a.dtype)),
                      fmt::format("{} of {}", to_string(shape), name(b.dtype)));
  }

  static bool is_text(const TensorInfo& tensor) { return info(tensor.dtype).kind == DTypeKind::text; }

  Draft& draft_;
  format::NameIndex index_;               // of what was there before
  std::vector<RecordedShapes> recorded_;  // of each source
  std::vector<bool> out_;
  std::vector<std::pair<std::size_t, std::size_t>> made_;  // (where it belongs, the new one)
  std::unordered_map<std::string_view, std::size_t> made_by_name_;
  const std::size_t first_made_ = out_.size();
};

}  // namespace

void derive(Draft& draft) {
  const Shaping& shaping = draft.options.shaping;
  if (shaping.splits.empty() && shaping.concats.empty()) return;
  Deriver deriver(draft);
  for (const Split& split : shaping.splits) deriver.cut(split);
  for (const Concat& concat : shaping.concats) deriver.join(concat);
  deriver.finish();
}

}  // namespace headrace::plan
