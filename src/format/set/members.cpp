#include "format/set/members.hpp"

#include "base/workers.hpp"
#include "format/detect.hpp"
#include "format/gguf/header_reader.hpp"
#include "format/printable.hpp"
#include "format/safetensors/header_reader.hpp"
#include "format/set/mention.hpp"
#include "format/torch/torch.hpp"
#include "format/zip/archive.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <exception>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace headrace::format::set {
namespace {

constexpr std::size_t kPartDigits = 5;
constexpr std::string_view kOf = "-of-";

// Members that wait for their turn may hold this part of the memory, and none wait once the joined list holds as much
// or little is left: so there is room for all that joining them can take, a list that grows included.
constexpr std::uint64_t kShareOfWaiting = 16;
constexpr std::uint64_t kShareToBeLeft = 4;
constexpr std::uint64_t kLeastForOne = std::uint64_t{1} << 20;  // holds most shards' headers while they are read
constexpr unsigned kMostAtOnce = 64;

std::optional<std::uint32_t> number_of(std::string_view digits) {
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() ? std::optional(number) : std::nullopt;
}

Contents single(Header header, SourcePtr source) {
  Contents contents;
  contents.header = std::move(header);
  contents.files.push_back(std::move(source));
  return contents;
}

Contents read_member(SourcePtr source, const Opening& opening) {
  switch (detect(*source)) {
    case Kind::safetensors: {
      Header header = safetensors::read_header(*source, opening.memory);
      return single(std::move(header), std::move(source));
    }
    case Kind::gguf: {
      Header header = gguf::read_header(*source, opening.memory);
      return single(std::move(header), std::move(source));
    }
    case Kind::zip: {
      const auto archive = std::make_shared<zip::Archive>(source, opening.memory);
      if (torch::is_checkpoint(*archive)) return torch::open_archive(archive, opening);
      break;
    }
    case Kind::pickle: return torch::open_legacy(std::move(source), opening);
    default: break;
  }
  throw Error(ErrorCode::format, "this can't be a shard of a checkpoint",
              {.file = source->name(), .expected = "a single safetensors, GGUF or PyTorch file"});
}

// A file that can't be opened is better understood by who asked for it.
[[noreturn]] void rethrow_naming(const Error& error, const std::string& named_by) {
  if (error.code() != ErrorCode::io || !error.detail().hint.empty()) throw error;
  ErrorDetail detail = error.detail();
  detail.hint = fmt::format("'{}' needs it", named_by);
  throw Error(error.code(), error.problem(), std::move(detail));
}

struct Opened {
  std::optional<Contents> contents;
  std::uint64_t memory = 0;  // that they held then
  std::exception_ptr error;
};

// Members `first` and on, as many as `wave` holds, each by one thread.
void open_wave(std::vector<Opened>& wave, std::size_t first, std::uint64_t memory_each, const OpenMember& open) {
  std::atomic<std::size_t> next = 0;
  const base::Workers workers(static_cast<unsigned>(wave.size()), [&] {
    for (std::size_t i = next++; i < wave.size(); i = next++) {
      try {
        wave[i].contents = open(first + i, memory_each);
        wave[i].memory = wave[i].contents->memory();
      } catch (...) {
        wave[i].error = std::current_exception();
      }
    }
  });
}

bool lacked_memory(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& failure) {
    return failure.code() == ErrorCode::budget;
  } catch (...) {
    return false;
  }
}

// Joins members from `first` on; the number of those that were joined. Fewer than asked for when a member needs more
// memory than its share.
std::size_t join_wave(Joiner& joiner, std::size_t first, std::size_t count, const OpenMember& open,
                      const TakeMember& take) {
  std::vector<Opened> wave(count);
  open_wave(wave, first, joiner.memory_allowed() / kShareOfWaiting / count, open);
  std::uint64_t waiting = 0;
  for (const Opened& opened : wave) waiting += opened.memory;
  for (std::size_t i = 0; i < count; ++i) {
    if (wave[i].error) {
      joiner.set_waiting(0);
      if (lacked_memory(wave[i].error)) return i;
      std::rethrow_exception(wave[i].error);
    }
    waiting -= wave[i].memory;
    joiner.set_waiting(waiting);
    take(first + i, *std::exchange(wave[i].contents, std::nullopt));
  }
  return count;
}

}  // namespace

std::optional<PartName> parse_part(std::string_view stem) {
  constexpr std::size_t kTail = 1 + kPartDigits + kOf.size() + kPartDigits;  // "-00002-of-00005"
  if (stem.size() <= kTail) return std::nullopt;
  const std::string_view tail = stem.substr(stem.size() - kTail);
  if (tail.front() != '-' || tail.substr(1 + kPartDigits, kOf.size()) != kOf) return std::nullopt;
  const auto number = number_of(tail.substr(1, kPartDigits)), count = number_of(tail.substr(kTail - kPartDigits));
  if (!number || !count || *number == 0 || *number > *count) return std::nullopt;
  return PartName{stem.substr(0, stem.size() - kTail), *number, *count};
}

std::string file_of_part(std::string_view base, std::uint32_t number, std::uint32_t count, std::string_view rest) {
  return fmt::format("{}-{:05}-of-{:05}{}", base, number, count, rest);
}

Contents open_member(const io::Location& location, const Opening& set, std::uint64_t memory,
                     const std::string& named_by) {
  SourcePtr source;
  try {
    source = io::open(location, set.options);
  } catch (const Error& error) {
    if (set.options.fetch) throw;  // whatever the caller's code has thrown
    rethrow_naming(error, named_by);
  }
  if (source->access() != Access::random) {
    throw Error(ErrorCode::unsupported, "a checkpoint in several files can't be read from a stream",
                {.file = source->name(), .hint = "save its files first"});
  }
  return read_member(std::move(source), {location, set.options, memory});
}

void require_files(const Opening& set, std::span<const std::string> files, const std::string& named_by) {
  if (set.location.place() != io::Place::path) return;
  Mention missing;
  for (const std::string& file : files) {
    std::error_code ignored;
    if (!std::filesystem::exists(set.location.beside(file).path(), ignored)) missing.add(file);
  }
  if (missing.count() == 0) return;
  throw Error(ErrorCode::io, missing.count() == 1 ? "a file is missing" : "files are missing",
              {.file = named_by,
               .expected = fmt::format("{} files beside it", files.size()),
               .found = fmt::format("no {}", missing.text()),
               .hint = "was the download interrupted?"});
}

unsigned opened_at_once(const Opening& set) noexcept {
  if (set.location.place() != io::Place::url) return 1;
  return std::clamp(set.options.connections, 1U, kMostAtOnce);
}

void join_members(Joiner& joiner, std::size_t count, unsigned at_once, const OpenMember& open, const TakeMember& take) {
  const std::uint64_t allowed = joiner.memory_allowed();
  const std::uint64_t most_at_once = std::clamp<std::uint64_t>(allowed / kShareOfWaiting / kLeastForOne, 1, at_once);
  at_once = static_cast<unsigned>(most_at_once);
  for (std::size_t next = 0; next < count;) {
    const std::size_t wave = std::min<std::size_t>(at_once, count - next);
    const bool plenty =
        joiner.tensors().memory() <= allowed / kShareOfWaiting && joiner.memory_left() >= allowed / kShareToBeLeft;
    if (next == 0 || wave == 1 || !plenty) {
      take(next, open(next, joiner.memory_left()));
      ++next;
      continue;
    }
    const std::size_t joined = join_wave(joiner, next, wave, open, take);
    next += joined;
    if (joined < wave) at_once = 1;
  }
}

}  // namespace headrace::format::set
