// HttpSource: a file read by ranges, several at a time.
#pragma once

#include "io/byte_source.hpp"
#include "io/http/answer.hpp"
#include "io/http/lookahead.hpp"
#include "io/http/remote.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace headrace::io::http {

/// Thread-safe. Reads go on where a connection broke; each answer is checked to be of the file that was opened.
class HttpSource final : public ByteSource {
 public:
  /// Is given some bytes and where they belong; one call after the other, in order, each byte once.
  using Take = std::function<void(std::uint64_t offset, std::span<const std::byte> bytes)>;

  /// `head`: the file's first bytes. `connections`: how many reads at once are worth it.
  HttpSource(std::shared_ptr<Remote> remote, Version version, std::vector<std::byte> head, unsigned connections);
  ~HttpSource() override;

  const std::string& name() const noexcept override { return remote_->name(); }
  std::uint64_t size() const noexcept override { return version_.size; }
  /// Throws Error: io (naming what the server or the connection did), cancelled.
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  unsigned parallel_reads() const noexcept override { return connections_; }
  void interrupt() const noexcept override { remote_->interrupt(); }
  std::size_t memory() const noexcept override;

 private:
  void fetch(std::uint64_t offset, std::span<std::byte> out) const;
  void pour(std::uint64_t offset, std::uint64_t bytes, const Take& take) const;

  const std::shared_ptr<Remote> remote_;
  const Version version_;
  const unsigned connections_;
  const bool counts_pool_;
  mutable Lookahead lookahead_;
};

}  // namespace headrace::io::http
