#include "io/output_file.hpp"

#include "io/system_error.hpp"
#include "io/wide_write.hpp"

#include <headrace/bytes.hpp>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <random>

namespace headrace::io {
namespace fs = std::filesystem;
namespace {

constexpr mode_t kMode = 0666;  // less the umask, as for any new file

std::string random_name() {
  std::random_device random;
  return fmt::format(".headrace-{:08x}{:08x}.tmp", random(), random());
}

// Files under /proc/self/fd are how an unprivileged process names a file that has no name.
std::string proc_path(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

// The file a chain of links leads to, which need not exist. A loop is left for open() to complain about.
fs::path follow_links(fs::path path) {
  constexpr int kMostLinks = 40;  // as the kernel
  std::error_code error;
  for (int i = 0; i < kMostLinks && fs::is_symlink(path, error); ++i) {
    const fs::path target = fs::read_symlink(path, error);
    if (error) break;
    path = path.parent_path() / target;  // an absolute target replaces it all
  }
  return path;
}

// Calls again for as long as a signal interrupts.
template <typename Call>
auto uninterrupted(const Call& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

bool is_tmpfs(int fd) {
  struct statfs about {};
  return ::fstatfs(fd, &about) == 0 && about.f_type == TMPFS_MAGIC;
}

}  // namespace

OutputFile::OutputFile(const fs::path& path, std::uint64_t size, bool replace, std::uint64_t and_later,
                       const std::string& temporary)
    : path_(temporary.empty() ? follow_links(path) : path),
      name_(path.string()),
      size_(size),
      replace_(replace),
      leaf_(path_.filename()),
      temporary_(temporary) {
  struct stat about {};
  if (::stat(path_.c_str(), &about) == 0) {
    if (!S_ISREG(about.st_mode)) {
      throw Error(ErrorCode::conflict, "the output exists and is no regular file", {.file = name_});
    }
    if (!replace_) throw system_error(EEXIST, "create the output", name_);
    mode_ = about.st_mode & 0777U;
  }
  const fs::path folder = path_.has_parent_path() ? path_.parent_path() : fs::path(".");
  folder_ = Descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder_) throw system_error(errno, "open the output's folder", name_);
  if (const long longest = ::fpathconf(folder_.get(), _PC_NAME_MAX);
      longest > 0 && leaf_.size() > std::size_t(longest)) {
    throw system_error(ENAMETOOLONG, "create the output", name_);  // now, not when all the work is done
  }
  temporary_.empty() ? create() : create_named();
  if (mode_) ::fchmod(fd_.get(), *mode_);  // who may read a model is not ours to change
  try {
    make_room(and_later);
  } catch (...) {
    remove_temporary();
    throw;
  }
}

OutputFile::~OutputFile() { remove_temporary(); }

// Somebody who writes the same output may have put a file of his own there.
bool OutputFile::has_temporary() const {
  struct stat ours {
  }, there{};
  return ::fstat(fd_.get(), &ours) == 0 &&
         ::fstatat(folder_.get(), temporary_.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
         ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

void OutputFile::require_temporary() const {
  if (has_temporary()) return;
  throw Error(ErrorCode::conflict, "somebody else has replaced the file that was to become the output",
              {.file = name_, .expected = temporary_ + " as it was made", .hint = "write it again, alone"});
}

void OutputFile::leave() {
  require_temporary();
  temporary_.clear();
}

void OutputFile::remove_temporary() noexcept {
  if (!temporary_.empty() && has_temporary()) ::unlinkat(folder_.get(), temporary_.c_str(), 0);
}

void OutputFile::create() {
  fd_ = Descriptor(::openat(folder_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kMode));
  if (fd_ && ::access(proc_path(fd_.get()).c_str(), F_OK) == 0) return;
  temporary_ = random_name();
  fd_ = Descriptor(::openat(folder_.get(), temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
  if (!fd_) {
    const int number = errno;
    temporary_.clear();
    throw system_error(number, "create the output", name_);
  }
}

// One that an earlier writer left behind goes; what isn't a file stays.
void OutputFile::create_named() {
  const auto open = [&] {
    fd_ = Descriptor(::openat(folder_.get(), temporary_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
    return bool(fd_);
  };
  struct stat there {};
  if (open()) return;
  int number = errno;
  const bool left_behind = number == EEXIST &&
                           ::fstatat(folder_.get(), temporary_.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
                           S_ISREG(there.st_mode);
  if (left_behind && ::unlinkat(folder_.get(), temporary_.c_str(), 0) == 0) {
    if (open()) return;
    number = errno;
  }
  throw system_error(number, "create the output", (path_.parent_path() / temporary_).string());
}

void OutputFile::grow(std::uint64_t size) {
  size_ = size;
  make_room(0);
}

void OutputFile::make_room(std::uint64_t and_later) {
  struct statvfs about {};
  struct stat ours {};
  if (::fstatvfs(fd_.get(), &about) == 0 && ::fstat(fd_.get(), &ours) == 0) {
    const std::uint64_t available = std::uint64_t{about.f_bavail} * about.f_frsize;
    const std::uint64_t held = static_cast<std::uint64_t>(ours.st_blocks) * 512;
    const std::uint64_t needed = size_ - std::min(size_, held);
    // A tmpfs without a size limit reports no blocks at all.
    if (about.f_blocks != 0 && (available < needed || available - needed < and_later)) {
      throw Error(ErrorCode::no_space, "the file system is too small for the output",
                  {.file = name_,
                   .expected = format_bytes(needed + and_later),
                   .found = format_bytes(available) + " available",
                   .hint = "free some space or write elsewhere"});
    }
  }
  if (uninterrupted([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size_)); }) != 0) {
    throw system_error(errno, "size the output", name_);
  }
  const bool tmpfs = is_tmpfs(fd_.get());
  // tmpfs copies page by page with the file locked against other writers: 1.25 times the time of read and write here.
  can_copy_ = !tmpfs;
  // And preallocation would zero every page once before it is written; the check above has to do.
  if (size_ == 0 || tmpfs) return;
  // The system call: the C library's posix_fallocate would write every block where the file system can't.
  const int result = uninterrupted([&] { return ::fallocate(fd_.get(), 0, 0, static_cast<off_t>(size_)); });
  if (result != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
    throw system_error(errno, "reserve " + format_bytes(size_) + " for the output", name_);
  }
}

void OutputFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (is_worth_two(fd_.get(), bytes.size())) {
    const auto some = [this](std::uint64_t at, std::span<const std::byte> part) { write_at(at, part); };
    return write_wide(fd_.get(), offset, bytes, some);
  }
  while (!bytes.empty()) {
    const std::size_t want = std::min(bytes.size(), kMostPerCall);
    const ssize_t put =
        uninterrupted([&] { return ::pwrite(fd_.get(), bytes.data(), want, static_cast<off_t>(offset)); });
    if (put <= 0) throw system_error(put < 0 ? errno : EIO, "write", name_, offset);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

bool OutputFile::copy_from(const File& source, std::uint64_t source_offset, std::uint64_t offset, std::uint64_t bytes) {
  while (bytes > 0) {
    if (!can_copy_.load(std::memory_order_relaxed)) return false;
    auto from = static_cast<off64_t>(source_offset);
    auto to = static_cast<off64_t>(offset);
    const ssize_t copied = ::copy_file_range(source.descriptor(), &from, fd_.get(), &to,
                                             static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kMostPerCall)), 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied < 0 && errno == ENOSPC) throw system_error(errno, "write", name_, offset);
    if (copied <= 0) {
      // Other file systems, old kernels, network mounts: many reasons and one remedy. An error of the disk itself
      // shows again, with its offset, in the read or write that takes over.
      can_copy_ = false;
      return false;
    }
    source_offset += static_cast<std::uint64_t>(copied);
    offset += static_cast<std::uint64_t>(copied);
    bytes -= static_cast<std::uint64_t>(copied);
  }
  return true;
}

void OutputFile::commit() {
  flush();
  publish();
}

void OutputFile::flush() {
  if (uninterrupted([&] { return ::fsync(fd_.get()); }) != 0) throw system_error(errno, "flush the output", name_);
}

void OutputFile::withdraw() noexcept {
  if (!replace_) ::unlinkat(folder_.get(), leaf_.c_str(), 0);
}

void OutputFile::publish() {
  if (temporary_.empty()) link_temporary();
  if (!temporary_.empty()) rename_temporary();
  if (uninterrupted([&] { return ::fsync(folder_.get()); }) == 0 || errno == EINVAL) return;
  const int number = errno;  // EINVAL is a file system that has nothing to flush
  withdraw();
  throw system_error(number, "flush the output's folder", name_);
}

// Gives the nameless file its name: the final one, or one to be renamed from where an older file has to go.
void OutputFile::link_temporary() {
  const std::string self = proc_path(fd_.get());
  const auto link = [&](const std::string& name) {
    return ::linkat(AT_FDCWD, self.c_str(), folder_.get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0;
  };
  if (link(leaf_)) return;
  if (errno == EEXIST && replace_) {
    const std::string name = random_name();
    if (link(name)) {
      temporary_ = name;
      return;
    }
  }
  throw system_error(errno, "name the output", name_);
}

void OutputFile::rename_temporary() {
  require_temporary();
  const auto rename = [&](unsigned flags) {
    return ::renameat2(folder_.get(), temporary_.c_str(), folder_.get(), leaf_.c_str(), flags) == 0;
  };
  bool renamed = rename(replace_ ? 0 : RENAME_NOREPLACE);
  if (!renamed && !replace_ && errno == EINVAL) {  // a file system that can't refuse to replace by itself
    if (::faccessat(folder_.get(), leaf_.c_str(), F_OK, 0) == 0) {
      errno = EEXIST;
    } else {
      renamed = rename(0);
    }
  }
  if (!renamed) throw system_error(errno, "name the output", name_);
  temporary_.clear();
}

}  // namespace headrace::io
