#include "plan/join_metadata.hpp"

#include "format/printable.hpp"
#include "plan/metadata_map.hpp"
#include "plan/shapes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace headrace::plan {
namespace {

// A pair, and whether every other part that has its key has the same value.
struct Candidate {
  std::string_view key;
  MetadataValue value;
  bool agreed = true;
};

bool same(const MetadataValue& a, const MetadataValue& b) {
  return a.type() == b.type() && std::ranges::equal(a.bytes(), b.bytes());
}

std::vector<Candidate> collect(std::span<const Metadata* const> parts) {
  std::vector<Candidate> candidates;
  std::unordered_map<std::string_view, std::size_t> by_key;
  for (const Metadata* part : parts) {
    for (std::size_t i = 0; i < part->size(); ++i) {
      const std::string_view key = part->key(i);
      if (speaks_of_file(key)) continue;
      const auto [at, is_new] = by_key.emplace(key, candidates.size());
      if (is_new) {
        candidates.push_back({key, part->value(i)});
      } else {
        Candidate& known = candidates[at->second];
        known.agreed = known.agreed && same(known.value, part->value(i));
      }
    }
  }
  return candidates;
}

}  // namespace

Metadata join_metadata(std::span<const Metadata* const> parts, std::vector<std::string>& notes) {
  Metadata out;
  std::size_t disagreed = 0;
  for (const Candidate& candidate : collect(parts)) {
    if (candidate.agreed) {
      out.append(candidate.key, candidate.value.type(), candidate.value.bytes());
    } else if (++disagreed <= kMostNamed) {
      notes.push_back(
          fmt::format("metadata '{}' is left out: the inputs disagree on it", format::printable(candidate.key)));
    }
  }
  if (disagreed > kMostNamed)
    notes.push_back(
        fmt::format("{} more pairs of metadata on which the inputs disagree are left out", disagreed - kMostNamed));
  return out;
}

}  // namespace headrace::plan
