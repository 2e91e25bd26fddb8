// A large write to a file in memory, by two threads at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace headrace::io {

/// Writes a run of bytes at an offset, or throws.
using WriteAt = std::function<void(std::uint64_t offset, std::span<const std::byte> bytes)>;

/// True when write_wide is worth it: a run of many MiB, into a file of tmpfs, on more than one processor.
bool is_worth_two(int fd, std::uint64_t bytes) noexcept;

/// Writes the run with `write` from the front, while another thread, where there is one, copies it through a mapping of
/// 8 MiB from the back. Writes to one file of tmpfs take turns, and nearly all of their time goes into finding memory;
/// a mapping finds it beside them. Where it can't be mapped, or there is no room, `write` does the rest and says why.
void write_wide(int fd, std::uint64_t offset, std::span<const std::byte> bytes, const WriteAt& write);

}  // namespace headrace::io
