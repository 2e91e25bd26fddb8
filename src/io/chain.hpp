// Chain: files read as one stream, each opened only when its bytes are asked for.
#pragma once

#include "io/forward_source.hpp"

#include <headrace/cancel.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace headrace::io {

/// For files that come only once, from servers without ranges say: one connection at a time, none of which waits idle
/// while another is read. Together they must have just `size` bytes.
class Chain final : public ForwardSource {
 public:
  using Source = std::shared_ptr<const ByteSource>;
  /// Opens file `i`; its waits end when `cancel` is cancelled. Called once for each, in order, by who reads.
  using Open = std::function<Source(std::size_t i, const CancelToken& cancel)>;

  /// What an open file takes at most while it is read.
  static constexpr std::size_t kOpenFile = std::size_t{1} << 20;

  struct Files {
    std::vector<Source> opened;  ///< the first of them, where they are open already
    std::size_t count;           ///< of all
    Open open;
    std::size_t memory;  ///< what memory() says of those that will be opened: chains read in turn need it once
  };

  /// `cancel` interrupts it.
  Chain(std::string name, std::uint64_t size, Files files, const CancelToken& cancel);

  /// Opens what is left, for there must be no more bytes. Throws Error(format) naming the file that goes on.
  void finish() const override;
  void interrupt() const noexcept override { stop_.cancel(); }
  std::size_t memory() const noexcept override { return memory_; }

 protected:
  /// Throws Error(format) naming the last file when all end too soon, and the one that goes on after the last byte;
  /// cancelled; and what opening and reading throw.
  std::size_t receive(std::span<std::byte> out) const override;

 private:
  const ByteSource& current() const;
  void require_end() const;
  void go_on() const;

  const CancelToken stop_;
  std::shared_ptr<void> on_cancel_;
  std::size_t memory_;
  mutable Files files_;
  mutable Source file_;         // that is being read
  mutable std::size_t at_ = 0;  // its number
  mutable std::uint64_t in_file_ = 0, received_ = 0;
  mutable std::string last_;  // the name of the last file that was read
};

}  // namespace headrace::io
