// The files of a set: found, opened, several at once where that is faster, and joined in their order.
#pragma once

#include "format/set/joiner.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace headrace::format::set {

/// Sets of more files are refused: each takes a descriptor, and a server would be asked for each.
inline constexpr std::size_t kMaxFiles = 65'535;

/// "model-00002-of-00005"
struct PartName {
  std::string_view base;  // "model"
  std::uint32_t number;   // 2, from 1 on
  std::uint32_t count;    // 5
};

/// Nothing when `stem`, a file's name without its suffix, isn't one of a part.
std::optional<PartName> parse_part(std::string_view stem);
/// The part's file, "model-00002-of-00005" and what follows it.
std::string file_of_part(std::string_view base, std::uint32_t number, std::uint32_t count, std::string_view rest);

/// Opens one file of a set: safetensors, GGUF or PyTorch, but no set in its turn. `named_by`: for errors.
/// Throws Error as open_contents; unsupported for a server without ranges.
Contents open_member(const io::Location& location, const Opening& set, std::uint64_t memory,
                     const std::string& named_by);

/// Throws Error(io) that lists the files which don't lie beside the set. What a server has only asking tells.
void require_files(const Opening& set, std::span<const std::string> files, const std::string& named_by);

/// Opens member `i` in `memory` bytes. With several at once, called from several threads.
using OpenMember = std::function<Contents(std::size_t i, std::uint64_t memory)>;
/// Checks member `i` and adds it to the joiner. Called in order, by the thread that joins.
using TakeMember = std::function<void(std::size_t i, Contents member)>;

/// How many files beside that location are best opened at once.
unsigned opened_at_once(const Opening& set) noexcept;

/// The first member is opened alone, so that what is wrong with all of them is told by one; then `at_once` at a time,
/// as long as memory is plentiful. An error is that of the first member which has one.
void join_members(Joiner& joiner, std::size_t count, unsigned at_once, const OpenMember& open, const TakeMember& take);

}  // namespace headrace::format::set
