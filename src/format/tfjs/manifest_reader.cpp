#include "format/tfjs/manifest_reader.hpp"

#include "base/checked.hpp"
#include "format/allowance.hpp"
#include "format/name_index.hpp"
#include "format/printable.hpp"
#include "format/tfjs/strings.hpp"
#include "format/tfjs/tfjs.hpp"
#include "io/chain.hpp"
#include "io/concat.hpp"
#include "io/location.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace headrace::format::tfjs {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

constexpr std::string_view kManifest = "weightsManifest";
constexpr std::size_t kMaxRank = 64;
constexpr std::size_t kMaxFiles = 65'536;
constexpr std::size_t kFileBytes = 512;  // what an open file, or a group of them, takes beside its name, at most

template <std::size_t N>
using Fields = std::array<std::optional<element>, N>;

/// How a weight lies in its group's bytes.
struct Weight {
  TensorInfo tensor;
  std::optional<Affine> affine;
};

std::optional<DType> dtype_named(std::string_view name) {
  if (name == "float32") return DType::F32;
  if (name == "int32") return DType::I32;
  if (name == "bool") return DType::BOOL;
  if (name == "complex64") return DType::C64;
  if (name == "string") return DType::STRING;
  return std::nullopt;
}

std::optional<DType> stored_dtype_named(std::string_view name) {
  if (name == "uint8") return DType::U8;
  if (name == "uint16") return DType::U16;
  if (name == "float16") return DType::F16;
  return std::nullopt;
}

// What is there instead of what was expected.
std::string shown(element value) {
  switch (value.type()) {
    case element_type::OBJECT: return "an object";
    case element_type::ARRAY: return "an array";
    case element_type::STRING: return fmt::format("'{}'", printable(std::string_view(value), 40));
    default: return simdjson::to_string(value);
  }
}

// Metadata for people: who made the file. What else a model.json says is about the model, not its weights; its `format`
// ("layers-model") above all isn't carried on, for in a safetensors file that key means another thing to its readers.
constexpr std::array<std::string_view, 2> kKept = {"generatedBy", "convertedBy"};

class ManifestReader {
 public:
  ManifestReader(const JsonDocument& document, std::uint64_t memory, const OpenFile& open, const CancelToken& cancel)
      : document_(document), open_(open), cancel_(cancel), allowance_(document.file(), memory, document.memory()) {}

  Contents read();

 private:
  Header& header() noexcept { return contents_.header; }
  std::uint64_t held() const noexcept;

  simdjson::dom::array groups();
  void keep_metadata(std::string_view key, const std::optional<element>& value);
  void read_group(element value);
  void open_group(simdjson::dom::array paths);
  std::string_view add_path(element value);
  SourcePtr open_file(std::string_view path);
  void close_group();
  SourcePtr chain() const;
  void read_weight(element value);
  void read_shape(element value, TensorInfo& tensor);
  DType read_dtype(element value) const;
  Affine read_quantization(element value, DType dtype) const;
  void set_extent(Weight& weight);
  void walk(TensorInfo& tensor);
  void add(const Weight& weight);

  template <std::size_t N>
  Fields<N> fields_of(element value, std::string_view what, const std::array<std::string_view, N>& names) const;
  simdjson::dom::array array_of(const std::optional<element>& value, std::string_view what) const;
  std::string_view text_of(element value, std::string_view what) const;
  std::uint64_t count_of(element value, std::string_view what) const;
  double number_of(const std::optional<element>& value, std::string_view what) const;
  [[noreturn]] void fail(std::string problem, std::string expected = {}, std::string found = {}) const;

  const JsonDocument& document_;
  const OpenFile& open_;
  const CancelToken& cancel_;
  const Allowance allowance_;
  Contents contents_;
  std::vector<std::string_view> paths_;  // of all groups
  NameIndex path_index_;
  std::uint64_t files_bytes_ = 0;  // held by open files and their groups
  bool streams_ = false;           // some file comes only once: those after it are opened when they are read
  // The group and the weight being read.
  std::size_t group_ = 0, weight_ = 0;
  std::size_t first_path_ = 0;     // in paths_, of the group
  std::vector<SourcePtr> opened_;  // its files, as far as they are open
  SourcePtr source_;               // all of them; null where they come only once
  std::uint64_t end_ = 0;          // of the tensors so far, in the group's bytes
  std::string_view tensor_;
  std::array<std::uint64_t, kMaxRank> shape_{};
};

