#include "format/zip/local_headers.hpp"

#include "format/printable.hpp"
#include "format/zip/fields.hpp"
#include "format/zip/in_parallel.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace headrace::format::zip {
namespace {

constexpr std::uint32_t kSignature = 0x04034B50;
constexpr std::uint64_t kHeader = 30;
constexpr std::uint64_t kZip64Bytes = 20;  // of the extra field, which is mostly the first one
constexpr std::uint64_t kNear = 16 << 10;  // headers that lie closer together than this are read together
constexpr const char* kDamaged = "the file is damaged";

struct Sizes {
  std::uint64_t stored_bytes, bytes;
};

class Placer {
 public:
  Placer(const io::ByteSource& source, Directory& directory, std::vector<Placement> placements, std::uint64_t end)
      : source_(source), directory_(directory), placements_(std::move(placements)), end_(end) {}

  void run();

 private:
  Entry& entry_of(const Placement& placement) const { return directory_.entries[placement.entry]; }
  std::uint64_t looked_at(const Placement& placement) const;
  std::uint64_t next_header(std::size_t i) const {
    return i + 1 < placements_.size() ? placements_[i + 1].header : end_;
  }
  void check_order() const;
  std::vector<std::uint32_t> runs() const;
  void place_run(std::size_t first, std::size_t last);
  void place(std::size_t i, std::span<const std::byte> header);
  void check(const Placement& placement, std::span<const std::byte> header) const;
  Sizes sizes(const Placement& placement, std::span<const std::byte> header) const;
  [[noreturn]] void refuse(const Placement& placement, const std::string& problem, std::string expected = {},
                           std::string found = {}) const;

