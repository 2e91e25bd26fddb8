// What an archive and the sources that it hands out share.
#pragma once

#include "format/zip/directory.hpp"
#include "io/byte_source.hpp"
#include "io/spool.hpp"

#include <headrace/error.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

namespace headrace::format::zip {

struct Opened {
  Opened(std::shared_ptr<const io::ByteSource> from, Directory its)
      : source(std::move(from)), directory(std::move(its)) {}

  std::shared_ptr<const io::ByteSource> source;
  Directory directory;
  io::Spool spool;  // of all inflated entries, one after the other
  std::atomic<bool> interrupted{false};

  // A source is finished once, however many of ours are.
  void finish_source() {
    std::call_once(finished_, [this] { source->finish(); });
  }
  void interrupt() noexcept {
    interrupted = true;
    source->interrupt();
  }
  void throw_if_interrupted() const {
    if (interrupted) throw Error(ErrorCode::cancelled, "cancelled", {.file = source->name()});
  }

 private:
  std::once_flag finished_;
};

/// Throws Error(format) when `found` isn't the entry's checksum; not for an archive that has none.
void check_crc(const Opened& archive, const Entry& entry, std::uint32_t found);

}  // namespace headrace::format::zip