Contents ManifestReader::read() {
  header().format = Format::tfjs;
  for (const element group : groups()) {
    read_group(group);
    ++group_;
  }
  return std::move(contents_);
}

simdjson::dom::array ManifestReader::groups() {
  const element root = document_.root();
  if (root.is_array()) return array_of(root, "the manifest");
  const auto [manifest, generated, converted] = fields_of<3>(root, "the model", {kManifest, kKept[0], kKept[1]});
  keep_metadata(kKept[0], generated);
  keep_metadata(kKept[1], converted);
  return array_of(manifest, "weightsManifest");
}

void ManifestReader::keep_metadata(std::string_view key, const std::optional<element>& value) {
  if (!value || !value->is_string()) return;  // often null
  const std::string_view text = text_of(*value, key);
  constexpr std::size_t kEach = 64;  // a pair's record, at most
  allowance_.require(held() + header().metadata.memory() + key.size() + text.size() + kEach);
  header().metadata.set_string(key, text);
}

std::uint64_t ManifestReader::held() const noexcept {
  return contents_.header.memory() + files_bytes_ + paths_.capacity() * sizeof(std::string_view) +
         path_index_.memory() + StringRun::kWindow;
}

void ManifestReader::read_group(element value) {
  const std::string what = fmt::format("group {}", group_);
  const auto [paths, weights] = fields_of<2>(value, what, {"paths", "weights"});
  const simdjson::dom::array list = array_of(weights, fmt::format("'weights' of {}", what));
  open_group(array_of(paths, fmt::format("'paths' of {}", what)));
  end_ = 0;
  weight_ = 0;
  for (const element weight : list) {
    read_weight(weight);
    ++weight_;
  }
  tensor_ = {};
  close_group();
}

void ManifestReader::open_group(simdjson::dom::array paths) {
  files_bytes_ += kFileBytes;
  allowance_.require(held());
  first_path_ = paths_.size();
  opened_.clear();
  source_ = nullptr;
  for (const element value : paths) {
    const std::string_view path = add_path(value);
    if (!streams_) opened_.push_back(open_file(path));
  }
  const std::size_t count = paths_.size() - first_path_;
  if (opened_.size() < count || (streams_ && count > 0)) return;
  if (count == 1) {
    source_ = std::move(opened_.front());
    return;
  }
  std::string name = opened_.empty() ? document_.file() : fmt::format("{} and {} more", opened_[0]->name(), count - 1);
  source_ = std::make_shared<io::Concat>(std::move(name), std::move(opened_));
}

std::string_view ManifestReader::add_path(element value) {
  const std::string_view path = text_of(value, "a path");
  if (!io::stays_inside(path)) {
    fail(fmt::format("a path of group {} leads out of the manifest's folder", group_), "a relative path without '..'",
         shown(value));
  }
  if (paths_.size() == kMaxFiles) fail("the manifest names too many files", fmt::format("at most {}", kMaxFiles));
  const std::uint64_t bytes = kFileBytes + document_.file().size() + path.size();
  allowance_.require(held() + bytes + paths_.capacity() * sizeof path + path_index_.memory_while_adding());
  if (!path_index_.add(path, [this](std::size_t i) { return paths_[i]; }))
    fail("the manifest names a file twice", {}, shown(value));
  paths_.push_back(path);
  files_bytes_ += bytes;
  return path;
}

SourcePtr ManifestReader::open_file(std::string_view path) {
  SourcePtr file = open_(path, cancel_);
  files_bytes_ += file->memory();
  if (file->access() == Access::random && file->size() != io::kUnknownSize) return file;
  streams_ = true;
  files_bytes_ += io::Chain::kOpenFile;
  return file;
}

// The tensors end where the files do. Of files that come only once, that is seen when they are read.
void ManifestReader::close_group() {
  if (!source_) {
    contents_.files.push_back(chain());
    return;
  }
  const std::uint64_t size = source_->size();
  if (end_ != size) {
    fail(fmt::format("the files of group {} go on after its last tensor", group_), fmt::format("{} bytes", end_),
         fmt::to_string(size));
  }
  contents_.files.push_back(std::move(source_));
}

