// Concat: several sources read as one, the second beginning where the first ends.
#pragma once

#include "io/byte_source.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace headrace::io {

/// Owns its parts together with whoever else does. As thread-safe as they are, and forward if any of them is.
/// Errors name the part and the offset in it. There may be no parts; then it is empty.
class Concat final : public ByteSource {
 public:
  using Part = std::shared_ptr<const ByteSource>;

  /// The size of each part must be known. Throws Error(format) when their sum doesn't fit 64 bits.
  Concat(std::string name, std::vector<Part> parts);

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return ends_.empty() ? 0 : ends_.back(); }
  Access access() const noexcept override;
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  std::size_t read_some_at(std::uint64_t offset, std::span<std::byte> out) const override;
  bool comes_from(const FileId& file) const noexcept override;
  /// The least that any part asks for.
  unsigned parallel_reads() const noexcept override;
  void finish() const override;
  void interrupt() const noexcept override;
  std::size_t memory() const noexcept override;

 private:
  std::string name_;
  std::vector<Part> parts_;
  std::vector<std::uint64_t> ends_;  // of each part, in the whole
};

}  // namespace headrace::io
