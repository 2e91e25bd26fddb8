#include <headrace/error.hpp>
#include <headrace/retype.hpp>

#include "base/fpu.hpp"
#include "codec/codec.hpp"
#include "codec/refusal.hpp"

#include <cstring>
#include <string>

namespace headrace {

bool can_read(DType dtype) noexcept { return codec::can_decode(dtype) && !info(dtype).internal; }
bool can_make(DType dtype) noexcept { return codec::can_encode(dtype) && !info(dtype).internal; }

void retype(DType from, std::span<const std::byte> src, DType to, std::span<std::byte> dst, Nonfinite nonfinite) {
  codec::require_pair(from, to, {});
  const DTypeInfo &before = info(from), &after = info(to);
  const auto refuse_size = [](const std::string& problem, std::size_t expected, std::size_t found) {
    throw Error(ErrorCode::invalid_argument, problem,
                {.expected = std::to_string(expected) + " bytes", .found = std::to_string(found)});
  };
  if (before.block_bytes == 0) {  // text, which only ever stays what it is
    if (src.size() != dst.size()) refuse_size("the output hasn't the size of the input", src.size(), dst.size());
    if (!src.empty()) std::memcpy(dst.data(), src.data(), src.size());
    return;
  }
  const codec::Transcoder transcoder(from, to, nonfinite == Nonfinite::refuse);
  const std::size_t unit = transcoder.granule() / before.block_elements * before.block_bytes;
  if (src.size() % unit != 0) {
    throw Error(ErrorCode::invalid_argument, "the input is no whole number of blocks",
                {.expected = "a multiple of " + std::to_string(unit) + " bytes", .found = std::to_string(src.size())});
  }
  const std::size_t elements = src.size() / before.block_bytes * before.block_elements;
  const std::size_t made = elements / after.block_elements * after.block_bytes;
  if (dst.size() != made) refuse_size("the output hasn't the size that the numbers take", made, dst.size());
  const base::FloatMode mode;
  if (const auto bad = transcoder.run(src.data(), dst.data(), elements))
    codec::refuse_value(bad->element, bad->value, to, {});
}

}  // namespace headrace