// The document won't be there any more when the files are opened.
SourcePtr ManifestReader::chain() const {
  std::vector<std::string> paths(paths_.begin() + static_cast<std::ptrdiff_t>(first_path_), paths_.end());
  const std::size_t count = paths.size();
  std::string name = fmt::format("{}: group {}", document_.file(), group_);
  io::Chain::Files files{.opened = opened_,
                         .count = count,
                         .open = [open = open_, paths = std::move(paths)](
                                     std::size_t i, const CancelToken& cancel) { return open(paths[i], cancel); },
                         .memory = opened_.empty() ? 0 : io::Chain::kOpenFile};
  return std::make_shared<io::Chain>(std::move(name), end_, std::move(files), cancel_);
}

void ManifestReader::read_weight(element value) {
  tensor_ = {};
  const std::string what = fmt::format("weight {} of group {}", weight_, group_);
  const auto [name, shape, dtype, quantization] = fields_of<4>(value, what, {"name", "shape", "dtype", "quantization"});
  if (!name) fail(fmt::format("{} has no name", what));
  Weight weight;
  tensor_ = weight.tensor.name = text_of(*name, fmt::format("the name of {}", what));
  if (!shape) fail("the tensor has no shape");
  if (!dtype) fail("the tensor has no dtype");
  read_shape(*shape, weight.tensor);
  weight.tensor.dtype = read_dtype(*dtype);
  if (quantization) weight.affine = read_quantization(*quantization, weight.tensor.dtype);
  set_extent(weight);
  add(weight);
}

void ManifestReader::read_shape(element value, TensorInfo& tensor) {
  std::size_t rank = 0;
  for (const element dimension : array_of(value, "the shape")) {
    if (rank == kMaxRank) fail("the tensor has too many dimensions", fmt::format("at most {}", kMaxRank));
    shape_[rank++] = count_of(dimension, "a dimension");
  }
  tensor.shape = Shape(shape_.data(), rank);
  const std::optional<std::uint64_t> elements = base::checked_product(tensor.shape);
  if (!elements) fail("the tensor's number of elements doesn't fit 64 bits", {}, to_string(tensor.shape));
  tensor.elements = *elements;
}

DType ManifestReader::read_dtype(element value) const {
  const std::optional<DType> dtype = dtype_named(text_of(value, "the dtype"));
  if (!dtype) fail("unknown dtype", "float32, int32, bool, complex64 or string", shown(value));
  return *dtype;
}

Affine ManifestReader::read_quantization(element value, DType dtype) const {
  const auto [stored_name, scale, min, original] =
      fields_of<4>(value, "the quantization", {"dtype", "scale", "min", "original_dtype"});
  if (!stored_name) fail("the quantization has no dtype");
  const std::optional<DType> stored = stored_dtype_named(text_of(*stored_name, "the quantization's dtype"));
  if (!stored) fail("unknown dtype of a quantization", "uint8, uint16 or float16", shown(*stored_name));
  if (original && dtype_named(text_of(*original, "the original dtype")) != dtype) {
    fail("the quantization's original dtype is another than the tensor's", std::string(name(dtype)), shown(*original));
  }
  const bool is_half = *stored == DType::F16;
  if (dtype != DType::F32 && (is_half || dtype != DType::I32)) {
    fail(fmt::format("a tensor of {} can't be quantised to {}", name(dtype), name(*stored)),
         is_half ? "float32" : "float32 or int32");
  }
  Affine affine{.stored = *stored};
  if (is_half) {
    if (scale || min) fail("a quantization to float16 has no scale and no min");
    return affine;
  }
  affine.scale = number_of(scale, "the scale");
  affine.min = number_of(min, "the min");
  return affine;
}

// Where the weight lies in its group's bytes: right behind the one before it.
void ManifestReader::set_extent(Weight& weight) {
  TensorInfo& tensor = weight.tensor;
  tensor.file = static_cast<std::uint32_t>(contents_.files.size());
  tensor.offset = end_;
  if (tensor.dtype == DType::STRING) return walk(tensor);
  const std::optional<std::uint64_t> bytes = bytes_of(tensor.dtype, tensor.elements);
  const DType stored = weight.affine ? weight.affine->stored : tensor.dtype;
  const std::optional<std::uint64_t> stored_bytes = bytes_of(stored, tensor.elements);
  const std::optional<std::uint64_t> end = stored_bytes ? base::checked_add(end_, *stored_bytes) : std::nullopt;
  if (!bytes || !end) {
    fail("the tensor's size doesn't fit 64 bits", {},
         fmt::format("{} elements of {}", tensor.elements, name(tensor.dtype)));
  }
  if (source_ && *end > source_->size()) {
    fail(fmt::format("the files of group {} end before the tensor does", group_),
         fmt::format("at least {} bytes", *end), fmt::to_string(source_->size()));
  }
  tensor.bytes = *bytes;
  if (weight.affine) tensor.encoding = Encoding::affine;
  end_ = *end;
}

