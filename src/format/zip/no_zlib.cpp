// The stand-in for deflate.cpp in a build without zlib. No archive is opened there, so nothing else is ever called.
#include "format/zip/deflate.hpp"

#include <headrace/error.hpp>

namespace headrace::format::zip {

void require_zip(const std::string& file) {
  throw Error(ErrorCode::unsupported, "this build of Headrace can't read zip archives (PyTorch's .pt, NumPy's .npz)",
              {.file = file, .hint = "build it with the CMake option HEADRACE_ZLIB=ON"});
}

std::uint32_t crc32(std::uint32_t, std::span<const std::byte>) noexcept { return 0; }

std::uint32_t ChecksumJoiner::join(std::uint32_t, std::uint32_t, std::uint64_t) noexcept {
  bytes_ = 0;
  return shift_ = 0;
}

struct Inflater::Stream {};

Inflater::Inflater() = default;
Inflater::~Inflater() = default;

Inflater::Step Inflater::step(std::span<const std::byte>, std::span<std::byte>) noexcept {
  return {.state = State::damaged};
}

}  // namespace headrace::format::zip
