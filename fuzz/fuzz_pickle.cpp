// Any bytes as a pickle whose storages all exist, and as a file of PyTorch's old format.
//
// The first byte says which. As a pickle, its tensors are listed against storages of a few kilobytes, under the key
// that stands before a newline; as a file, what every such file begins with is put in front. Whatever is accepted must
// lie where it says.
#include "format/torch/state_dict.hpp"
#include "format/torch/tensor_list.hpp"
#include "format/torch/torch.hpp"
#include "format/torch/unpickler.hpp"
#include "fuzz_support.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

namespace headrace::fuzz {
namespace {

using namespace std::string_view_literals;  // for bytes that contain NUL

constexpr std::uint64_t kMemory = std::uint64_t{16} << 20;
constexpr std::uint64_t kStorageBytes = 4096;

// Magic number, protocol, and that numbers are little-endian.
constexpr std::string_view kStart =
    "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    "\x80\x02M\xe9\x03."
    "\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."sv;

// Where the tensor's last byte ends.
std::uint64_t end_of(const format::Header& header, const TensorInfo& tensor) {
  if (tensor.encoding == Encoding::plain) return tensor.offset + tensor.bytes;
  const auto& strides = std::get<format::Strided>(header.stored_as(tensor)).strides;
  require(tensor.encoding == Encoding::strided && strides.size() == tensor.shape.size());
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < strides.size(); ++i) last += (tensor.shape[i] - 1) * strides[i];
  return tensor.offset + (last + 1) * info(tensor.dtype).block_bytes;
}

void require_sound(const format::Header& header, std::uint64_t size) {
  require(header.memory() <= kMemory);
  const auto tensors = header.tensors.tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = tensors[i];
    require(header.tensors.find(tensor.name) == i && tensor.bytes == bytes_of(tensor.dtype, tensor.elements));
    require(tensor.elements == 0 || end_of(header, tensor) <= size);
  }
}

void check_pickle(std::string bytes, std::string_view key) {
  const test::MemorySource source(std::move(bytes));
  const format::Allowance allowance(source.name(), kMemory);
  format::torch::Values values(allowance);
  format::torch::Cursor cursor(source, 0, source.size());
  const format::torch::Value root = format::torch::Unpickler(cursor, values).load();
  require(cursor.position() <= source.size() && values.memory() <= kMemory);
  format::torch::TensorList list(values, source.name(),
                                 [](const format::torch::Storage& storage, std::uint32_t, std::string_view) {
                                   if (storage.bytes > kStorageBytes)
                                     throw Error(ErrorCode::format, "the storage is too short");
                                   return format::torch::Place{};
                                 });
  format::torch::StateDict tensors(values, root, key, source.name());
  list.reserve(tensors.count());
  tensors.for_each([&list](std::string_view name, const auto& tensor) { list.add(name, tensor); });
  require_sound(list.take(), kStorageBytes);
}

void check_file(std::string_view bytes, const std::string& key) {
  const io::Location location("old.pt");
  SourceOptions options;
  options.torch_key = key;
  const auto source = std::make_shared<test::MemorySource>(std::string(kStart) + std::string(bytes));
  require_sound(format::torch::open_legacy(source, {location, options, kMemory}).header, source->size());
}

}  // namespace
}  // namespace headrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace headrace;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.empty()) return 0;
  const bool is_file = (bytes[0] & 1) != 0;
  std::string key;
  if ((bytes[0] & 2) != 0) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    key = bytes.substr(1, end == 0 ? 0 : end - 1);
    bytes.remove_prefix(std::min(end, bytes.size() - 1));
  }
  bytes.remove_prefix(1);
  try {
    if (is_file) {
      fuzz::check_file(bytes, key);
    } else {
      fuzz::check_pickle(std::string(bytes), key);
    }
  } catch (const Error& error) {
    fuzz::require(error.code() == ErrorCode::format || error.code() == ErrorCode::unsupported ||
                  error.code() == ErrorCode::budget || error.code() == ErrorCode::invalid_argument);
  }
  return 0;
}
