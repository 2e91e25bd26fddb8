#include "io/spool.hpp"

#include "base/checked.hpp"
#include "io/system_error.hpp"

#include <headrace/bytes.hpp>
#include <headrace/error.hpp>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

namespace headrace::io {
namespace {

constexpr const char* kHint = "set TMPDIR to a folder with more room";

std::string temporary_folder() {
  const char* folder = std::getenv("TMPDIR");
  return folder && *folder ? folder : "/var/tmp";
}

// Whoever reads it must learn that the folder can be another one.
Error spool_error(int number, const std::string& what, const std::string& folder) {
  const Error error = system_error(number, what, folder);
  ErrorDetail detail = error.detail();
  if (error.code() == ErrorCode::no_space || detail.hint.empty()) detail.hint = kHint;
  // A name that happens to be taken is no output that --force could replace.
  return {error.code() == ErrorCode::conflict ? ErrorCode::io : error.code(), error.problem(), std::move(detail)};
}

}  // namespace

void Spool::create() {
  folder_ = temporary_folder();
  fd_ = Descriptor(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd_) return;
  std::string name = folder_ + "/headrace-XXXXXX";  // a file system without nameless files
  fd_ = Descriptor(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd_) throw spool_error(errno, "create a temporary file", folder_);
  ::unlink(name.c_str());
}

std::uint64_t Spool::reserve(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (!fd_) create();
  struct statvfs about {};
  const std::uint64_t available = ::fstatvfs(fd_.get(), &about) == 0 && about.f_blocks != 0
                                      ? std::uint64_t{about.f_bavail} * about.f_frsize
                                      : std::numeric_limits<std::uint64_t>::max();  // as a tmpfs without a limit
  const auto end = base::checked_add(end_, bytes);
  if (!end || *end > std::numeric_limits<std::int64_t>::max() || bytes > available) {
    throw Error(ErrorCode::no_space, "the folder for temporary files is too small",
                {.file = folder_,
                 .expected = format_bytes(bytes),
                 .found = format_bytes(available) + " available",
                 .hint = kHint});
  }
  const std::uint64_t begin = end_;
  end_ = *end;
  return begin;
}

void Spool::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t want = std::min(bytes.size(), kMostPerCall);
    const ssize_t put = ::pwrite(fd_.get(), bytes.data(), want, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) throw spool_error(put < 0 ? errno : EIO, "write a temporary file", folder_);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

void Spool::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const std::size_t want = std::min(out.size(), kMostPerCall);
    const ssize_t got = ::pread(fd_.get(), out.data(), want, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw spool_error(got < 0 ? errno : EIO, "read a temporary file", folder_);
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace headrace::io
