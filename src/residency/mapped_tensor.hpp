// MappedTensor::Pages: the pages of a file that a tensor lies on.
#pragma once

#include "io/fault_watch.hpp"
#include "io/mapping.hpp"
#include "plan/plan.hpp"

#include <headrace/device.hpp>
#include <headrace/disk_map.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace headrace {

namespace residency {

/// Throws Error(io), naming the tensor, when the file was written to since it was opened.
void require_unchanged(const io::File& file, std::string_view name);

/// What the system's cache has of some bytes of a file. lost: less than half; holes that are smaller are filled through
/// it. some: nobody says, too.
enum class InCache : std::uint8_t { all, some, lost };
InCache in_cache(const io::File& file, std::uint64_t first, std::uint64_t count) noexcept;

/// True for a large tensor (128 KiB) whose bytes are a range of a file of this machine, as they are stored there.
bool is_given_as_stored(const Plan::Impl& plan, std::uint32_t tensor);
/// And that can be used there: see DiskMap::view.
bool is_used_as_it_lies(const Plan::Impl& plan, std::uint32_t tensor);

}  // namespace residency

/// Thread-safe.
class MappedTensor::Pages {
 public:
  /// Null where DiskMap::map gives nothing. `tensor`: of a plan made for memory, which stays as long as the pages.
  /// `name`: what it is called in the map.
  static std::shared_ptr<const Pages> of(std::shared_ptr<const Plan::Impl> plan, std::uint32_t tensor,
                                         std::string_view name, DiskMap::Around around);

  Pages(std::shared_ptr<const Plan::Impl> plan, const io::File& file, const TensorInfo& from, std::string_view name,
        DiskMap::Around around);

  /// The memory alone: it isn't watched any more when these have gone, for there is nobody left to ask.
  const std::shared_ptr<const io::Mapping>& mapping() const noexcept { return mapping_; }
  bool is_lost() const noexcept;
  enum class Bring : std::uint8_t { was_cached, read, failed };
  Bring bring() const noexcept;
  void let_go() const noexcept { mapping_->forget(0, mapping_->pages().size()); }
  void require_intact() const;
  [[noreturn]] void fail() const;

 private:
  const std::shared_ptr<const Plan::Impl> plan_;  // has the file open
  const io::File& file_;
  const std::uint64_t first_;  // byte of the file
  const std::string name_;
  const std::shared_ptr<const io::Mapping> mapping_;
  const io::FaultWatch watch_;
};

}  // namespace headrace
