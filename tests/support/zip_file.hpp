// Zip files made by hand, right ones and wrong ones.
#pragma once

#include "support/memory_source.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::test {

inline std::uint32_t crc_of(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

/// A raw deflate stream.
inline std::string deflated(std::string_view bytes) {
  z_stream z{};
  ::deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(::deflateBound(&z, bytes.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  ::deflate(&z, Z_FINISH);
  out.resize(out.size() - z.avail_out);
  ::deflateEnd(&z);
  return out;
}

/// What an entry claims, where that isn't the truth.
struct ZipClaims {
  std::optional<std::uint16_t> flags = {}, method = {}, local_flags = {}, local_method = {};
  std::optional<std::uint32_t> crc = {}, local_crc = {};
  std::optional<std::uint64_t> bytes = {}, stored_bytes = {}, local_bytes = {}, header = {};
  std::optional<std::string> local_name = {};
  std::string local_extra = {};
  bool descriptor = false;  // sizes and checksum follow the data
  bool zip64 = false;       // sizes and offset in the ZIP64 field
};

class ZipFile {
 public:
  /// `prefix`: bytes before the first entry, which offsets count.
  explicit ZipFile(std::string prefix = {}) : bytes_(std::move(prefix)) {}

  ZipFile& add(const std::string& name, std::string_view data, const ZipClaims& claims = {}) {
    return put(name, data, std::string(data), 0, claims);
  }
  ZipFile& add_deflated(const std::string& name, std::string_view data, const ZipClaims& claims = {}) {
    return put(name, data, deflated(data), 8, claims);
  }
  /// An entry whose deflated bytes are given.
  ZipFile& add_stream(const std::string& name, std::string_view data, const std::string& stream,
                      const ZipClaims& claims = {}) {
    return put(name, data, stream, 8, claims);
  }

  /// Where the next entry's local header will be.
  std::uint64_t next() const { return bytes_.size(); }

  struct End {
    std::string comment = {};
    bool zip64 = false;
    std::optional<std::uint64_t> entries = {}, directory_bytes = {}, directory_offset = {};
    std::uint16_t disk = 0;
  };

  std::string finish() const { return finish(End{}); }
  std::string finish(const End& end) const {
    const std::uint64_t entries = end.entries.value_or(entries_),
                        bytes = end.directory_bytes.value_or(directory_.size()),
                        offset = end.directory_offset.value_or(bytes_.size());
    std::string out = bytes_ + directory_;
    if (end.zip64) {
      const std::uint64_t at = out.size();
      out += raw(0x06064B50u) + raw(std::uint64_t{44}) + raw(std::uint16_t{45}) + raw(std::uint16_t{45}) + raw(0u) +
             raw(0u) + raw(entries) + raw(entries) + raw(bytes) + raw(offset);
      out += raw(0x07064B50u) + raw(0u) + raw(at) + raw(1u);
    }
    const auto narrow16 = [](std::uint64_t number) {
      return static_cast<std::uint16_t>(std::min<std::uint64_t>(number, 0xFFFF));
    };
    const auto narrow32 = [](std::uint64_t number) {
      return static_cast<std::uint32_t>(std::min<std::uint64_t>(number, 0xFFFFFFFF));
    };
    out += raw(0x06054B50u) + raw(end.disk) + raw(end.disk) + raw(narrow16(entries)) + raw(narrow16(entries)) +
           raw(narrow32(bytes)) + raw(narrow32(offset)) + raw(static_cast<std::uint16_t>(end.comment.size())) +
           end.comment;
    return out;
  }

 private:
  static constexpr std::uint32_t kSee64 = std::numeric_limits<std::uint32_t>::max();

  ZipFile& put(const std::string& name, std::string_view data, const std::string& stored, std::uint16_t method,
               const ZipClaims& claims) {
    const std::uint64_t header = claims.header.value_or(bytes_.size());
    const std::uint64_t bytes = claims.bytes.value_or(data.size()),
                        stored_bytes = claims.stored_bytes.value_or(stored.size());
    const std::uint32_t crc = claims.crc.value_or(crc_of(data));
    const std::uint16_t flags = claims.flags.value_or(claims.descriptor ? 8 : 0);
    put_local(name, {claims.local_bytes.value_or(bytes), stored_bytes, claims.local_crc.value_or(crc)}, flags, method,
              claims);
    bytes_ += stored;
    if (claims.descriptor)
      bytes_ += raw(0x08074B50u) + raw(crc) + raw(static_cast<std::uint32_t>(stored_bytes)) +
                raw(static_cast<std::uint32_t>(bytes));

    const std::string extra =
        claims.zip64 ? raw(std::uint16_t{1}) + raw(std::uint16_t{24}) + raw(bytes) + raw(stored_bytes) + raw(header)
                     : "";
    const auto narrow = [&](std::uint64_t number) {
      return claims.zip64 ? kSee64 : static_cast<std::uint32_t>(number);
    };
    directory_ += raw(0x02014B50u) + raw(std::uint16_t{45}) + raw(std::uint16_t{45}) + raw(flags) +
                  raw(claims.method.value_or(method)) + raw(0u) + raw(crc) + raw(narrow(stored_bytes)) +
                  raw(narrow(bytes)) + raw(static_cast<std::uint16_t>(name.size())) +
                  raw(static_cast<std::uint16_t>(extra.size())) + raw(std::uint16_t{0}) + raw(std::uint16_t{0}) +
                  raw(std::uint16_t{0}) + raw(0u) + raw(narrow(header)) + name + extra;
    ++entries_;
    return *this;
  }

  struct Numbers {
    std::uint64_t bytes, stored_bytes;
    std::uint32_t crc;
  };

  void put_local(const std::string& name, Numbers numbers, std::uint16_t flags, std::uint16_t method,
                 const ZipClaims& claims) {
    const std::string local_name = claims.local_name.value_or(name);
    if (claims.descriptor) numbers = {0, 0, 0};
    std::string extra = claims.local_extra;
    if (claims.zip64)
      extra += raw(std::uint16_t{1}) + raw(std::uint16_t{16}) + raw(numbers.bytes) + raw(numbers.stored_bytes);
    const auto narrow = [&](std::uint64_t number) {
      return claims.zip64 ? kSee64 : static_cast<std::uint32_t>(number);
    };
    bytes_ += raw(0x04034B50u) + raw(std::uint16_t{45}) + raw(claims.local_flags.value_or(flags)) +
              raw(claims.local_method.value_or(claims.method.value_or(method))) + raw(0u) + raw(numbers.crc) +
              raw(narrow(numbers.stored_bytes)) + raw(narrow(numbers.bytes)) +
              raw(static_cast<std::uint16_t>(local_name.size())) + raw(static_cast<std::uint16_t>(extra.size())) +
              local_name + extra;
  }

  std::string bytes_, directory_;
  std::uint64_t entries_ = 0;
};

}  // namespace headrace::test