void ManifestReader::walk(TensorInfo& tensor) {
  if (!source_) {
    throw Error(ErrorCode::unsupported, "text can't be read from a stream: where it ends, only its bytes tell",
                {.file = document_.file(),
                 .tensor = printable(tensor_),
                 .hint = "save the model to files first, and give those"});
  }
  const io::ByteSource& source = *source_;
  allowance_.require(held());
  StringRun run = walk_strings(source, end_, tensor.elements);
  if (run.trouble) {
    throw Error(
        ErrorCode::format, fmt::format("the strings don't lie in the files of group {}", group_),
        {.file = source.name(), .tensor = printable(tensor_), .offset = run.end, .found = std::move(*run.trouble)});
  }
  tensor.bytes = run.end - end_;
  end_ = run.end;
}

void ManifestReader::add(const Weight& weight) {
  TensorTable& table = header().tensors;
  const std::uint64_t others = held() - table.memory() + (weight.affine ? Header::kStoredBytes : 0);
  allowance_.require(others + table.memory_while_adding(tensor_.size(), weight.tensor.shape.size()));
  const auto number = static_cast<std::uint32_t>(table.tensors().size());
  if (number == TensorTable::kMaxTensors) fail("too many tensors");
  if (!table.add(weight.tensor)) fail("two tensors have this name");
  if (weight.affine) header().stored.emplace(number, *weight.affine);
}

// The members of an object by name; nothing where there is none. Members that nobody asks for are passed over.
template <std::size_t N>
Fields<N> ManifestReader::fields_of(element value, std::string_view what,
                                    const std::array<std::string_view, N>& names) const {
  simdjson::dom::object object;
  if (value.get(object)) fail(fmt::format("{} is no JSON object", what), "an object", shown(value));
  Fields<N> found;
  for (const simdjson::dom::key_value_pair member : object) {
    const auto at = std::ranges::find(names, member.key);
    if (at == names.end()) continue;
    std::optional<element>& field = found[static_cast<std::size_t>(at - names.begin())];
    if (field) fail(fmt::format("{} has '{}' twice", what, member.key));
    field = member.value;
  }
  return found;
}

simdjson::dom::array ManifestReader::array_of(const std::optional<element>& value, std::string_view what) const {
  if (!value) fail(fmt::format("{} is missing", what), "an array");
  simdjson::dom::array array;
  if (value->get(array)) fail(fmt::format("{} is no JSON array", what), "an array", shown(*value));
  return array;
}

std::string_view ManifestReader::text_of(element value, std::string_view what) const {
  std::string_view text;
  if (value.get(text)) fail(fmt::format("{} is no string", what), "a string", shown(value));
  return text;
}

// 4.0 and 4e0 are refused: no writer makes them, and beyond 2^53 they aren't exact.
std::uint64_t ManifestReader::count_of(element value, std::string_view what) const {
  std::uint64_t count = 0;
  if (!value.is_uint64() || value.get(count)) {
    fail(fmt::format("{} is no plain non-negative integer", what), "digits only, below 2^64", shown(value));
  }
  return count;
}

double ManifestReader::number_of(const std::optional<element>& value, std::string_view what) const {
  if (!value) fail(fmt::format("{} of the quantization is missing", what), "a number");
  double number = 0;
  if (!value->is_number() || value->get(number) || !std::isfinite(number)) {
    fail(fmt::format("{} of the quantization is no finite number", what), "a number", shown(*value));
  }
  return number;
}

void ManifestReader::fail(std::string problem, std::string expected, std::string found) const {
  throw Error(ErrorCode::format, std::move(problem),
              {.file = document_.file(),
               .tensor = printable(tensor_),
               .expected = std::move(expected),
               .found = std::move(found)});
}

}  // namespace

bool is_manifest(const JsonDocument& document) {
  element manifest;
  return document.root().is_array() || document.root()[kManifest].get(manifest) == simdjson::SUCCESS;
}

Contents read_manifest(const JsonDocument& document, std::uint64_t memory, const OpenFile& open,
                       const CancelToken& cancel) {
  return ManifestReader(document, memory, open, cancel).read();
}

}  // namespace headrace::format::tfjs
