#include "format/zip/deflate.hpp"

#include <isa-l/crc.h>
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

namespace headrace::format::zip {

void require_zip(const std::string&) {}

// Not zlib's, which was measured at 1.3 GB/s and would be most of what reading an archive takes; ISA-L's at 58 GB/s,
// libdeflate's at 20 GB/s (512 KiB in the cache, AVX-512).
std::uint32_t crc32(std::uint32_t crc, std::span<const std::byte> bytes) noexcept {
  return ::crc32_gzip_refl(crc, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

std::uint32_t ChecksumJoiner::join(std::uint32_t first, std::uint32_t second, std::uint64_t second_bytes) noexcept {
  if (second_bytes == 0) return first;
  if (second_bytes != bytes_) {
    bytes_ = second_bytes;
    shift_ = static_cast<std::uint32_t>(::crc32_combine_gen(static_cast<z_off_t>(second_bytes)));
  }
  return static_cast<std::uint32_t>(::crc32_combine_op(first, second, shift_));
}

struct Inflater::Stream {
  z_stream z{};
};

Inflater::Inflater() : stream_(std::make_unique<Stream>()) {
  constexpr int kRaw = -MAX_WBITS;  // no header of zlib's or gzip's around it
  if (::inflateInit2(&stream_->z, kRaw) != Z_OK) throw std::bad_alloc();
}

Inflater::~Inflater() { ::inflateEnd(&stream_->z); }

Inflater::Step Inflater::step(std::span<const std::byte> in, std::span<std::byte> out) noexcept {
  constexpr std::size_t kMost = std::numeric_limits<uInt>::max();
  z_stream& z = stream_->z;
  z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(in.data()));  // zlib only reads it
  z.avail_in = static_cast<uInt>(std::min(in.size(), kMost));
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(std::min(out.size(), kMost));
  const uInt in_bytes = z.avail_in, out_bytes = z.avail_out;
  const int result = ::inflate(&z, Z_NO_FLUSH);
  const State state = result == Z_STREAM_END                    ? State::end
                      : result == Z_OK || result == Z_BUF_ERROR ? State::more
                                                                : State::damaged;
  return {in_bytes - z.avail_in, out_bytes - z.avail_out, state};
}

}  // namespace headrace::format::zip
