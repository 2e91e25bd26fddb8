// Any bytes as an importance matrix, GGUF or legacy: whatever is accepted can be read to its end.
#include "format/imatrix/imatrix.hpp"
#include "fuzz_support.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

namespace headrace::fuzz {
namespace {

/// A file in memory that has a path while it lives.
class MemoryFile {
 public:
  MemoryFile(const std::uint8_t* data, std::size_t size) : fd_(::memfd_create("imatrix", 0)) {
    require(fd_ >= 0);
    require(::write(fd_, data, size) == static_cast<ssize_t>(size));
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

void read_all(const format::imatrix::Imatrix& matrix, const TensorInfo& entry, std::uint64_t columns) {
  std::array<float, 64> weights;
  for (std::uint64_t at = 0; at < entry.elements;) {
    const std::uint64_t in_row = columns == 0 ? entry.elements - at : columns - at % columns;
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>({in_row, weights.size(), entry.elements - at}));
    matrix.read(entry.name, at, std::span(weights).first(n));
    for (std::size_t i = 0; i < n; ++i) require(std::isfinite(weights[i]) && weights[i] >= 0);
    at += n;
  }
}

}  // namespace
}  // namespace headrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace headrace;
  constexpr std::uint64_t kMemory = std::uint64_t{32} << 20;
  const fuzz::MemoryFile file(data, size);
  try {
    const std::array paths{file.path(), file.path()};  // with itself: sums and counts are added
    const auto matrix = format::imatrix::Imatrix::open(paths, kMemory);
    fuzz::require(matrix.memory() <= kMemory);
    const auto& first = matrix.files().front();
    for (std::size_t i = 0; i < first.entries().size(); ++i) {
      fuzz::require(matrix.size_of(first.entries()[i].name) == first.entries()[i].elements);
      fuzz::read_all(matrix, first.entries()[i], first.columns_of(i));
    }
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::format || error.code() == ErrorCode::unsupported ||
                  error.code() == ErrorCode::budget || error.code() == ErrorCode::value);
  }
  return 0;
}
