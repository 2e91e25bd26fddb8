#include "format/checkpoint.hpp"

#include <utility>

namespace headrace::format {

std::shared_ptr<const Checkpoint::Impl> open_checkpoint(const std::filesystem::path& path, std::uint64_t memory) {
  io::File file = io::File::open(path);
  Header header = read_header(file, memory);
  return std::make_shared<const Checkpoint::Impl>(Checkpoint::Impl{path, std::move(file), std::move(header)});
}

}  // namespace headrace::format
