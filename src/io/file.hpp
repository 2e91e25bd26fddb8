// File: a file on disk, read by position.
#pragma once

#include "io/byte_source.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace headrace::io {

/// The kernel moves at most 2 GiB in one call; asking for less keeps every system the same.
inline constexpr std::size_t kMostPerCall = std::size_t{1} << 30;

/// Owns a file descriptor. Move-only.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, kNone)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ != kNone; }

 private:
  static constexpr int kNone = -1;
  int fd_ = kNone;
};

/// What makes a file itself, whatever its names are.
struct FileId {
  std::uint64_t device = 0, inode = 0;
  bool operator==(const FileId&) const = default;
};

/// The identity of the file at `path`, links followed; nothing when there is none.
std::optional<FileId> file_id(const std::filesystem::path& path);
/// The identity of what a descriptor is open on; nothing when it isn't open.
std::optional<FileId> file_id(int descriptor);

/// A regular file open for reading, for as long as the object lives. Thread-safe.
class File final : public ByteSource {
 public:
  /// Throws Error(io) when it can't be opened or isn't a regular file.
  static File open(const std::filesystem::path& path);

  const std::string& name() const noexcept override { return name_; }
  std::uint64_t size() const noexcept override { return size_; }
  void read_at(std::uint64_t offset, std::span<std::byte> out) const override;
  const File* file() const noexcept override { return this; }
  bool comes_from(const FileId& file) const noexcept override { return file == id_; }

  /// Throws Error(io) when somebody has written to it, or cut it, since it was opened: its header says then what isn't
  /// true any more. That another file has got its name is none of its business.
  void require_unchanged() const;

  FileId id() const noexcept { return id_; }
  int descriptor() const noexcept { return fd_.get(); }

 private:
  File() = default;

  Descriptor fd_;
  std::string name_;
  std::uint64_t size_ = 0;
  FileId id_;
  std::int64_t written_seconds_ = 0, written_nanoseconds_ = 0;  // when it was written last
};

}  // namespace headrace::io
