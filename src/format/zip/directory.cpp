#include "format/zip/directory.hpp"

#include "format/printable.hpp"
#include "format/zip/fields.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

namespace headrace::format::zip {
namespace {

constexpr std::uint32_t kSignature = 0x02014B50;
// Of the directory that are looked at together. The longest record has 46 + 3 × 65,535 bytes.
constexpr std::size_t kWindow = std::size_t{256} << 10;
static_assert(kWindow >= kDirectoryRecord + std::uint64_t{3} * 0xFFFF);

// A record of the directory as it is written there.
struct Record {
  std::uint16_t flags, method;
  std::uint32_t crc;
  std::uint64_t stored_bytes, bytes, header;
  std::uint32_t disk;
  std::string_view name;
  std::uint64_t at;  // the record's own offset
};

class DirectoryReader {
 public:
  DirectoryReader(const io::ByteSource& source, const EndRecord& end, const Allowance& allowance,
                  std::vector<Placement>& placements)
      : source_(source), end_(end), allowance_(allowance), placements_(placements), at_(end.directory_offset) {}

  Directory read();

 private:
  std::uint64_t directory_end() const { return end_.directory_offset + end_.directory_bytes; }
  std::span<const std::byte> look(std::uint64_t bytes);
  Record next();
  void apply_zip64(Record& record, std::span<const std::byte> extra) const;
  void check(const Record& record) const;
  void add(const Record& record);
  [[noreturn]] void refuse(const Record& record, ErrorCode code, const char* problem, std::string expected = {},
                           std::string found = {}, const char* hint = "") const;

  const io::ByteSource& source_;
  const EndRecord& end_;
  const Allowance& allowance_;
  std::vector<Placement>& placements_;
  Directory directory_;
  std::uint64_t at_;  // of the next record
  std::vector<std::byte> window_;
  std::uint64_t window_at_ = 0;
  bool any_checksum_ = false, any_bytes_ = false;
};

void DirectoryReader::refuse(const Record& record, ErrorCode code, const char* problem, std::string expected,
                             std::string found, const char* hint) const {
  throw Error(code, fmt::format("{} {}", entry_title(record.name), problem),
              {.file = source_.name(),
               .offset = record.at,
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = hint});
}

// The next bytes of the directory, at most kWindow of them.
std::span<const std::byte> DirectoryReader::look(std::uint64_t bytes) {
  if (bytes > directory_end() - at_) {
    throw Error(ErrorCode::format, "the zip archive's directory ends inside an entry",
                {.file = source_.name(), .offset = at_, .hint = "the file is damaged"});
  }
  const std::uint64_t skipped = at_ - window_at_;
  if (window_.empty() || skipped + bytes > window_.size()) {
    window_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kWindow, directory_end() - at_)));
    window_at_ = at_;
    source_.read_at(at_, window_);
  }
  return std::span(window_).subspan(static_cast<std::size_t>(at_ - window_at_), static_cast<std::size_t>(bytes));
}

Record DirectoryReader::next() {
  const auto head = look(kDirectoryRecord);
  if (field<std::uint32_t>(head, 0) != kSignature) {
    throw Error(ErrorCode::format, "the zip archive's directory has no entry here",
                {.file = source_.name(),
                 .offset = at_,
                 .hint = "the file is damaged, or something was put before the archive"});
  }
  const std::size_t name_bytes = field<std::uint16_t>(head, 28), extra_bytes = field<std::uint16_t>(head, 30);
  const std::size_t bytes = kDirectoryRecord + name_bytes + extra_bytes + field<std::uint16_t>(head, 32);
  const auto all = look(bytes);
  Record record{field<std::uint16_t>(all, 8),
                field<std::uint16_t>(all, 10),
                field<std::uint32_t>(all, 16),
                field<std::uint32_t>(all, 20),
                field<std::uint32_t>(all, 24),
                field<std::uint32_t>(all, 42),
                field<std::uint16_t>(all, 34),
                {reinterpret_cast<const char*>(all.data() + kDirectoryRecord), name_bytes},
                at_};
  apply_zip64(record, all.subspan(kDirectoryRecord + name_bytes, extra_bytes));
  at_ += bytes;
  return record;
}

// The extra field has those numbers, in this order, that don't fit the record.
void DirectoryReader::apply_zip64(Record& record, std::span<const std::byte> extra) const {
  const bool needed = record.bytes == kSee64 || record.stored_bytes == kSee64 || record.header == kSee64;
  if (!needed && record.disk != kSee64Short) return;
  std::span<const std::byte> rest = find_zip64(extra).value_or(std::span<const std::byte>{});
  const auto take = [&](auto& number, std::uint64_t see64, auto wide) {
    if (number != see64) return;
    if (rest.size() < sizeof wide)
      refuse(record, ErrorCode::format, "lacks a number of its ZIP64 field", {}, {}, "the file is damaged");
    number = field<decltype(wide)>(rest, 0);
    rest = rest.subspan(sizeof wide);
  };
  take(record.bytes, kSee64, std::uint64_t{});
  take(record.stored_bytes, kSee64, std::uint64_t{});
  take(record.header, kSee64, std::uint64_t{});
  take(record.disk, kSee64Short, std::uint32_t{});
}

