#include "plan/join_metadata.hpp"

#include "format/printable.hpp"
#include "plan/metadata_map.hpp"
#include "plan/tally.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <unordered_map>

namespace headrace::plan {
namespace {

// A pair, in how many of the parts that decide it is, and whether it is the same in all of them.
struct Candidate {
  std::string_view key;
  MetadataValue value;
  std::size_t parts = 1;
  bool agreed = true;
};

struct Candidates {
  std::vector<Candidate> list;  // in the order of the parts
  std::unordered_map<std::string_view, std::size_t> by_key;
};

bool same(const MetadataValue& a, const MetadataValue& b) {
  return a.type() == b.type() && std::ranges::equal(a.bytes(), b.bytes());
}

void add_pairs(Candidates& candidates, const Metadata& pairs) {
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const std::string_view key = pairs.key(i);
    if (speaks_of_file(key)) continue;
    const auto [at, is_new] = candidates.by_key.emplace(key, candidates.list.size());
    if (is_new) {
      candidates.list.push_back({key, pairs.value(i)});
      continue;
    }
    Candidate& known = candidates.list[at->second];
    ++known.parts;
    known.agreed = known.agreed && same(known.value, pairs.value(i));
  }
}

// Names what a part says that the whole doesn't.
void note_left_out(const MetadataPart& part, const Metadata& kept, const Candidates& candidates,
                   std::vector<std::string>& notes) {
  std::unordered_map<std::string_view, std::size_t> kept_keys;
  for (std::size_t i = 0; i < kept.size(); ++i) kept_keys.emplace(kept.key(i), i);
  Tally left_out;
  for (std::size_t i = 0; i < part.pairs->size(); ++i) {
    const std::string_view key = part.pairs->key(i);
    const auto known = candidates.by_key.find(key);
    const bool noted = known != candidates.by_key.end() && !candidates.list[known->second].agreed;
    const auto at = kept_keys.find(key);
    const bool stays = at != kept_keys.end() && same(kept.value(at->second), part.pairs->value(i));
    if (!noted && !stays && !speaks_of_file(key)) left_out.add(key);
  }
  if (left_out.count > 0)
    notes.push_back(fmt::format("metadata of '{}' alone is left out: {}", part.file, left_out.text("pair")));
}

}  // namespace

Metadata join_metadata(std::span<const MetadataPart> parts, std::vector<std::string>& notes) {
  const bool any_whole = std::ranges::any_of(parts, &MetadataPart::is_whole);
  Candidates candidates;
  for (const MetadataPart& part : parts) {
    if (part.is_whole || !any_whole) add_pairs(candidates, *part.pairs);
  }
  Metadata out;
  Tally disagreed;
  for (const Candidate& candidate : candidates.list) {
    if (!candidate.agreed) disagreed.add(candidate.key);
    if (candidate.agreed && (any_whole || candidate.parts == parts.size()))
      out.append(candidate.key, candidate.value.type(), candidate.value.bytes());
  }
  if (disagreed.count > 0)
    notes.push_back(fmt::format("metadata is left out on which the inputs disagree: {}", disagreed.text("pair")));
  for (const MetadataPart& part : parts) note_left_out(part, out, candidates, notes);
  return out;
}

}  // namespace headrace::plan
