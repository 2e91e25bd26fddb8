#include "io/file.hpp"

#include "io/system_error.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace headrace::io {
Descriptor::~Descriptor() {
  if (fd_ != kNone) ::close(fd_);
}

std::optional<FileId> file_id(const std::filesystem::path& path) {
  struct stat about {};
  if (::stat(path.c_str(), &about) != 0) return std::nullopt;
  return FileId{about.st_dev, about.st_ino};
}

std::optional<FileId> file_id(int descriptor) {
  struct stat about {};
  if (::fstat(descriptor, &about) != 0) return std::nullopt;
  return FileId{about.st_dev, about.st_ino};
}

File File::open(const std::filesystem::path& path) {
  File file;
  file.name_ = path.string();
  // Without O_NONBLOCK, opening a named pipe that nobody writes to would wait for ever.
  file.fd_ = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.fd_) throw system_error(errno, "open", file.name_);
  struct stat about {};
  if (::fstat(file.fd_.get(), &about) != 0) throw system_error(errno, "stat", file.name_);
  if (!S_ISREG(about.st_mode)) {
    const char* kind = S_ISDIR(about.st_mode) ? "a folder" : S_ISFIFO(about.st_mode) ? "a pipe" : "a special file";
    throw Error(ErrorCode::io, "can't read it as a checkpoint",
                {.file = file.name_, .expected = "a regular file", .found = kind});
  }
  file.size_ = static_cast<std::uint64_t>(about.st_size);
  file.id_ = {about.st_dev, about.st_ino};
  file.written_seconds_ = about.st_mtim.tv_sec;
  file.written_nanoseconds_ = about.st_mtim.tv_nsec;
  return file;
}

void File::require_unchanged() const {
  struct stat about {};
  if (::fstat(fd_.get(), &about) != 0) throw system_error(errno, "stat", name_);
  const auto size = static_cast<std::uint64_t>(about.st_size);
  if (size == size_ && about.st_mtim.tv_sec == written_seconds_ && about.st_mtim.tv_nsec == written_nanoseconds_)
    return;
  throw Error(ErrorCode::io, "the file was written to after it had been opened",
              {.file = name_,
               .expected = std::to_string(size_) + " bytes, as they were",
               .found = size == size_ ? "a later time of writing" : std::to_string(size) + " bytes",
               .hint = "write a new file and rename it: who has the old one open keeps it"});
}

void File::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::size_t want = std::min(out.size(), kMostPerCall);
    const ssize_t got = ::pread(fd_.get(), out.data(), want, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw system_error(errno, "read", name_, offset);
    if (got == 0) {
      throw Error(ErrorCode::io, "the file ends too soon",
                  {.file = name_,
                   .offset = offset,
                   .expected = std::to_string(out.size()) + " more bytes",
                   .found = "the end of the file",
                   .hint = "is it still being written or downloaded?"});
    }
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace headrace::io
