#include "format/imatrix/imatrix.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace headrace::format::imatrix {
namespace {

constexpr std::size_t kPart = 1024;  // weights added up at a time

// Adds another file's sums to those in `out`.
void add_sums(const ImatrixFile& file, std::size_t entry, std::uint64_t first, std::span<float> out) {
  std::array<float, kPart> more;
  for (std::size_t done = 0; done < out.size(); done += kPart) {
    const std::span<float> part = out.subspan(done, std::min(kPart, out.size() - done));
    file.read_sums(entry, first + done, std::span(more).first(part.size()));
    for (std::size_t i = 0; i < part.size(); ++i) part[i] += more[i];
  }
}

}  // namespace

Imatrix Imatrix::open(std::span<const std::filesystem::path> paths, std::uint64_t memory) {
  Imatrix matrix;
  for (const std::filesystem::path& path : paths)
    matrix.files_.push_back(ImatrixFile::open(path, memory - std::min<std::uint64_t>(memory, matrix.memory())));
  return matrix;
}

std::optional<std::uint64_t> Imatrix::size_of(std::string_view tensor) const {
  std::optional<std::uint64_t> size;
  for (const ImatrixFile& file : files_) {
    const auto entry = file.find(tensor);
    if (!entry) continue;
    const TensorInfo& sums = file.entries()[*entry];
    if (size && *size != sums.elements) {
      throw Error(ErrorCode::format, "the importance matrices have different numbers of weights for this tensor",
                  {.file = file.file().name(),
                   .tensor = printable(tensor),
                   .offset = sums.offset,
                   .expected = fmt::to_string(*size),
                   .found = fmt::to_string(sums.elements)});
    }
    size = sums.elements;
  }
  return size;
}

void Imatrix::read(std::string_view tensor, std::uint64_t first, std::span<float> out) const {
  float count = 0;
  const ImatrixFile* last = nullptr;
  for (const ImatrixFile& file : files_) {
    const auto entry = file.find(tensor);
    if (!entry) continue;
    const float samples = file.count_at(*entry, first);
    if (samples == 0) continue;
    if (count > 0) {
      add_sums(file, *entry, first, out);
    } else {
      file.read_sums(*entry, first, out);
    }
    count += samples;
    last = &file;
  }
  if (last == nullptr) {
    std::ranges::fill(out, 1.0F);
    return;
  }
  for (float& weight : out) weight /= count;
  const auto bad = std::ranges::find_if(out, [](float weight) { return !(weight <= kMostWeight); });
  if (bad != out.end()) {
    throw Error(ErrorCode::value, "the importance matrix has a weight too large to work with",
                {.file = last->file().name(),
                 .tensor = printable(tensor),
                 .expected = fmt::format("at most {}", kMostWeight),
                 .found = fmt::format("{}", *bad)});
  }
}

std::size_t Imatrix::memory() const noexcept {
  std::size_t bytes = 0;
  for (const ImatrixFile& file : files_) bytes += file.memory();
  return bytes;
}

}  // namespace headrace::format::imatrix
