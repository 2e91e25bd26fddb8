// GrowingHeader: a header with room for tensors that are declared when the file is being written.
#pragma once

#include "format/layout.hpp"

#include <headrace/metadata.hpp>
#include <headrace/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace headrace::format::safetensors {

/// The length of the header is fixed by where the data begins, so what is added must fit the blanks at its end.
/// Not thread-safe.
class GrowingHeader {
 public:
  /// Of a file as it was laid out, with all its `tensors` and `metadata`. `file`: for errors.
  GrowingHeader(const Layout& layout, std::span<const TensorInfo> tensors, const Metadata& metadata, std::string file);

  /// Places a tensor behind all others; its type and that its name is new have been checked. Nothing is changed by a
  /// throw: Error(invalid_argument) when the blanks don't suffice, and what lay_out throws for a tensor.
  void add(TensorInfo& tensor);

  bool has_grown() const noexcept { return grown_; }
  std::uint64_t file_bytes() const noexcept { return end_; }
  /// The header as it is now; `tensors` and `metadata` are all that were given.
  std::vector<std::byte> bytes(std::span<const TensorInfo> tensors, const Metadata& metadata) const;

 private:
  std::string file_;
  std::uint64_t data_, end_, blanks_;  // where the data begins and ends, in bytes; what is free before it
  bool grown_ = false;
};

}  // namespace headrace::format::safetensors
