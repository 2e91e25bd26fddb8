// TensorList: checks the tensors that a pickle describes against their storages, and lists them.
#pragma once

#include "format/header.hpp"
#include "format/torch/values.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace headrace::format::torch {

/// Where a storage's bytes lie.
struct Place {
  std::uint32_t file = 0;
  std::uint64_t offset = 0;
};

class TensorList {
 public:
  /// Finds a storage's bytes, all of them. Throws Error naming the tensor that asks for it.
  using FindPlace = std::function<Place(const Storage& storage, std::uint32_t number, std::string_view tensor)>;

  /// `file`: for errors. Everything referred to must outlive this.
  TensorList(Values& values, const std::string& file, FindPlace find_place);

  /// So many will be added: asks for their room at once.
  void reserve(std::size_t tensors);

  /// Checks and adds a tensor. Throws Error: format (it goes past its storage, or its name is there already),
  /// unsupported (numbers that can't be held, or that torch hasn't computed yet), budget.
  void add(std::string_view name, const RawTensor& tensor);

  /// The header of what was added. To be called once.
  Header take();

 private:
  struct Extent {
    std::uint64_t first_byte = 0;  // in the storage
    std::uint64_t elements = 0, bytes = 0;
    bool contiguous = true;
  };

  Extent extent_of(std::string_view name, const RawTensor& tensor) const;
  [[noreturn]] void refuse(std::string_view name, const RawTensor& tensor, ErrorCode code, std::string problem,
                           std::string expected = {}, std::string found = {}, std::string hint = {}) const;

  Values& values_;
  const std::string& file_;
  FindPlace find_place_;
  Header header_;
  std::uint64_t stored_bytes_ = 0;
};

}  // namespace headrace::format::torch
