#include "io/mapping.hpp"
#include "base/workers.hpp"
#include "flow/failures.hpp"
#include "format/checkpoint.hpp"
#include "io/page_cache.hpp"
#include "io/populator.hpp"

#include <headrace/error.hpp>
#include <headrace/mapping.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <utility>

namespace headrace {
namespace {

// Runs that a disk reads at its full speed, and after which Ctrl-C is looked at.
constexpr std::size_t kPiece = std::size_t{32} << 20;

bool is_aligned(const TensorInfo& tensor) {
  const std::uint64_t size = info(tensor.dtype).block_bytes;
  const bool scalar = size == 2 || size == 4 || size == 8;
  return !scalar || is_block(tensor.dtype) || tensor.offset % size == 0;
}

}  // namespace

struct FileMapping::Impl {
  io::Mapping mapping;
  io::Populator populator;
  std::shared_ptr<const io::ByteSource> file;

  Impl(const io::File& opened, std::shared_ptr<const io::ByteSource> source)
      : mapping(opened), file(std::move(source)) {}
};

std::shared_ptr<const FileMapping> FileMapping::map(const Checkpoint& checkpoint, std::size_t i) {
  const auto& source = checkpoint.impl().files.at(i);
  const io::File* file = source->file();
  if (file == nullptr) return nullptr;
  return std::make_shared<const FileMapping>(std::make_unique<Impl>(*file, source));
}

FileMapping::FileMapping(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FileMapping::~FileMapping() = default;

std::span<std::byte> FileMapping::bytes() const noexcept { return impl_->mapping.bytes(); }

void FileMapping::populate(unsigned threads, const CancelToken& cancel) const {
  const std::size_t size = bytes().size();
  cancel.throw_if_cancelled();
  // What is cached already costs as little when it is touched, and nothing about it can fail.
  const io::File& file = *impl_->file->file();
  if (io::is_cached(file, 0, size).value_or(false)) return;
  std::atomic<std::size_t> next = 0;
  flow::Failures failures;
  const auto work = [&]() noexcept {
    std::size_t at = 0;
    try {
      while ((at = next.fetch_add(kPiece)) < size) {
        cancel.throw_if_cancelled();
        impl_->populator.bring(file, impl_->mapping, at, std::min(kPiece, size - at));
      }
    } catch (...) {
      failures.record(at, std::current_exception());
      next = size;
    }
  };
  const std::size_t pieces = (size + kPiece - 1) / kPiece;
  const auto count = static_cast<unsigned>(std::min<std::size_t>(base::worker_count(threads), pieces));
  if (count <= 1) {
    work();
  } else {
    const base::Workers workers(count, work);
  }
  failures.rethrow_if_any();
}

bool lies_plain(const TensorInfo& tensor) noexcept {
  return tensor.encoding == Encoding::plain && tensor.bytes != 0 && is_aligned(tensor);
}

}  // namespace headrace
