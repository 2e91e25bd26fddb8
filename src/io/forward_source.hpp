// ForwardSource: bytes that come once, from the first to the last.
#pragma once

#include "io/byte_source.hpp"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace headrace::io {

/// A pipe, or a server without ranges. Reads go forward; what lies between two of them is passed over. The last few
/// small reads are kept, so that the readers of headers, which look first and read then, need not know.
/// Thread-safe, but only whoever knows that it is his turn can know what offset to ask for.
class ForwardSource : public ByteSource {
 public:
  /// What is kept at least of the last reads: more than a header's reader looks ahead.
  static constexpr std::size_t kKept = std::size_t{128} << 10;

  /// `keeps`: kKept, or 0 for one that no reader of headers looks at.
  ForwardSource(std::string name, std::uint64_t size, std::size_t keeps = kKept)
      : name_(std::move(name)), size_(size), keeps_(keeps) {}

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return size_; }
  Access access() const noexcept override { return Access::forward; }
  /// Throws Error(unsupported) for bytes that are gone.
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  std::size_t read_some_at(std::uint64_t offset, std::span<std::byte> out) const override;
  std::size_t memory() const noexcept override { return 2 * keeps_; }

 protected:
  /// The next bytes: at least one, 0 at the end. Called by one thread at a time.
  virtual std::size_t receive(std::span<std::byte> out) const = 0;

 private:
  std::size_t take(std::uint64_t offset, std::span<std::byte> out) const;
  void pass_over(std::uint64_t offset) const;
  void keep(std::span<const std::byte> bytes) const;

  std::string name_;
  std::uint64_t size_;
  std::size_t keeps_;
  mutable std::mutex mutex_;
  mutable std::uint64_t position_ = 0;        // of the next byte to be received
  mutable std::vector<std::byte> kept_ = {};  // the bytes before it
};

}  // namespace headrace::io
