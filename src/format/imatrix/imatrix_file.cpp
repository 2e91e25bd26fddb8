#include "format/imatrix/imatrix_file.hpp"

#include "format/allowance.hpp"
#include "format/gguf/cursor.hpp"
#include "format/gguf/gguf.hpp"
#include "format/gguf/header_reader.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <string>
#include <utility>

namespace headrace::format::imatrix {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are read as they are");

constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";
constexpr std::uint32_t kLongestName = 1 << 16;
// The legacy kind counts calls of a batch, the other one tokens: a batch is 512 tokens unless its maker was told
// otherwise. A power of two, so that it changes no mean, only how two files weigh against each other.
constexpr float kTokensPerCall = 512;

[[noreturn]] void refuse(const io::File& file, std::string problem, std::uint64_t offset, std::string_view tensor = {},
                         std::string found = {}) {
  throw Error(ErrorCode::format, std::move(problem),
              {.file = file.name(),
               .tensor = printable(tensor),
               .offset = offset,
               .found = std::move(found),
               .hint = "is this an importance matrix? llama-imatrix makes one"});
}

template <class T>
T number_at(const io::File& file, std::uint64_t offset) {
  T number{};
  file.read_at(offset, std::as_writable_bytes(std::span(&number, 1)));
  return number;
}

bool is_gguf(const io::File& file) {
  return file.size() >= sizeof(std::uint32_t) && number_at<std::uint32_t>(file, 0) == gguf::kMagic;
}

// The sums that belong to counts, and the reverse, have this tensor's name with another ending.
std::string with_ending(std::string_view name, std::string_view ending) {
  return std::string(name.substr(0, name.size() - kSums.size())) + std::string(ending);
}

}  // namespace

ImatrixFile ImatrixFile::open(const std::filesystem::path& path, std::uint64_t memory) {
  ImatrixFile result(io::File::open(path));
  if (is_gguf(result.file_)) {
    result.read_gguf(memory);
  } else {
    result.read_legacy(memory);
  }
  if (result.entries().empty()) {
    throw Error(ErrorCode::format, "there is no importance matrix in this file",
                {.file = result.file_.name(),
                 .expected = "tensors named *.in_sum2, or the entries of a legacy .dat file",
                 .hint = "llama-imatrix makes one"});
  }
  return result;
}

void ImatrixFile::add(TensorInfo sums, Counts counts, std::uint64_t memory) {
  Allowance(file_.name(), memory)
      .require(entries_.memory_while_adding(sums.name.size(), 0) + 2 * counts_.capacity() * sizeof(Counts));
  sums.shape = {};
  if (!entries_.add(sums)) refuse(file_, "the importance matrix has this tensor twice", sums.offset, sums.name);
  counts_.push_back(counts);
}

void ImatrixFile::read_gguf(std::uint64_t memory) {
  const Header header = gguf::read_header(file_, memory / 2);  // it goes when the names have been picked out
  if (const auto kind = header.metadata.find("general.type"); kind && kind->as_string() != "imatrix") {
    throw Error(ErrorCode::format, "this GGUF holds no importance matrix",
                {.file = file_.name(),
                 .expected = "general.type \"imatrix\"",
                 .found = kind->to_string(),
                 .hint = "llama-imatrix makes one"});
  }
  for (TensorInfo sums : header.tensors.tensors()) {
    if (!sums.name.ends_with(kSums) || sums.name.size() == kSums.size()) continue;
    const auto at = header.tensors.find(with_ending(sums.name, kCounts));
    if (!at) refuse(file_, "there are sums without counts", sums.offset, sums.name);
    const TensorInfo& counts = header.tensors.tensors()[*at];
    if (sums.encoding != Encoding::plain || counts.encoding != Encoding::plain) {
      throw Error(
          ErrorCode::unsupported, "the importance matrix is in the other byte order",
          {.file = file_.name(), .tensor = printable(sums.name), .hint = "turn it with headrace convert first"});
    }
    if (sums.dtype != DType::F32 || counts.dtype != DType::F32)
      refuse(file_, "sums and counts must be F32", sums.offset, sums.name);
    const std::uint64_t matrices = sums.shape.size() == 2 ? sums.shape[0] : 1;
    if (sums.elements == 0 || sums.shape.size() > 2 || counts.elements != matrices || matrices > UINT32_MAX) {
      refuse(file_, "the sums must be [matrices, columns], with a count for each matrix", sums.offset, sums.name,
             fmt::format("{} and {} counts", to_string(sums.shape), counts.elements));
    }
    sums.name.remove_suffix(kSums.size());
    add(sums, {counts.offset, static_cast<std::uint32_t>(counts.elements)}, memory / 2);
  }
}