  const io::ByteSource& source_;
  Directory& directory_;
  const std::vector<Placement> placements_;  // by where the headers are
  const std::uint64_t end_;
};

void Placer::refuse(const Placement& placement, const std::string& problem, std::string expected,
                    std::string found) const {
  throw Error(ErrorCode::format, fmt::format("{} {}", entry_title(entry_of(placement).name), problem),
              {.file = source_.name(),
               .offset = placement.header,
               .expected = std::move(expected),
               .found = std::move(found),
               .hint = kDamaged});
}

// How far the header goes that is looked at.
std::uint64_t Placer::looked_at(const Placement& placement) const {
  const std::uint64_t bytes = kHeader + entry_of(placement).name.size() + kZip64Bytes;
  return placement.header + std::min(bytes, end_ - placement.header);
}

// By what the directory says alone, so that hostile archives are refused before their headers are read.
void Placer::check_order() const {
  for (std::size_t i = 0; i < placements_.size(); ++i) {
    const Entry& entry = entry_of(placements_[i]);
    const std::uint64_t least = kHeader + entry.name.size() + entry.stored_bytes;  // all lie inside the file
    const std::uint64_t room = next_header(i) - placements_[i].header;
    if (least <= room) continue;
    const std::string other =
        i + 1 < placements_.size() ? entry_title(entry_of(placements_[i + 1]).name) : "the archive's directory";
    refuse(placements_[i], "overlaps " + other, fmt::format("at least {} bytes", least), fmt::to_string(room));
  }
}

// Where the runs of headers begin that are read together.
std::vector<std::uint32_t> Placer::runs() const {
  std::vector<std::uint32_t> begins;
  for (std::size_t i = 0; i < placements_.size(); ++i) {
    if (begins.empty() || looked_at(placements_[i]) - placements_[begins.back()].header > kNear)
      begins.push_back(static_cast<std::uint32_t>(i));
  }
  return begins;
}

void Placer::place_run(std::size_t first, std::size_t last) {
  const std::uint64_t begin = placements_[first].header;
  std::vector<std::byte> bytes(static_cast<std::size_t>(looked_at(placements_[last - 1]) - begin));
  source_.read_at(begin, bytes);
  for (std::size_t i = first; i < last; ++i) {
    const auto at = static_cast<std::size_t>(placements_[i].header - begin);
    const auto length = static_cast<std::size_t>(looked_at(placements_[i]) - placements_[i].header);
    place(i, std::span(bytes).subspan(at, length));
  }
}

void Placer::place(std::size_t i, std::span<const std::byte> header) {
  const Placement& placement = placements_[i];
  check(placement, header);
  Entry& entry = entry_of(placement);
  const std::uint64_t data = placement.header + kHeader + entry.name.size() + field<std::uint16_t>(header, 28);
  if (data > next_header(i) || entry.stored_bytes > next_header(i) - data) {
    refuse(placement, "reaches into what comes after it", fmt::format("at most byte {}", next_header(i)),
           fmt::format("{} bytes from byte {} on", entry.stored_bytes, data));
  }
  entry.data_offset = data;
}

// `header` has the fixed part and the name at least: check_order has seen to that.
void Placer::check(const Placement& placement, std::span<const std::byte> header) const {
  const Entry& entry = entry_of(placement);
  if (field<std::uint32_t>(header, 0) != kSignature) refuse(placement, "has no header of its own here");
  const std::size_t name_bytes = field<std::uint16_t>(header, 26);
  const auto name = header.subspan(kHeader, std::min(name_bytes, header.size() - kHeader));
  if (name_bytes != entry.name.size() ||
      !std::ranges::equal(name, std::as_bytes(std::span(entry.name.data(), entry.name.size())))) {
    refuse(placement, "has another name in its own header", {},
           fmt::format("'{}'", printable({reinterpret_cast<const char*>(name.data()), name.size()})));
  }
  constexpr unsigned kFlags = kEncrypted | kSizesFollow | kPatch | kStrongEncryption | kUtf8 | kMasked;
  const unsigned flags = field<std::uint16_t>(header, 6);
  if ((flags & kFlags) != (placement.flags & kFlags)) {
    refuse(placement, "has other flags in its own header", fmt::format("{:#06x}", placement.flags),
           fmt::format("{:#06x}", flags));
  }
  if (field<std::uint16_t>(header, 8) != (entry.deflated ? kDeflated : kStored))
    refuse(placement, "has another compression in its own header");

  // Where the numbers follow the data, the header has zeros for them, or says them all the same.
  const bool may_be_zero = flags & kSizesFollow;
  const auto same = [&](std::uint64_t here, std::uint64_t there) {
    return here == there || (may_be_zero && here == 0);
  };
  const Sizes stated = sizes(placement, header);
  if (!same(stated.stored_bytes, entry.stored_bytes) || !same(stated.bytes, entry.bytes)) {
    refuse(placement, "has other sizes in its own header", fmt::format("{} and {}", entry.stored_bytes, entry.bytes),
           fmt::format("{} and {}", stated.stored_bytes, stated.bytes));
  }
  if (!same(field<std::uint32_t>(header, 14), entry.crc)) refuse(placement, "has another checksum in its own header");
}

Sizes Placer::sizes(const Placement& placement, std::span<const std::byte> header) const {
  Sizes sizes{field<std::uint32_t>(header, 18), field<std::uint32_t>(header, 22)};
  if (sizes.stored_bytes != kSee64 && sizes.bytes != kSee64) return sizes;
  const std::uint64_t extra_at = placement.header + kHeader + entry_of(placement).name.size();
  const std::size_t extra_bytes = field<std::uint16_t>(header, 28);
  if (extra_bytes > end_ - extra_at) refuse(placement, "reaches into the archive's directory");
  auto extra = header.subspan(kHeader + entry_of(placement).name.size());
  std::vector<std::byte> longer;
  if (extra.size() < extra_bytes) {
    longer.resize(extra_bytes);
    source_.read_at(extra_at, longer);
    extra = longer;
  }
  const auto zip64 = find_zip64(extra.first(extra_bytes));
  constexpr std::size_t kBoth = 2 * sizeof(std::uint64_t);
  if (!zip64 || zip64->size() < kBoth) {
    if (placement.flags & kSizesFollow) return {0, 0};  // then there need be none
    refuse(placement, "lacks a number of its ZIP64 field");
  }
  return {field<std::uint64_t>(*zip64, 8), field<std::uint64_t>(*zip64, 0)};
}

void Placer::run() {
  check_order();
  const std::vector<std::uint32_t> begins = runs();
  in_parallel(source_, begins.size(), [&](std::size_t run) {
    place_run(begins[run], run + 1 < begins.size() ? begins[run + 1] : placements_.size());
  });
  directory_.by_offset.reserve(placements_.size());
  for (const Placement& placement : placements_) directory_.by_offset.push_back(placement.entry);
}

}  // namespace

void place_entries(const io::ByteSource& source, Directory& directory, std::vector<Placement> placements,
                   std::uint64_t directory_offset, const Allowance& allowance) {
  // The placements, both lists made here, and a run of headers for each thread.
  allowance.require(directory.memory() +
                    placements.size() * (sizeof(Placement) + sizeof(std::uint32_t) + sizeof(std::uint32_t)) +
                    (std::size_t{128} << 10));
  std::ranges::sort(placements, {},
                    [](const Placement& placement) { return std::pair(placement.header, placement.entry); });
  Placer(source, directory, std::move(placements), directory_offset).run();
}

}  // namespace headrace::format::zip
