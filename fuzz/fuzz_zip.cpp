// Any bytes as a zip archive, as an archive of arrays, and as one array: whatever is accepted lies where it may, and
// can be read or is refused by name.
#include "format/numpy/numpy.hpp"
#include "format/zip/archive.hpp"
#include "fuzz_support.hpp"
#include "io/location.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace headrace::fuzz {
namespace {

constexpr std::uint64_t kMemory = std::uint64_t{16} << 20;
constexpr std::uint64_t kSmall = std::uint64_t{64} << 10;  // of an entry that is read

/// One read at a time: threads would only slow this down.
class OneByOne final : public test::MemorySource {
 public:
  using MemorySource::MemorySource;
  unsigned parallel_reads() const noexcept override { return 1; }
};

/// False when `action` throws an error that a hostile file may cause.
template <class Action>
bool succeeds(const Action& action) {
  try {
    action();
    return true;
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format || error.code() == ErrorCode::unsupported ||
            error.code() == ErrorCode::budget);
    return false;
  }
}

/// Reads an entry in two ways; what both accept must be the same.
void read_entry(const format::zip::Archive& archive, const format::zip::Entry& entry) {
  std::vector<std::byte> whole, parts(static_cast<std::size_t>(entry.bytes));
  const bool read = succeeds([&] { whole = archive.read(entry, kSmall); });
  const bool read_in_parts = succeeds([&] {
    const auto source = entry.deflated ? archive.inflated(entry) : archive.bytes();
    const std::uint64_t begin = entry.deflated ? 0 : entry.data_offset;
    const std::size_t half = parts.size() / 2;
    source->read_at(begin + half, std::span(parts).subspan(half));
    source->read_at(begin, std::span(parts).first(half));
    if (entry.deflated) source->finish();  // the archive's own would speak of other entries too
  });
  require(read == read_in_parts || parts.empty());
  if (read && read_in_parts) require(whole == parts);
  std::vector<std::byte> start(std::min<std::size_t>(parts.size(), 12));
  if (succeeds([&] { archive.read_start(entry, start); }) && read)
    require(std::ranges::equal(start, std::span(whole).first(start.size())));
}

void check_entries(const format::zip::Archive& archive, std::uint64_t size) {
  require(archive.memory() <= kMemory);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;
  for (const format::zip::Entry& entry : archive.entries()) {
    require(archive.find(entry.name) == &entry);
    require(entry.data_offset <= size && entry.stored_bytes <= size - entry.data_offset);
    extents.emplace_back(entry.data_offset, entry.data_offset + entry.stored_bytes);
  }
  std::ranges::sort(extents);
  for (std::size_t i = 1; i < extents.size(); ++i) require(extents[i - 1].second < extents[i].first);
  std::size_t read = 0;
  for (const format::zip::Entry& entry : archive.entries()) {
    if (entry.bytes <= kSmall && ++read <= 16) read_entry(archive, entry);
  }
}

void check_tensors(const format::Contents& contents) {
  require(contents.header.format == Format::numpy);
  for (const TensorInfo& tensor : contents.header.tensors.tensors()) {
    const io::ByteSource& file = *contents.files.at(tensor.file);
    require(tensor.offset <= file.size() && tensor.bytes <= file.size() - tensor.offset);
    require(bytes_of(tensor.dtype, tensor.elements) == tensor.bytes);
    if (tensor.encoding != Encoding::strided) continue;
    const auto& strided = std::get<format::Strided>(contents.header.stored_as(tensor));
    require(strided.strides.size() == tensor.shape.size());
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * strided.strides[i];
    require(last + 1 == tensor.elements);
  }
}

}  // namespace
}  // namespace headrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace headrace;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const io::Location location("fuzz.npz");
  const SourceOptions options;
  const format::Opening opening{location, options, fuzz::kMemory};
  fuzz::succeeds(
      [&] { fuzz::check_tensors(format::numpy::open_array(std::make_shared<fuzz::OneByOne>(bytes), opening)); });
  std::shared_ptr<const format::zip::Archive> archive;
  if (!fuzz::succeeds([&] {
        archive = std::make_shared<const format::zip::Archive>(std::make_shared<fuzz::OneByOne>(bytes), fuzz::kMemory);
      })) {
    return 0;
  }
  fuzz::check_entries(*archive, size);
  fuzz::succeeds([&] { fuzz::check_tensors(format::numpy::open_archive(archive, opening)); });
  return 0;
}
