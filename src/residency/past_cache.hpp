// PastCache: tensors read past the system's cache, into memory that is used again.
#pragma once

#include "io/direct_readers.hpp"
#include "plan/plan.hpp"
#include "residency/block_pool.hpp"

#include <cstdint>
#include <memory>
#include <string_view>

namespace headrace::residency {

/// Of tensors that are used as they lie in files of this machine (is_used_as_it_lies). Thread-safe.
class PastCache {
 public:
  /// `plan`: made for memory; outlives this. `ahead`: bytes of tensors that are read before they are used.
  PastCache(const Plan::Impl& plan, std::uint64_t ahead);

  /// True when the system's cache has given up most of the tensor; `tensor`: of the plan.
  bool is_lost(std::uint32_t tensor) const noexcept;
  /// Its bytes. Null where the file isn't read so, or there is no memory: then the cache has to do. `name`: in the map.
  /// Throws Error(io).
  std::shared_ptr<std::byte> read(std::uint32_t tensor, std::string_view name) const;
  /// Memory that waits to be used again goes back to the system.
  void trim() const noexcept { blocks_.trim(); }

 private:
  std::shared_ptr<const io::DirectReader> reader_of(const io::File& file) const;

  const Plan::Impl& plan_;
  const io::DirectReaders readers_;
  const BlockPool blocks_;
};

}  // namespace headrace::residency
