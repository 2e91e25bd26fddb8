// Reads the list of tensors of a GGUF header.
#pragma once

#include "format/allowance.hpp"
#include "format/gguf/cursor.hpp"
#include "format/gguf/gguf.hpp"
#include "format/tensor_table.hpp"

#include <array>
#include <cstdint>
#include <string>

namespace headrace::format::gguf {

/// Checks each tensor's name, shape, type and place on the way. Offsets are relative to the data.
class TensorsReader {
 public:
  /// `held`: bytes that the rest of the header holds already.
  TensorsReader(Cursor& cursor, const std::string& file, const Allowance& allowance, std::uint64_t alignment,
                std::uint64_t held)
      : cursor_(cursor), file_(file), allowance_(allowance), alignment_(alignment), held_(held) {}

  /// `count` has been checked against the bytes left in the file.
  TensorTable read(std::size_t count);

 private:
  void read_tensor();
  void read_name();
  void read_shape(TensorInfo& tensor);
  void read_type(TensorInfo& tensor);
  void set_bytes(TensorInfo& tensor) const;
  void read_offset(TensorInfo& tensor);
  [[noreturn]] void fail(std::uint64_t at, std::string problem, std::string expected = {}, std::string found = {},
                         std::string hint = {}) const;

  Cursor& cursor_;
  const std::string& file_;
  const Allowance& allowance_;
  std::uint64_t alignment_;
  std::uint64_t held_;
  std::uint64_t expected_offset_ = 0;
  TensorTable table_;
  std::string name_;  // of the tensor being read
  std::array<std::uint64_t, kMaxRankRead> shape_{};
};

}  // namespace headrace::format::gguf
