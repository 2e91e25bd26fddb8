#include "format/set/weight_map.hpp"

#include "format/printable.hpp"
#include "format/set/members.hpp"
#include "io/location.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

namespace headrace::format::set {
namespace {

constexpr std::string_view kWeightMap = "weight_map";
constexpr std::uint64_t kFileBytes = 2 * sizeof(std::string);  // what a file takes beside its name, while it is sorted
constexpr std::size_t kMostOfAName = 4096;

simdjson::dom::object weight_map_of(const JsonDocument& document) {
  std::optional<simdjson::dom::object> found;
  for (const auto field : simdjson::dom::object(document.root())) {
    if (field.key != kWeightMap) continue;
    simdjson::dom::object map;
    if (field.value.get(map)) {
      throw Error(ErrorCode::format, "the index's weight_map is no object",
                  {.file = document.file(), .expected = "names of tensors with their files"});
    }
    if (found) throw Error(ErrorCode::format, "the index has more than one weight_map", {.file = document.file()});
    found = map;
  }
  return found.value();  // is_index looked for it
}

std::string_view what(simdjson::dom::element_type type) {
  switch (type) {
    case simdjson::dom::element_type::ARRAY: return "an array";
    case simdjson::dom::element_type::OBJECT: return "an object";
    case simdjson::dom::element_type::BOOL: return "true or false";
    case simdjson::dom::element_type::NULL_VALUE: return "null";
    default: return "a number";
  }
}

// An object's own count ends at 2²⁴ − 1.
std::size_t count_of(simdjson::dom::object object) {
  return static_cast<std::size_t>(std::distance(object.begin(), object.end()));
}

}  // namespace

WeightMap::WeightMap(const JsonDocument& document, std::uint64_t memory)
    : name_(document.file()), allowance_(name_, memory, document.memory()) {
  const simdjson::dom::object map = weight_map_of(document);
  const std::size_t count = count_of(map);
  if (count == 0) throw Error(ErrorCode::format, "the index names no tensors", {.file = name_});
  constexpr std::uint64_t kSlots = 4 * sizeof(std::uint32_t);  // of a name at most, in the index
  allowance_.require(count * sizeof(Entry) + std::max<std::size_t>(count, 8) * kSlots);
  entries_.reserve(count);
  tensors_.reserve(count, [&](std::size_t i) { return entries_[i].tensor; });
  read(map);
  sort_files();
}

std::uint64_t WeightMap::memory() const noexcept {
  return entries_.capacity() * sizeof(Entry) + tensors_.memory() + file_names_.memory() + file_bytes_;
}

const WeightMap::Entry* WeightMap::find(std::string_view tensor) const {
  const auto i = tensors_.find(tensor, [&](std::size_t k) { return entries_[k].tensor; });
  return i ? &entries_[*i] : nullptr;
}

void WeightMap::read(simdjson::dom::object map) {
  for (const auto field : map) {
    std::string_view file;
    if (field.value.get(file)) {
      throw Error(ErrorCode::format, "the index doesn't say where the tensor is",
                  {.file = name_,
                   .tensor = printable(field.key),
                   .expected = "the name of a file",
                   .found = std::string(what(field.value.type()))});
    }
    if (!tensors_.add(field.key, [&](std::size_t i) { return entries_[i].tensor; })) {
      throw Error(ErrorCode::format, "the index has the tensor twice", {.file = name_, .tensor = printable(field.key)});
    }
    entries_.push_back({field.key, number_of(file, field.key)});
  }
}

std::uint32_t WeightMap::number_of(std::string_view file, std::string_view tensor) {
  const auto name_of = [&](std::size_t i) -> std::string_view { return files_[i]; };
  if (const auto known = file_names_.find(file, name_of)) return static_cast<std::uint32_t>(*known);
  if (file.size() > kMostOfAName || !io::stays_inside(file)) {
    throw Error(ErrorCode::format, "the index names a file that isn't beside it",
                {.file = name_,
                 .tensor = printable(tensor),
                 .expected = "the name of a file in the same folder",
                 .found = fmt::format("'{}'", printable(file))});
  }
  if (files_.size() == kMaxFiles) {
    throw Error(ErrorCode::unsupported, "the index names too many files",
                {.file = name_, .expected = fmt::format("at most {}", kMaxFiles)});
  }
  file_bytes_ += file.size() + 1 + kFileBytes;
  const std::uint64_t growth = files_.capacity() * sizeof(std::string) + file_names_.memory_while_adding();
  allowance_.require(memory() + growth);
  file_names_.add(file, name_of);
  files_.emplace_back(file);
  return static_cast<std::uint32_t>(files_.size() - 1);
}

void WeightMap::sort_files() {
  std::vector<std::uint32_t> order(files_.size()), rank(files_.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, {}, [&](std::uint32_t i) -> const std::string& { return files_[i]; });
  std::vector<std::string> sorted;
  sorted.reserve(files_.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) {
    rank[order[i]] = i;
    sorted.push_back(std::move(files_[order[i]]));
  }
  files_ = std::move(sorted);
  file_names_ = {};
  for (Entry& entry : entries_) entry.file = rank[entry.file];
}

}  // namespace headrace::format::set
