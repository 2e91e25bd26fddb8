// InflatedSource: a deflated entry's bytes, read by position.
#pragma once

#include "format/zip/opened.hpp"
#include "io/byte_source.hpp"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>

namespace headrace::format::zip {

/// The first read inflates the whole entry into the archive's spool; others wait for the bytes that they ask for, no
/// longer. What fails there, a wrong checksum too, fails for all of them. Thread-safe. Offsets count inflated bytes.
class InflatedSource final : public io::ByteSource {
 public:
  /// `entry` is one of the archive's.
  InflatedSource(std::shared_ptr<Opened> archive, const Entry& entry);

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return entry_.bytes; }
  bool packed() const noexcept override { return true; }
  bool comes_from(const io::FileId& file) const noexcept override { return archive_->source->comes_from(file); }
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  void finish() const override;
  void interrupt() const noexcept override;
  std::size_t memory() const noexcept override { return sizeof *this + name_.capacity(); }

 private:
  enum class State : std::uint8_t { untouched, inflating, done, failed };

  void wait_for(std::uint64_t end) const;
  void inflate() const;
  void inflate_all() const;

  const std::shared_ptr<Opened> archive_;
  const Entry& entry_;
  const std::string name_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable State state_ = State::untouched;
  mutable std::uint64_t there_ = 0;     // of the bytes, from the first on
  mutable std::uint64_t spool_at_ = 0;  // where they are
  mutable std::exception_ptr error_;
};

}  // namespace headrace::format::zip
