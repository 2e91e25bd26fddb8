// What the system's page cache holds of a file, and how it forgets it.
#pragma once

#include "io/file.hpp"

#include <atomic>
#include <cstdint>
#include <optional>

namespace headrace::io {

/// Whether the system's cache holds all of these bytes of the file: of more than 64 MiB, 64 parts of them that are
/// looked at. Nothing where the kernel doesn't say: before 6.5, or, for newer ones, of a file of another user's.
std::optional<bool> is_cached(const File& file, std::uint64_t first, std::uint64_t count) noexcept;

/// True when what is said of the file can be believed: a byte that was just read is there. Of a file system that lies
/// on another one, the kernel may say that nothing ever is.
bool says_what_is_cached(const File& file) noexcept;

/// The share (0 to 1) of these bytes' pages that the system's cache holds. Nothing where it doesn't say.
std::optional<double> cached_share(const File& file, std::uint64_t first, std::uint64_t count) noexcept;

/// The share (0 to 1) of the file's pages that the system's cache holds; 1 for an empty file. Nothing where the kernel
/// doesn't say: for a file of another user's, which this process may not write to, some don't.
/// A glance at a moment: pages come and go. Thread-safe.
std::optional<double> cached_share(const File& file) noexcept;

/// The same by mincore through a mapping of all the file, as cached_share does on Linux before 6.5. Thread-safe.
std::optional<double> mapped_share(const File& file) noexcept;

/// Reads these bytes into the system's cache, some at a time, until `stop`: as fast as the system reads ahead by
/// itself, and in pages as large, which asking it to (posix_fadvise) doesn't get; fewer than 128 KiB without what is
/// around them. Throws Error(io) when they can't be mapped.
void bring_into_cache(const File& file, std::uint64_t first, std::uint64_t count, const std::atomic<bool>& stop);
/// Asks it to drop the whole pages among them.
void drop_cached(const File& file, std::uint64_t first, std::uint64_t count) noexcept;
/// Has the system forget what it cached of the file, once what isn't on the disk yet is. Pages that somebody maps stay,
/// and all those of a file system in memory. Throws Error(io) when the file can't be flushed.
void flush_and_drop(const File& file);

}  // namespace headrace::io
