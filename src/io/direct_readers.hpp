// DirectReaders: the readers of the files that were read last.
#pragma once

#include "io/direct_reader.hpp"

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>

namespace headrace::io {

/// Files come one after the other: one is finished while the next has begun, and those before are done with.
/// Thread-safe. The Files must outlive it.
class DirectReaders {
 public:
  /// So many are kept open at once.
  static constexpr std::size_t kOpen = 2;

  /// Each reader has `lanes` lanes of `lane_bytes`: see DirectReader::open.
  DirectReaders(unsigned lanes, std::size_t lane_bytes, DirectReader::Engine engine = DirectReader::Engine::automatic)
      : lanes_(lanes), lane_bytes_(lane_bytes), engine_(engine) {}

  /// Null where the file isn't read directly. Throws as DirectReader::open.
  std::shared_ptr<const DirectReader> of(const File& file) const;

 private:
  struct Open {
    const File* file = nullptr;
    std::shared_ptr<const DirectReader> reader = {};
  };

  const unsigned lanes_;
  const std::size_t lane_bytes_;
  const DirectReader::Engine engine_;
  mutable std::mutex mutex_;
  mutable std::deque<Open> open_;
};

}  // namespace headrace::io
