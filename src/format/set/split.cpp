// Split GGUF: llama.cpp's gguf-split cuts a model between tensors into files that say which part they are.
//
//   NAME-00001-of-00003.gguf   split.no 0, split.count 3, split.tensors.count of all parts, and all other metadata
//   NAME-00002-of-00003.gguf   split.no 1, …
//
// Source: llama.cpp, tools/gguf-split.
#include "format/printable.hpp"
#include "format/set/members.hpp"
#include "format/set/set.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace headrace::format::set {
namespace {

constexpr std::string_view kNumber = "split.no", kCount = "split.count", kTensors = "split.tensors.count";
constexpr std::string_view kSuffix = ".gguf";

std::optional<std::uint64_t> number_at(const Metadata& metadata, std::string_view key) {
  const std::optional<MetadataValue> value = metadata.find(key);
  return value ? value->as_u64() : std::nullopt;
}

std::string shown(const std::optional<std::uint64_t>& number) { return number ? fmt::to_string(*number) : "none"; }

// What a part says of itself against what it should be.
void check_part(const Contents& part, std::uint32_t number, std::uint32_t count) {
  const std::string& file = part.files.front()->name();
  if (part.header.format != Format::gguf) {
    throw Error(ErrorCode::format, "this is no part of a split GGUF",
                {.file = file, .expected = "GGUF", .found = "another format"});
  }
  const auto expect = [&](std::string_view key, std::uint64_t expected, std::string hint) {
    const auto found = number_at(part.header.metadata, key);
    if (found == expected) return;
    throw Error(ErrorCode::format, "this is another part of a split GGUF than its name says",
                {.file = file,
                 .expected = fmt::format("{} {}", key, expected),
                 .found = shown(found),
                 .hint = std::move(hint)});
  };
  expect(kCount, count, "the parts aren't of one model, or a file was renamed");
  expect(kNumber, number - 1, fmt::format("part {} of {} should be here", number, count));
}

std::vector<std::string> files_of(const PartName& part) {
  std::vector<std::string> files;
  files.reserve(part.count);
  for (std::uint32_t i = 1; i <= part.count; ++i) files.push_back(file_of_part(part.base, i, part.count, kSuffix));
  return files;
}

PartName part_of(const std::string& leaf, std::uint64_t count, const Opening& opening) {
  if (count > kMaxFiles) {
    throw Error(ErrorCode::format, "a split GGUF has too many parts",
                {.file = opening.location.text(),
                 .expected = fmt::format("a {} of at most {}", kCount, kMaxFiles),
                 .found = fmt::to_string(count)});
  }
  const std::string_view stem = std::string_view(leaf).substr(0, leaf.size() - std::min(leaf.size(), kSuffix.size()));
  const auto part = leaf.ends_with(kSuffix) ? parse_part(stem) : std::nullopt;
  if (part && part->count == count) return *part;
  throw Error(ErrorCode::format, "this is a part of a split GGUF, but its name doesn't lead to the others",
              {.file = opening.location.text(),
               .expected = fmt::format("NAME-00001-of-{:05}.gguf", count),
               .found = fmt::format("'{}'", printable(leaf)),
               .hint = "give it the name that it was made with"});
}

// Each part states how many tensors all of them hold.
class TensorCount {
 public:
  void note(const Contents& part) {
    const auto stated = number_at(part.header.metadata, kTensors);
    if (!stated) return;
    if (!stated_) stated_ = stated;
    if (stated_ != stated) refuse(part.files.front()->name(), *stated_, *stated);
  }
  void check(const std::string& file, std::uint64_t found) const {
    if (stated_ && *stated_ != found) refuse(file, *stated_, found);
  }

 private:
  [[noreturn]] static void refuse(const std::string& file, std::uint64_t expected, std::uint64_t found) {
    throw Error(ErrorCode::format, "the parts of a split GGUF disagree about their tensors",
                {.file = file,
                 .expected = fmt::format("{} tensors in all", expected),
                 .found = fmt::to_string(found),
                 .hint = "the parts aren't of one model"});
  }
  std::optional<std::uint64_t> stated_;
};

}  // namespace

std::uint64_t parts_of(const Header& header) { return number_at(header.metadata, kCount).value_or(1); }

Contents open_split(Contents part, const Opening& opening) {
  if (part.files.front()->access() != Access::random) {
    throw Error(ErrorCode::unsupported, "a part of a split GGUF can't be read from a stream: it needs the others",
                {.file = opening.location.text(), .hint = "save the parts first, and give one of them"});
  }
  const std::string leaf = opening.location.leaf();
  const PartName given = part_of(leaf, parts_of(part.header), opening);
  const std::vector<std::string> files = files_of(given);
  require_files(opening, files, opening.location.text());

  // A part from the middle is held until its turn.
  const std::uint64_t others = given.number == 1 ? 0 : part.memory();
  Joiner joiner(opening.location.text(), opening.memory, others);
  std::optional<Contents> held(std::move(part));
  TensorCount tensors;
  join_members(
      joiner, files.size(), opened_at_once(opening),
      [&](std::size_t i, std::uint64_t left) {
        if (i + 1 == given.number && held) return *std::exchange(held, std::nullopt);  // asked again, it is opened anew
        return open_member(opening.location.beside(files[i]), opening, left, opening.location.text());
      },
      [&](std::size_t i, Contents member) {
        check_part(member, static_cast<std::uint32_t>(i + 1), given.count);
        tensors.note(member);
        if (i != 0) member.header.metadata = {};  // the first part has it all
        for (const std::string_view key : {kNumber, kCount, kTensors}) member.header.metadata.erase(key);
        joiner.add(std::move(member));
      });
  tensors.check(opening.location.text(), joiner.tensors().tensors().size());
  return std::move(joiner).take(KeptPairs::of_any);
}

}  // namespace headrace::format::set
