// OutputFile: a file that appears whole or not at all.
#pragma once

#include "io/file.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

namespace headrace::io {

/// A new file of known size, written by position. Until commit() it has no name where the file system can do that
/// (O_TMPFILE), so that even a kill leaves nothing; else a hidden one (".headrace-….tmp") that the destructor removes.
/// Or one that the caller asks for, for those who look for it there.
/// Thread-safety: write_at and copy_from from any threads at once.
class OutputFile {
 public:
  /// Makes room for `size` bytes beside `path`. `replace`: an existing file may be replaced on commit. `and_later`:
  /// bytes that files still to be made will need in the same place. A symbolic link is followed, so that the file it
  /// names is the one replaced. Throws Error: conflict (the path exists, or is no regular file), no_space (found before
  /// anything is written), io.
  /// `temporary`: the name in the same folder that the file has until then; one that was left there is replaced, and no
  /// link is followed, for whoever renames by hand replaces the link.
  OutputFile(const std::filesystem::path& path, std::uint64_t size, bool replace, std::uint64_t and_later = 0,
             const std::string& temporary = {});
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Throws Error(no_space) or Error(io) with the offset.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);

  /// Has the system copy `bytes` bytes from another file. False when it can't do that between these two files (nothing
  /// useful was written then, and later calls return false at once); the caller copies through memory instead.
  bool copy_from(const File& source, std::uint64_t source_offset, std::uint64_t offset, std::uint64_t bytes);

  /// Flushes the data, gives the file its name and flushes the folder. Throws Error: conflict when the path has come
  /// to exist meanwhile and `replace` is off; no_space, io. After a throw the path is as it was, but for one case: when
  /// an older file was replaced and only the flush of the folder failed, the new one is there, whole.
  void commit();
  /// commit() in two steps, for files that belong together: all are flushed before the first gets its name.
  void flush();
  void publish();
  /// Takes a published file back that wasn't there before.
  void withdraw() noexcept;

  /// Makes room for more: `size` is the file's new size. Not at the same time as a write beyond the old one.
  void grow(std::uint64_t size);
  /// Leaves the file under its temporary name, unflushed, for good. Needs a `temporary`. Throws Error(conflict) when
  /// another file has that name now.
  void leave();

 private:
  void create();
  void create_named();
  bool has_temporary() const;
  void require_temporary() const;
  void remove_temporary() noexcept;
  void make_room(std::uint64_t and_later);
  void link_temporary();
  void rename_temporary();

  std::filesystem::path path_;  // with links followed
  std::string name_;            // as errors call it
  std::uint64_t size_;
  bool replace_;
  std::optional<unsigned> mode_;  // of the file to be replaced
  Descriptor folder_, fd_;
  std::string leaf_;       // the path's last part
  std::string temporary_;  // name in the folder, empty while there is none
  std::atomic<bool> can_copy_{true};
};

}  // namespace headrace::io
