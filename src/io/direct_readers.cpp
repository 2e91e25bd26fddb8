#include "io/direct_readers.hpp"

#include <algorithm>

namespace headrace::io {

std::shared_ptr<const DirectReader> DirectReaders::of(const File& file) const {
  const std::lock_guard lock(mutex_);
  const auto at = std::ranges::find(open_, &file, &Open::file);
  if (at != open_.end()) return at->reader;
  if (open_.size() == kOpen) open_.pop_front();
  open_.push_back({&file, DirectReader::open(file, lanes_, lane_bytes_, engine_)});
  return open_.back().reader;
}

}  // namespace headrace::io
