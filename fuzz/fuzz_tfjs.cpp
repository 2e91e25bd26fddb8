// Any text as a TensorFlow.js manifest, beside files that are made up: whatever is accepted lies where it says.
//
// The input is the JSON, up to the first NUL; then two bytes for the size of each file, in the order in which they are
// opened. Files beyond the list have four bytes. So any manifest is a seed as it is.
#include "format/tfjs/manifest_reader.hpp"
#include "format/tfjs/tfjs.hpp"
#include "fuzz_support.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::fuzz {
namespace {

constexpr std::uint64_t kMemory = std::uint64_t{32} << 20;

/// The files that a manifest may name. Their bytes are strings of two letters, so that tensors of text end somewhere.
class MadeUpFiles {
 public:
  explicit MadeUpFiles(std::string_view sizes) : sizes_(sizes) {}

  format::SourcePtr open() {
    std::uint16_t size = 4;
    if (sizes_.size() >= sizeof size) {
      std::memcpy(&size, sizes_.data(), sizeof size);
      sizes_.remove_prefix(sizeof size);
    }
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = "\2\0\0\0ab"[i % 6];
    return std::make_shared<test::MemorySource>(std::move(bytes));
  }

 private:
  std::string_view sizes_;
};

// How many bytes of its file a tensor takes.
std::uint64_t stored_bytes(const format::Header& header, const TensorInfo& tensor) {
  if (tensor.encoding == Encoding::plain) return tensor.bytes;
  require(tensor.encoding == Encoding::affine && bytes_of(tensor.dtype, tensor.elements) == tensor.bytes);
  const auto& how = std::get<format::Affine>(header.stored_as(tensor));
  require(how.stored == DType::U8 || how.stored == DType::U16 || how.stored == DType::F16);
  require(tensor.dtype == DType::F32 || (tensor.dtype == DType::I32 && how.stored != DType::F16));
  return bytes_of(how.stored, tensor.elements).value();
}

// The tensors fill their files from the first byte to the last, one behind the other.
void check(const format::Contents& contents) {
  require(contents.memory() <= kMemory && contents.header.format == Format::tfjs);
  std::vector<std::uint64_t> ends(contents.files.size());
  for (const TensorInfo& tensor : contents.header.tensors.tensors()) {
    require(tensor.file < ends.size() && tensor.offset == ends[tensor.file]);
    ends[tensor.file] += stored_bytes(contents.header, tensor);
    require(ends[tensor.file] <= contents.files[tensor.file]->size());
    require(contents.header.tensors.find(tensor.name).has_value());
  }
  for (std::size_t i = 0; i < ends.size(); ++i) {
    require(ends[i] == contents.files[i]->size());
    std::vector<std::byte> bytes(ends[i]);
    contents.files[i]->read_at(0, bytes);
  }
}

}  // namespace
}  // namespace headrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace headrace;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view text = input.substr(0, input.find('\0'));
  fuzz::MadeUpFiles files(input.substr(std::min(text.size() + 1, input.size())));
  try {
    const format::JsonDocument document(test::MemorySource(std::string(text)), fuzz::kMemory);
    if (!format::tfjs::is_manifest(document)) return 0;
    fuzz::check(format::tfjs::read_manifest(document, fuzz::kMemory,
                                            [&](std::string_view, const CancelToken&) { return files.open(); }));
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::format || error.code() == ErrorCode::budget);
  }
  return 0;
}
