#include "residency/differences.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <unordered_set>

namespace headrace::residency {
namespace {

// As lines of one error.
class Differences {
 public:
  void add(const char* kind, std::string_view name, const std::string& how = {}) {
    constexpr std::size_t kMostTold = 50;
    if (++count_ > kMostTold) return;
    text_ += fmt::format("{}{} '{}'{}", text_.empty() ? "" : "; ", kind, format::printable(name), how);
  }
  bool empty() const noexcept { return count_ == 0; }
  std::string text() const { return fmt::format("{} difference{}: {}", count_, count_ == 1 ? "" : "s", text_); }

 private:
  std::size_t count_ = 0;
  std::string text_;
};

}  // namespace

void require(const DiskMap& map, std::span<const TensorSpec> specs, const std::string& file) {
  Differences differences;
  std::unordered_set<std::string_view> wanted;
  for (const TensorSpec& spec : specs) {
    wanted.insert(spec.name);
    const TensorInfo* info = map.find(spec.name);
    if (info == nullptr) {
      differences.add("missing", spec.name);
    } else if (!std::ranges::equal(info->shape, spec.shape)) {
      differences.add("mismatched", spec.name,
                      fmt::format(": {} instead of {}", to_string(info->shape), to_string(Shape(spec.shape))));
    } else if (spec.from && info->dtype != *spec.from) {
      differences.add("mismatched", spec.name,
                      fmt::format(": {} instead of {}", headrace::name(info->dtype), headrace::name(*spec.from)));
    }
  }
  for (const TensorInfo& info : map.tensors()) {
    if (!wanted.contains(info.name)) differences.add("unexpected", info.name);
  }
  if (differences.empty()) return;
  throw Error(ErrorCode::conflict, "the checkpoint's tensors aren't those that are expected",
              {.file = file, .expected = fmt::format("{} tensors", specs.size()), .found = differences.text()});
}

}  // namespace headrace::residency
