// Pipe: the standard input, or any descriptor that can only be read in order.
#pragma once

#include "io/file.hpp"
#include "io/forward_source.hpp"

#include <headrace/cancel.hpp>

#include <memory>
#include <optional>
#include <string>

namespace headrace::io {

/// Reads a descriptor that stays its owner's. interrupt() wakes a read that waits for the other side; so does `cancel`.
class Pipe final : public ForwardSource {
 public:
  /// `fd` must stay open as long as the object lives. Throws Error(io) when the system refuses what waking needs.
  Pipe(int fd, std::string name, const CancelToken& cancel = {});

  /// A file too, where that is what the descriptor reads.
  bool comes_from(const FileId& file) const noexcept override { return file == id_; }
  void interrupt() const noexcept override;

 protected:
  std::size_t receive(std::span<std::byte> out) const override;

 private:
  int fd_;
  std::optional<FileId> id_;
  Descriptor wake_;                  // an eventfd
  std::shared_ptr<void> on_cancel_;  // dropped first: it uses the rest
};

}  // namespace headrace::io
