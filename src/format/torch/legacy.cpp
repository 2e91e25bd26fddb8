// What torch.save wrote before 1.6: pickles in a row, then the storages, each after its number of elements.
// Source: _legacy_save and _legacy_load in torch/serialization.py of PyTorch.
#include "base/checked.hpp"
#include "format/allowance.hpp"
#include "format/printable.hpp"
#include "format/torch/cursor.hpp"
#include "format/torch/state_dict.hpp"
#include "format/torch/tensor_list.hpp"
#include "format/torch/torch.hpp"
#include "format/torch/unpickler.hpp"
#include "format/torch/values.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace headrace::format::torch {
namespace {

using namespace std::string_view_literals;  // the magic number contains NUL

constexpr std::string_view kMagic = "\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19"sv;  // 0x1950A86A20F9469CFC6C
constexpr std::int64_t kProtocol = 1001;

class LegacyReader {
 public:
  LegacyReader(const io::ByteSource& source, Values& values)
      : source_(source), values_(values), cursor_(source, 0, source.size()) {}

  /// What was saved. The storages' places are known then.
  Value read() {
    require_magic();
    require_protocol();
    require_little_endian();
    const Value object = load();
    const std::uint64_t at = cursor_.position();
    place_storages(load(), at);
    return object;
  }

 private:
  Value load() { return Unpickler(cursor_, values_).load(); }

  void require_magic() {
    const Value magic = load();
    if (magic.is(Kind::large) && values_.text(magic) == kMagic) return;
    cursor_.fail(0, "this pickle is no PyTorch checkpoint", "the magic number of torch.save",
                 std::string(name(magic.kind())),
                 "where it is a plain pickle of your own, save its tensors with torch.save or as safetensors");
  }

  void require_protocol() {
    const std::uint64_t at = cursor_.position();
    const Value protocol = load();
    if (protocol.is(Kind::integer) && protocol.number() == kProtocol) return;
    cursor_.fail(at, "this version of PyTorch's old format isn't known", fmt::to_string(kProtocol),
                 protocol.is(Kind::integer) ? fmt::to_string(protocol.number()) : std::string(name(protocol.kind())),
                 {}, ErrorCode::unsupported);
  }

  void require_little_endian() {
    const std::uint64_t at = cursor_.position();
    const Value system = load();
    const auto items = system.is(Kind::dict) ? values_.items(system) : std::span<const Value>();
    for (std::size_t i = 0; i < items.size(); i += 2) {
      if (!items[i].is(Kind::text) || values_.text(items[i]) != "little_endian") continue;
      if (items[i + 1].is(Kind::boolean) && items[i + 1].number() == 1) return;
      cursor_.fail(at, "the checkpoint was saved on a big-endian machine", {}, {},
                   "load it with PyTorch there and save it again", ErrorCode::unsupported);
    }
    cursor_.fail(at, "the checkpoint doesn't say in which byte order it is");
  }

  // `keys` lists the storages in the order of their bytes. Only their counts are read.
  void place_storages(Value keys, std::uint64_t at) {
    if (!keys.is(Kind::list)) cursor_.fail(at, "the checkpoint's list of storages is no list");
    std::uint64_t next = cursor_.position();
    for (const Value key : values_.items(keys)) next = place_storage(key, at, next);
    for (std::size_t i = 0; i < values_.storages().size(); ++i) {
      const Storage& storage = values_.storages()[i];
      if (storage.offset != Storage::kNowhere) continue;
      cursor_.fail(storage.at, fmt::format("the storage '{}' isn't in the file", printable(storage.key)));
    }
  }

  // Its elements' number, then its bytes. Returns their end.
  std::uint64_t place_storage(Value key, std::uint64_t keys_at, std::uint64_t at) {
    const std::optional<std::size_t> found =
        key.is(Kind::text) ? values_.find_storage(values_.text(key)) : std::nullopt;
    const std::string shown = key.is(Kind::text) ? printable(values_.text(key)) : std::string(name(key.kind()));
    if (!found) cursor_.fail(keys_at, fmt::format("no tensor has the storage '{}'", shown));
    if (values_.storages()[*found].offset != Storage::kNowhere)
      cursor_.fail(keys_at, fmt::format("the storage '{}' is there twice", shown));
    Storage& storage = values_.storages()[*found];
    const std::uint64_t left = source_.size() - at;
    std::uint64_t count = 0;
    if (left >= sizeof count) source_.read_at(at, std::as_writable_bytes(std::span(&count, 1)));
    if (left < sizeof count || left - sizeof count < storage.bytes) {
      cursor_.fail(at, fmt::format("the storage '{}' goes past the end of the file", shown),
                   fmt::format("{} more bytes", storage.bytes), fmt::to_string(left),
                   "the file is cut short or damaged");
    }
    if (count != storage.bytes / storage.element->bytes) {
      cursor_.fail(at, fmt::format("the storage '{}' has another size than its tensors say", shown),
                   fmt::format("{} elements", storage.bytes / storage.element->bytes), fmt::to_string(count));
    }
    storage.offset = at + sizeof count;
    return storage.offset + storage.bytes;
  }

  const io::ByteSource& source_;
  Values& values_;
  Cursor cursor_;
};

}  // namespace

Contents open_legacy(SourcePtr source, const Opening& opening) {
  const std::string& file = source->name();
  const Allowance allowance(file, opening.memory, Cursor::kWindow);
  allowance.require(0);
  Values values(allowance);
  const Value object = LegacyReader(*source, values).read();
  TensorList list(values, file, [](const Storage& storage, std::uint32_t, std::string_view) {
    return Place{0, storage.offset};
  });
  StateDict tensors(values, object, opening.options.torch_key, file);
  list.reserve(tensors.count());
  tensors.for_each([&list](std::string_view name, const RawTensor& tensor) { list.add(name, tensor); });
  Contents contents;
  contents.header = list.take();
  contents.files.push_back(std::move(source));
  return contents;
}

}  // namespace headrace::format::torch
