#include "format/zip/end_record.hpp"

#include "base/checked.hpp"
#include "format/zip/fields.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace headrace::format::zip {
namespace {

constexpr std::uint32_t kEndSignature = 0x06054B50, kLocatorSignature = 0x07064B50, kEnd64Signature = 0x06064B50;
constexpr std::size_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kMostComment = 0xFFFF;
constexpr const char* kDamaged = "the file is cut short or damaged";

[[noreturn]] void refuse(const io::ByteSource& source, const char* problem, std::uint64_t offset,
                         std::string expected = {}, std::string found = {}, const char* hint = kDamaged) {
  throw Error(ErrorCode::format, problem,
              {.file = source.name(),
               .offset = offset,
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = hint});
}

[[noreturn]] void refuse_parts(const io::ByteSource& source, std::uint64_t offset) {
  throw Error(ErrorCode::unsupported, "the zip archive is one of several parts",
              {.file = source.name(), .offset = offset, .hint = "join the parts first: zip -s 0 in.zip --out all.zip"});
}

// The last bytes of the file, of which the end records need a few dozen, unless there is a comment.
class Tail {
 public:
  Tail(const io::ByteSource& source, std::size_t bytes)
      : begin_(source.size() - std::min<std::uint64_t>(source.size(), bytes)),
        bytes_(static_cast<std::size_t>(source.size() - begin_)) {
    source.read_at(begin_, bytes_);
  }

  // Where the last end record is whose comment ends with the file.
  std::optional<std::uint64_t> find_end() const {
    for (std::size_t after = kEndBytes; after <= bytes_.size(); ++after) {
      const auto record = std::span(bytes_).last(after);
      if (field<std::uint32_t>(record, 0) == kEndSignature && field<std::uint16_t>(record, 20) == after - kEndBytes)
        return begin_ + bytes_.size() - after;
    }
    return std::nullopt;
  }

  void read(const io::ByteSource& source, std::uint64_t offset, std::span<std::byte> out) const {
    if (offset < begin_) return source.read_at(offset, out);
    std::memcpy(out.data(), bytes_.data() + (offset - begin_), out.size());
  }

 private:
  std::uint64_t begin_;
  std::vector<std::byte> bytes_;
};

struct Found {
  EndRecord record;
  std::uint64_t at;  // of the first of the end records
};

Found parse_end(const io::ByteSource& source, const Tail& tail, std::uint64_t at) {
  std::array<std::byte, kEndBytes> end;
  tail.read(source, at, end);
  const auto disk = field<std::uint16_t>(end, 4), directory_disk = field<std::uint16_t>(end, 6);
  const auto here = field<std::uint16_t>(end, 8), entries = field<std::uint16_t>(end, 10);
  const bool one_part = (disk == 0 || disk == kSee64Short) && (directory_disk == 0 || directory_disk == kSee64Short);
  if (!one_part || here != entries) refuse_parts(source, at);
  return {{field<std::uint32_t>(end, 16), field<std::uint32_t>(end, 12), entries}, at};
}

// What the short record says it says for both, unless it refers to the long one.
void require_agreement(const io::ByteSource& source, const EndRecord& end, const EndRecord& end64, std::uint64_t at) {
  const auto agree = [](std::uint64_t number, std::uint64_t see64, std::uint64_t number64) {
    return number == see64 || number == number64;
  };
  if (agree(end.directory_offset, kSee64, end64.directory_offset) &&
      agree(end.directory_bytes, kSee64, end64.directory_bytes) && agree(end.entries, kSee64Short, end64.entries))
    return;
  refuse(source, "the two end records of the zip archive contradict each other", at);
}

// Replaces the numbers of the short record when the long one's locator comes before it.
Found with_zip64(const io::ByteSource& source, const Tail& tail, Found end) {
  if (end.at < kLocatorBytes) return end;
  std::array<std::byte, kLocatorBytes> locator;
  const std::uint64_t locator_at = end.at - kLocatorBytes;
  tail.read(source, locator_at, locator);
  if (field<std::uint32_t>(locator, 0) != kLocatorSignature) return end;

  const auto at = field<std::uint64_t>(locator, 8);
  if (field<std::uint32_t>(locator, 4) != 0 || field<std::uint32_t>(locator, 16) > 1) refuse_parts(source, locator_at);
  if (locator_at < kEnd64Bytes || at > locator_at - kEnd64Bytes) {
    refuse(source, "the ZIP64 end record doesn't lie before its locator", locator_at, {}, fmt::format("byte {}", at));
  }
  std::array<std::byte, kEnd64Bytes> record;
  tail.read(source, at, record);
  if (field<std::uint32_t>(record, 0) != kEnd64Signature) refuse(source, "there is no ZIP64 end record here", at);
  constexpr std::uint64_t kUncounted = 12;  // the signature, and the size itself
  const std::uint64_t bytes = locator_at - at - kUncounted;
  if (const auto stated = field<std::uint64_t>(record, 4); stated != bytes) {
    refuse(source, "the ZIP64 end record has the wrong size", at, fmt::to_string(bytes), fmt::to_string(stated));
  }
  const auto entries = field<std::uint64_t>(record, 32);
  if (field<std::uint32_t>(record, 16) != 0 || field<std::uint32_t>(record, 20) != 0 ||
      field<std::uint64_t>(record, 24) != entries) {
    refuse_parts(source, at);
  }
  const EndRecord end64{field<std::uint64_t>(record, 48), field<std::uint64_t>(record, 40), entries};
  require_agreement(source, end.record, end64, at);
  return {end64, at};
}

}  // namespace

EndRecord read_end_record(const io::ByteSource& source) {
  constexpr std::size_t kWithoutComment = 1 << 10, kAll = kEndBytes + kMostComment;
  Tail tail(source, kWithoutComment);
  std::optional<std::uint64_t> at = tail.find_end();
  if (!at && source.size() > kWithoutComment) {
    tail = Tail(source, kAll);
    at = tail.find_end();
  }
  if (!at) {
    throw Error(
        ErrorCode::format, "the zip archive has no end",
        {.file = source.name(), .expected = "an end record in the last 64 KiB", .found = "none", .hint = kDamaged});
  }
  const Found found = with_zip64(source, tail, parse_end(source, tail, *at));
  const EndRecord& end = found.record;
  if (base::checked_add(end.directory_offset, end.directory_bytes) != found.at) {
    refuse(source, "the zip archive's directory doesn't end where the end record begins", found.at,
           fmt::format("byte {}", found.at),
           fmt::format("{} bytes from byte {} on", end.directory_bytes, end.directory_offset),
           "the file is damaged, or something was put before the archive");
  }
  if (end.entries > end.directory_bytes / kDirectoryRecord) {
    refuse(source, "the zip archive can't have that many entries", found.at,
           fmt::format("at most {}", end.directory_bytes / kDirectoryRecord), fmt::to_string(end.entries));
  }
  return end;
}

}  // namespace headrace::format::zip
