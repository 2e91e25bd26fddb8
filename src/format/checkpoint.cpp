#include "format/checkpoint.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace headrace::format {
namespace {

// A stream says how long it is only when it ends; some never do. What follows the data is an error in safetensors. In
// GGUF it is padding, which is read so that whoever writes the stream can finish.
void check_end(const Header& header, const io::ByteSource& source) {
  constexpr std::size_t kMostPadding = std::size_t{64} << 10;
  if (source.access() != Access::forward) return;
  std::uint64_t end = header.data_offset;
  for (const TensorInfo& tensor : header.tensors.tensors()) end = std::max(end, tensor.offset + tensor.bytes);
  std::vector<std::byte> rest(header.format == Format::safetensors ? 1 : kMostPadding);
  const std::size_t more = source.read_some_at(end, rest);
  if (more == 0) return;
  if (header.format == Format::safetensors) {
    throw Error(ErrorCode::format, "the file goes on after the data",
                {.file = source.name(), .offset = end, .expected = "its end", .found = "more bytes"});
  }
  for (std::size_t got = more; got > 0 && got < rest.size();) {
    const std::size_t next = source.read_some_at(end + got, std::span(rest).subspan(got));
    if (next == 0) return;
    got += next;
  }
}

// What is meant for TensorFlow.js mustn't be passed over in silence.
void check_options(const Contents& contents, const io::Location& where, const SourceOptions& options) {
  if (contents.header.format == Format::tfjs) return;
  if (options.weight_path_prefix.empty() && !options.weight_url_converter) return;
  const char* option = options.weight_url_converter ? "weight_url_converter" : "weight_path_prefix";
  throw Error(ErrorCode::invalid_argument, std::string(option) + " is for TensorFlow.js models alone",
              {.file = where.text(), .expected = "a model.json", .found = std::string(name(contents.header.format))});
}

}  // namespace

std::size_t Contents::memory() const noexcept {
  return std::accumulate(files.begin(), files.end(), header.memory(),
                         [](std::size_t sum, const SourcePtr& file) { return sum + file->memory(); });
}

std::shared_ptr<const Checkpoint::Impl> open_checkpoint(const std::string& location, const OpenOptions& options) {
  const io::Location where(location, io::opener_of(options.source));
  Contents contents = open_contents({where, options.source, options.memory});
  check_options(contents, where, options.source);
  return std::make_shared<const Checkpoint::Impl>(Checkpoint::Impl{
      where.text(), std::move(contents.header), std::move(contents.files), std::move(contents.documents)});
}

}  // namespace headrace::format

namespace headrace {

bool Checkpoint::Impl::forward_only() const noexcept {
  return std::ranges::any_of(files, [](const auto& file) { return file->access() == Access::forward; });
}

std::uint64_t Checkpoint::Impl::file_bytes() const noexcept {
  std::uint64_t bytes = 0;
  for (const auto& file : files) {
    if (file->size() == io::kUnknownSize) return io::kUnknownSize;
    if (!file->packed()) bytes += file->size();
  }
  return bytes;
}

std::size_t Checkpoint::Impl::memory() const noexcept {
  return std::accumulate(files.begin(), files.end(), header.memory(),
                         [](std::size_t sum, const auto& file) { return sum + file->memory(); });
}

bool Checkpoint::Impl::comes_from(const io::FileId& file) const noexcept {
  return std::ranges::find(documents, file) != documents.end() ||
         std::ranges::any_of(files, [&](const auto& source) { return source->comes_from(file); });
}

void Checkpoint::Impl::finish() const {
  for (const auto& file : files) file->finish();
  if (files.size() == 1) format::check_end(header, *files.front());
}

}  // namespace headrace
