// What the header fuzzers share: whatever is accepted must survive being written and read again.
#pragma once

#include "format/header.hpp"
#include "format/layout.hpp"
#include "support/memory_source.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace headrace::fuzz {

inline void require(bool truth) {
  if (!truth) std::abort();
}

inline void require_same(const format::Header& a, const format::Header& b) {
  const auto first = a.tensors.tensors();
  const auto second = b.tensors.tensors();
  require(first.size() == second.size() && a.metadata.size() == b.metadata.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    require(first[i].name == second[i].name && first[i].dtype == second[i].dtype && first[i].bytes == second[i].bytes);
    require(first[i].elements == second[i].elements && std::ranges::equal(first[i].shape, second[i].shape));
    require(b.tensors.find(first[i].name) == i);
  }
  for (std::size_t i = 0; i < a.metadata.size(); ++i) {
    require(a.metadata.key(i) == b.metadata.key(i) && a.metadata.value(i).type() == b.metadata.value(i).type());
    require(std::ranges::equal(a.metadata.value(i).bytes(), b.metadata.value(i).bytes()));
    (void)a.metadata.value(i).to_string();
  }
}

/// Reads `bytes`; if they are a checkpoint, lays its tensors out again in the same format and reads that.
/// Only reading the input may fail with any code; what was accepted must come through.
inline void check_header(std::string bytes) {
  constexpr std::uint64_t kMemory = std::uint64_t{32} << 20;
  const std::uint64_t size = bytes.size();
  format::Header header;
  try {
    header = format::read_header(test::MemorySource(std::move(bytes)), kMemory);
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format || error.code() == ErrorCode::unsupported ||
            error.code() == ErrorCode::budget);
    return;
  }
  require(header.memory() <= kMemory && header.data_offset <= size);
  std::vector<TensorInfo> tensors(header.tensors.tensors().begin(), header.tensors.tensors().end());
  std::vector<std::uint32_t> order(tensors.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    require(tensors[i].offset >= header.data_offset && tensors[i].bytes <= size);
    require(tensors[i].offset <= size - tensors[i].bytes);
  }
  std::ranges::stable_sort(order, {}, [&](std::uint32_t i) { return std::pair(tensors[i].offset, tensors[i].bytes); });

  format::Layout layout;
  try {
    layout = format::lay_out(header.format, tensors, order, header.metadata, "out");
  } catch (const Error& error) {
    // More may be read than is written: GGUF of 5 to 8 dimensions, or aligned to more than a mebibyte.
    const bool deep = std::ranges::any_of(tensors, [](const TensorInfo& tensor) { return tensor.shape.size() > 4; });
    require(error.code() == ErrorCode::unsupported && header.format == Format::gguf &&
            (deep || header.alignment > (1u << 20)));
    return;
  }
  if (layout.file_bytes > (std::uint64_t{64} << 20)) return;  // a large alignment pads small tensors widely
  std::string again(reinterpret_cast<const char*>(layout.header.data()), layout.header.size());
  again.resize(layout.file_bytes);
  require_same(header, format::read_header(test::MemorySource(std::move(again)), 4 * kMemory));
}

}  // namespace headrace::fuzz
