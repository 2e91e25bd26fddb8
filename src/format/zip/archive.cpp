#include "format/zip/archive.hpp"

#include "format/allowance.hpp"
#include "format/zip/checked_source.hpp"
#include "format/zip/deflate.hpp"
#include "format/zip/directory.hpp"
#include "format/zip/inflated_source.hpp"
#include "format/zip/inflating_reader.hpp"
#include "format/zip/local_headers.hpp"
#include "format/zip/opened.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace headrace::format::zip {
namespace {

std::shared_ptr<Opened> open(std::shared_ptr<const io::ByteSource> source, std::uint64_t memory) {
  require_zip(source->name());
  const Allowance allowance(source->name(), memory, source->memory());
  const EndRecord end = read_end_record(*source);
  std::vector<Placement> placements;
  Directory directory = read_directory(*source, end, allowance, placements);
  place_entries(*source, directory, std::move(placements), end.directory_offset, allowance);
  allowance.require(directory.memory() + CheckedSource::memory_for(directory.entries.size()));
  return std::make_shared<Opened>(std::move(source), std::move(directory));
}

}  // namespace

void check_crc(const Opened& archive, const Entry& entry, std::uint32_t found) {
  if (found == entry.crc || !archive.directory.has_checksums) return;
  throw Error(ErrorCode::format, fmt::format("{} is damaged: its checksum is wrong", entry_title(entry.name)),
              {.file = archive.source->name(),
               .expected = fmt::format("{:08x}", entry.crc),
               .found = fmt::format("{:08x}", found),
               .hint = "download or copy the file again"});
}

struct Archive::Impl {
  std::shared_ptr<Opened> archive;
  std::shared_ptr<const CheckedSource> bytes = std::make_shared<const CheckedSource>(archive);
};

Archive::Archive(std::shared_ptr<const io::ByteSource> source, std::uint64_t memory)
    : impl_(std::make_unique<Impl>(Impl{open(std::move(source), memory)})) {}

Archive::~Archive() = default;

std::span<const Entry> Archive::entries() const noexcept { return impl_->archive->directory.entries; }

const Entry* Archive::find(std::string_view name) const noexcept {
  const Directory& directory = impl_->archive->directory;
  const auto at = directory.index.find(name, directory.name_of());
  return at ? &directory.entries[*at] : nullptr;
}

std::shared_ptr<const io::ByteSource> Archive::bytes() const noexcept { return impl_->bytes; }

std::shared_ptr<const io::ByteSource> Archive::inflated(const Entry& entry) const {
  return std::make_shared<const InflatedSource>(impl_->archive, entry);
}

std::vector<std::byte> Archive::read(const Entry& entry, std::uint64_t most) const {
  const Opened& archive = *impl_->archive;
  if (entry.bytes > most) {
    throw Error(ErrorCode::format, fmt::format("{} is too large", entry_title(entry.name)),
                {.file = archive.source->name(),
                 .offset = entry.data_offset,
                 .expected = fmt::format("at most {} bytes", most),
                 .found = fmt::to_string(entry.bytes)});
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(entry.bytes));
  if (entry.deflated) {
    InflatingReader(archive, entry).next(bytes);
  } else {
    archive.source->read_at(entry.data_offset, bytes);
    check_crc(archive, entry, crc32(0, bytes));
  }
  return bytes;
}

void Archive::read_start(const Entry& entry, std::span<std::byte> out) const {
  if (out.size() > entry.bytes) {
    throw Error(ErrorCode::format, fmt::format("{} ends too soon", entry_title(entry.name)),
                {.file = impl_->archive->source->name(),
                 .offset = entry.data_offset,
                 .expected = fmt::format("at least {} bytes", out.size()),
                 .found = fmt::to_string(entry.bytes)});
  }
  if (entry.deflated) {
    constexpr std::size_t kLittle = 4 << 10;  // stored bytes are mostly more, once inflated
    InflatingReader(*impl_->archive, entry, std::max(kLittle, out.size())).next(out);
  } else {
    impl_->bytes->look_at(entry.data_offset, out);
  }
}

std::size_t Archive::memory() const noexcept { return impl_->archive->directory.memory(); }

}  // namespace headrace::format::zip
