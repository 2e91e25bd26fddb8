// MaterialReader: the numbers that a plan's tensors are made of, whatever they are put together from.
#pragma once

#include "plan/material.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace headrace::flow {

/// Reads tensors of the inputs, joins and cuts them, and multiplies 8-bit floats with their scales. Thread-safe.
/// Scales are read when they are first needed, each once, and kept; memory_of_scales() says beforehand what they take.
/// A product that isn't finite though the number and the scale are is left to whoever checks the numbers.
class MaterialReader {
 public:
  /// `material` must outlive it.
  explicit MaterialReader(const plan::Material& material);

  /// Fills `out` with the bytes of tensor `i`'s source from `first_byte` on: plan::Material::source_of(i) says of what
  /// type. Where the source is scaled, whole elements. Throws Error as io::ByteSource::read_at.
  void read(std::size_t i, std::uint64_t first_byte, std::span<std::byte> out) const;

  /// Reads the scales that lie before tensor `i` in its stream and are needed later. Called in the stream's order.
  void read_scales_before(std::size_t i) const;

  /// Bytes that all scales take once they are read.
  static std::uint64_t memory_of_scales(const plan::Material& material);

 private:
  using Numbers = std::vector<float>;

  void read_range(const plan::Range& range, std::uint64_t first_byte, std::span<std::byte> out) const;
  void read_scaled(const plan::Range& range, std::uint64_t first, std::span<std::byte> out) const;
  const Numbers& scale(plan::TensorRef ref) const;

  const plan::Material& material_;
  std::vector<plan::TensorRef> needed_;  // scales, in the order of their sources' bytes
  mutable std::mutex mutex_;
  mutable std::size_t passed_ = 0;  // of `needed_`, by streams
  mutable std::map<std::pair<std::uint32_t, std::uint32_t>, Numbers> scales_;
};

}  // namespace headrace::flow
