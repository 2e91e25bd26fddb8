// SmallFile: a small file from a server without ranges, read by position while it still comes.
#pragma once

#include "io/byte_source.hpp"
#include "io/http/answer.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace headrace::io::http {

/// Holds the bytes that have come. A read waits for its own and not for the rest, so what lies in front can be used
/// early. If the connection breaks, the file is asked for again from the beginning: there isn't much of it.
class SmallFile final : public ByteSource {
 public:
  /// Files up to this size.
  static constexpr std::uint64_t kMost = std::uint64_t{1} << 20;

  /// A stream from the file's beginning, and which version of the file it brings.
  struct Opened {
    std::shared_ptr<const ByteSource> stream;
    Version version;
  };

  /// `attempts`: in a row that brought nothing.
  SmallFile(Opened opened, std::function<Opened()> reopen, int attempts);

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return version_.size; }
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  unsigned parallel_reads() const noexcept override { return 1; }
  bool arrives() const noexcept override { return true; }
  void interrupt() const noexcept override;
  std::size_t memory() const noexcept override { return bytes_.size(); }

 private:
  void fill(std::uint64_t end) const;
  void receive() const;
  void open_again() const;
  std::shared_ptr<const ByteSource> stream() const;

  const std::string name_;
  const Version version_;
  const std::function<Opened()> reopen_;
  const int attempts_;
  mutable std::mutex filling_;  // held while bytes are waited for
  mutable std::vector<std::byte> bytes_;
  mutable std::uint64_t filled_ = 0;
  mutable std::mutex mutex_;  // of the stream's pointer
  mutable std::shared_ptr<const ByteSource> stream_;
  mutable bool interrupted_ = false;
};

}  // namespace headrace::io::http
