// PyTorch's zip files: a pickle, and an entry for each storage.
// Source: caffe2/serialize/inline_container.h and torch/serialization.py of PyTorch.
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

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace headrace::format::torch {
namespace {

constexpr std::string_view kPickle = "data.pkl";
constexpr std::uint64_t kInflatedBytes = 512;  // what a deflated entry's source and its place in lists take, about

// "archive/" of "archive/data.pkl"; nothing for entries that aren't the pickle of a checkpoint.
std::optional<std::string_view> root_of(const zip::Entry& entry) {
  if (!entry.name.ends_with(kPickle)) return std::nullopt;
  const std::string_view root = entry.name.substr(0, entry.name.size() - kPickle.size());
  const bool one_folder = root.empty() || (root.size() > 1 && root.find('/') == root.size() - 1);
  return one_folder ? std::optional(root) : std::nullopt;
}

const zip::Entry& find_pickle(const zip::Archive& archive, const std::string& file) {
  const zip::Entry* pickle = nullptr;
  for (const zip::Entry& entry : archive.entries()) {
    if (!root_of(entry)) continue;
    if (pickle) {
      throw Error(ErrorCode::format, "the archive holds two checkpoints",
                  {.file = file,
                   .expected = "one data.pkl",
                   .found = fmt::format("'{}' and '{}'", printable(pickle->name), printable(entry.name))});
    }
    pickle = &entry;
  }
  if (!pickle) throw Error(ErrorCode::format, "the archive holds no checkpoint", {.file = file});
  return *pickle;
}

void require_little_endian(const zip::Archive& archive, const std::string& root, const std::string& file) {
  const zip::Entry* const entry = archive.find(root + "byteorder");
  if (!entry) return;  // not written before PyTorch 2.1
  constexpr std::uint64_t kLongest = 16;
  const std::vector<std::byte> bytes = archive.read(*entry, kLongest);
  const std::string_view order(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (order == "little") return;
  if (order == "big") {
    throw Error(ErrorCode::unsupported, "the checkpoint was saved on a big-endian machine",
                {.file = file, .hint = "load it with PyTorch on any machine and save it again"});
  }
  throw Error(ErrorCode::format, "the archive's byteorder is unknown",
              {.file = file, .expected = "little", .found = printable(order)});
}

// The storages' entries. Stored ones lie in the archive itself, file 0; each deflated one is a file of its own.
class Entries {
 public:
  Entries(const zip::Archive& archive, std::string root, std::string file, Values& values)
      : archive_(archive), root_(std::move(root)), file_(std::move(file)), values_(values) {
    files_.push_back(archive.bytes());
  }

  Place find(const Storage& storage, std::uint32_t number, std::string_view tensor) {
    const zip::Entry* const entry = archive_.find(fmt::format("{}data/{}", root_, storage.key));
    const auto refuse = [&](std::string problem, std::string expected, std::string found) {
      throw Error(ErrorCode::format, std::move(problem),
                  {.file = file_,
                   .tensor = printable(tensor),
                   .offset = entry ? std::optional(entry->data_offset) : std::nullopt,
                   .expected = std::move(expected),
                   .found = std::move(found),
                   .hint = "the file is damaged"});
    };
    if (!entry) {
      refuse("the tensor's storage isn't in the archive",
             fmt::format("an entry '{}data/{}'", printable(root_), printable(storage.key)), "none");
    }
    if (entry->bytes < storage.bytes) {
      refuse("the tensor's storage is too short", fmt::format("{} bytes", storage.bytes), fmt::to_string(entry->bytes));
    }
    if (!entry->deflated) return {0, entry->data_offset};
    const auto [known, added] = inflated_.try_emplace(number, static_cast<std::uint32_t>(files_.size()));
    if (added) {
      values_.hold(Holder::files, files_.size() * kInflatedBytes);
      files_.push_back(archive_.inflated(*entry));
    }
    return {known->second, 0};
  }

  std::vector<SourcePtr> take() { return std::move(files_); }

 private:
  const zip::Archive& archive_;
  std::string root_, file_;
  Values& values_;
  std::vector<SourcePtr> files_;
  std::unordered_map<std::uint32_t, std::uint32_t> inflated_;  // storage -> file
};

}  // namespace

bool is_checkpoint(const zip::Archive& archive) {
  return std::ranges::any_of(archive.entries(), [](const zip::Entry& entry) { return root_of(entry).has_value(); });
}

Contents open_archive(const std::shared_ptr<const zip::Archive>& archive, const Opening& opening) {
  const SourcePtr bytes = archive->bytes();
  const std::string& file = bytes->name();
  const zip::Entry& pickle = find_pickle(*archive, file);
  const std::string root(*root_of(pickle));
  require_little_endian(*archive, root, file);

  const Allowance allowance(file, opening.memory, archive->memory() + Cursor::kWindow);
  allowance.require(0);
  Values values(allowance);
  const SourcePtr source = pickle.deflated ? archive->inflated(pickle) : bytes;
  const std::uint64_t begin = pickle.deflated ? 0 : pickle.data_offset;
  Cursor cursor(*source, begin, begin + pickle.bytes);
  const Value object = Unpickler(cursor, values).load();

  Entries entries(*archive, root, file, values);
  TensorList list(values, cursor.file(),
                  [&entries](const Storage& storage, std::uint32_t number, std::string_view tensor) {
                    return entries.find(storage, number, tensor);
                  });
  StateDict tensors(values, object, opening.options.torch_key, file);
  list.reserve(tensors.count());
  tensors.for_each([&list](std::string_view name, const RawTensor& tensor) { list.add(name, tensor); });
  Contents contents;
  contents.header = list.take();
  contents.files = entries.take();
  return contents;
}

}  // namespace headrace::format::torch
