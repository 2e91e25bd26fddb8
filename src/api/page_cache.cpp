#include "io/page_cache.hpp"
#include "format/checkpoint.hpp"
#include "io/file.hpp"

#include <headrace/page_cache.hpp>

namespace headrace {

std::optional<double> cached_share(const Checkpoint& checkpoint) {
  double bytes = 0, cached = 0;
  for (const auto& source : checkpoint.impl().files) {
    const io::File* file = source->file();
    if (file == nullptr) continue;
    const auto share = io::cached_share(*file);
    if (!share) return std::nullopt;
    bytes += static_cast<double>(file->size());
    cached += *share * static_cast<double>(file->size());
  }
  if (bytes == 0) return std::nullopt;
  return cached / bytes;
}

bool drop_cached(const Checkpoint& checkpoint) {
  bool any = false;
  for (const auto& source : checkpoint.impl().files) {
    const io::File* file = source->file();
    if (file == nullptr) continue;
    io::flush_and_drop(*file);
    any = true;
  }
  return any;
}

}  // namespace headrace
