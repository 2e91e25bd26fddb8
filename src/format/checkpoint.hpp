// Checkpoint::Impl: an open file and its header, as the rooms above use them.
#pragma once

#include "format/header.hpp"
#include "io/file.hpp"

#include <headrace/checkpoint.hpp>

#include <filesystem>

namespace headrace {

struct Checkpoint::Impl {
  std::filesystem::path path;
  io::File file;
  format::Header header;

  std::size_t memory() const noexcept { return header.memory(); }
};

namespace format {

/// Opens the file, recognises its format and reads its header. See Checkpoint::open.
std::shared_ptr<const Checkpoint::Impl> open_checkpoint(const std::filesystem::path& path, std::uint64_t memory);

}  // namespace format
}  // namespace headrace