void DirectoryReader::check(const Record& record) const {
  if (record.flags & (kEncrypted | kStrongEncryption | kMasked))
    refuse(record, ErrorCode::unsupported, "is encrypted", {}, {}, "decrypt the archive first");
  if (record.disk != 0) refuse(record, ErrorCode::unsupported, "lies in another part of the archive");
  if ((record.method != kStored && record.method != kDeflated) || (record.flags & kPatch)) {
    refuse(record, ErrorCode::unsupported, "is compressed by a method that Headrace can't read",
           "0 (stored) or 8 (deflated)", fmt::to_string(record.method), "unpack the archive and give what is in it");
  }
  if (record.method == kStored && record.bytes != record.stored_bytes) {
    refuse(record, ErrorCode::format, "is stored as it is, but with two sizes", fmt::to_string(record.bytes),
           fmt::to_string(record.stored_bytes));
  }
  if (record.header > end_.directory_offset || record.stored_bytes > end_.directory_offset - record.header) {
    refuse(record, ErrorCode::format, "goes past the archive's data",
           fmt::format("{} bytes from byte {} on, before byte {}", record.stored_bytes, record.header,
                       end_.directory_offset),
           {}, "the file is damaged");
  }
  // A match of 258 bytes takes two bits at least.
  constexpr std::uint64_t kMostRatio = 1032;
  if (record.bytes / kMostRatio > record.stored_bytes) {
    refuse(record, ErrorCode::format, "can't be that large once it is inflated",
           fmt::format("at most {} bytes from {}", record.stored_bytes * kMostRatio, record.stored_bytes),
           fmt::to_string(record.bytes));
  }
}

void DirectoryReader::add(const Record& record) {
  constexpr std::size_t kArenaChunk = std::size_t{64} << 10;
  allowance_.require(directory_.memory() + std::max(record.name.size(), kArenaChunk) + kWindow +
                     placements_.capacity() * sizeof(Placement));
  const auto number = static_cast<std::uint32_t>(directory_.entries.size());
  Entry entry{directory_.names.copy(record.name), 0, record.stored_bytes, record.bytes, record.crc,
              record.method == kDeflated};
  directory_.entries.push_back(entry);
  if (!directory_.index.add(entry.name, directory_.name_of()))
    refuse(record, ErrorCode::format, "is in the archive twice");
  placements_.push_back({record.header, number, record.flags});
  any_bytes_ = any_bytes_ || record.bytes != 0;
  any_checksum_ = any_checksum_ || record.crc != 0 || entry.deflated;
}

Directory DirectoryReader::read() {
  constexpr std::uint64_t kEach = sizeof(Entry) + sizeof(Placement) + 5 * sizeof(std::uint32_t);
  if (end_.entries > NameIndex::kMaxEntries)
    throw Error(ErrorCode::unsupported, "the zip archive has too many entries", {.file = source_.name()});
  allowance_.require(end_.entries * kEach + std::min<std::uint64_t>(kWindow, end_.directory_bytes));
  directory_.entries.reserve(static_cast<std::size_t>(end_.entries));
  placements_.reserve(static_cast<std::size_t>(end_.entries));
  directory_.index.reserve(static_cast<std::size_t>(end_.entries), directory_.name_of());
  for (std::uint64_t i = 0; i < end_.entries; ++i) {
    const Record record = next();
    const bool folder = record.name.ends_with('/') && record.bytes == 0;
    if (folder) continue;
    check(record);
    add(record);
  }
  if (at_ != directory_end()) {
    throw Error(ErrorCode::format, "the zip archive's directory has more in it than its entries",
                {.file = source_.name(),
                 .offset = at_,
                 .expected = fmt::format("{} entries", end_.entries),
                 .found = fmt::format("{} more bytes", directory_end() - at_)});
  }
  directory_.has_checksums = any_checksum_ || !any_bytes_;
  return std::move(directory_);
}

}  // namespace

std::string entry_title(std::string_view name) { return fmt::format("the entry '{}'", printable(name)); }

Directory read_directory(const io::ByteSource& source, const EndRecord& end, const Allowance& allowance,
                         std::vector<Placement>& placements) {
  return DirectoryReader(source, end, allowance, placements).read();
}

}  // namespace headrace::format::zip