void ImatrixFile::read_legacy(std::uint64_t memory) {
  constexpr std::uint64_t kLeast = 4 + 4 + 4;  // bytes of an entry
  const std::uint64_t size = file_.size();
  const auto entries = size < 4 ? 0 : number_at<std::int32_t>(file_, 0);
  if (entries < 1 || static_cast<std::uint64_t>(entries) > size / kLeast) {
    throw Error(ErrorCode::format, "this is no importance matrix",
                {.file = file_.name(),
                 .offset = 0,
                 .expected = "a GGUF, or a legacy .dat file and its number of entries",
                 .hint = "llama-imatrix makes one"});
  }
  std::uint64_t at = 4;
  std::string name;
  const auto require = [&](std::uint64_t bytes, const char* what) {
    if (bytes > size - at) refuse(file_, fmt::format("the file ends inside {}", what), at, name);
  };
  for (std::int32_t i = 0; i < entries; ++i) {
    name.clear();
    require(4, "the length of a name");
    const auto length = number_at<std::uint32_t>(file_, at);
    at += 4;
    if (length == 0 || length > kLongestName)
      refuse(file_, "a name's length makes no sense", at - 4, {}, fmt::to_string(length));
    require(length, "a name");
    name.resize(length);
    file_.read_at(at, std::as_writable_bytes(std::span(name)));
    at += length;
    require(8, "an entry's counts");
    const std::uint64_t counts_at = at;
    const auto values = number_at<std::int32_t>(file_, at + 4);
    at += 8;
    if (number_at<std::int32_t>(file_, counts_at) < 0) refuse(file_, "an entry of less than no calls", counts_at, name);
    if (values < 1) refuse(file_, "an entry without values", at - 4, name, fmt::to_string(values));
    TensorInfo sums;
    sums.name = name;
    sums.elements = static_cast<std::uint64_t>(values);
    sums.offset = at;
    sums.bytes = sums.elements * sizeof(float);
    require(sums.bytes, "an entry's values");
    at += sums.bytes;
    add(sums, {counts_at, 0}, memory);
  }
}

std::uint64_t ImatrixFile::columns_of(std::size_t entry) const noexcept {
  const std::uint32_t matrices = counts_[entry].matrices;
  return matrices == 0 ? 0 : entries()[entry].elements / matrices;
}

// What reads knows no tensors; its errors learn the name here.
void ImatrixFile::read_at(std::size_t entry, std::uint64_t offset, std::span<std::byte> out) const {
  try {
    file_.read_at(offset, out);
  } catch (const Error& error) {
    ErrorDetail detail = error.detail();
    detail.tensor = printable(entries()[entry].name);
    throw Error(error.code(), error.problem(), std::move(detail));
  }
}

void ImatrixFile::read_sums(std::size_t entry, std::uint64_t first, std::span<float> out) const {
  const TensorInfo& sums = entries()[entry];
  const std::uint64_t offset = sums.offset + first * sizeof(float);
  read_at(entry, offset, std::as_writable_bytes(out));
  const bool legacy = counts_[entry].matrices == 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!std::isfinite(out[i]) || out[i] < 0) {
      throw Error(ErrorCode::value, "the importance matrix has a value that is no sum of squares",
                  {.file = file_.name(),
                   .tensor = printable(sums.name),
                   .offset = offset + i * sizeof(float),
                   .expected = "a finite number, not negative",
                   .found = fmt::format("{}", out[i])});
    }
    if (legacy) out[i] *= kTokensPerCall;
  }
}

float ImatrixFile::count_at(std::size_t entry, std::uint64_t value) const {
  const Counts& counts = counts_[entry];
  if (counts.matrices == 0) {
    std::int32_t calls = 0;
    read_at(entry, counts.offset, std::as_writable_bytes(std::span(&calls, 1)));
    return static_cast<float>(calls > 0 ? calls : 1) * kTokensPerCall;  // without calls the values are means already
  }
  const std::uint64_t offset = counts.offset + value / columns_of(entry) * sizeof(float);
  float count = 0;
  read_at(entry, offset, std::as_writable_bytes(std::span(&count, 1)));
  if (!std::isfinite(count) || count < 0) {
    throw Error(ErrorCode::value, "the importance matrix has a count that is none",
                {.file = file_.name(),
                 .tensor = printable(entries()[entry].name),
                 .offset = offset,
                 .expected = "a finite number, not negative",
                 .found = fmt::format("{}", count)});
  }
  return count;
}

}  // namespace headrace::format::imatrix
