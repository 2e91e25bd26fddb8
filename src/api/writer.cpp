#include "format/writer.hpp"

#include "format/layout.hpp"
#include "format/tensor_table.hpp"

#include <headrace/error.hpp>
#include <headrace/writer.hpp>

#include "base/checked.hpp"

namespace headrace {
namespace {

Format format_for(const std::filesystem::path& path, const WriterOptions& options) {
  if (const auto to = options.to ? options.to : format_of_suffix(path)) return *to;
  throw Error(ErrorCode::invalid_argument, "the output's format isn't known from its name",
              {.file = path.string(), .expected = "a name ending in .gguf or .safetensors"});
}

format::TensorTable table_of(std::span<const TensorSpec> specs, const std::string& file) {
  format::TensorTable table;
  table.reserve(specs.size());
  for (const TensorSpec& spec : specs) {
    const auto elements = base::checked_product(spec.shape);
    const auto bytes = elements ? bytes_of(spec.dtype, *elements) : std::nullopt;
    if (!bytes) {
      throw Error(ErrorCode::invalid_argument, "the shape is no whole number of blocks, or too large",
                  {.file = file,
                   .tensor = spec.name,
                   .found = to_string(Shape(spec.shape)) + " of " + std::string(name(spec.dtype))});
    }
    TensorInfo tensor;
    tensor.name = spec.name;
    tensor.shape = spec.shape;
    tensor.elements = *elements;
    tensor.bytes = *bytes;
    tensor.dtype = spec.dtype;
    if (!table.add(tensor)) {
      throw Error(ErrorCode::invalid_argument, "the tensor is declared twice", {.file = file, .tensor = spec.name});
    }
  }
  return table;
}

}  // namespace

struct CheckpointWriter::Impl {
  Impl(const std::filesystem::path& path, std::span<const TensorSpec> specs, const WriterOptions& options)
      : file(path.string()),
        table(table_of(specs, file)),
        outputs{
            {{path, format::lay_out(format_for(path, options), table.mutable_tensors(), {}, options.metadata, file)}},
            {},
            false},
        writer(table.tensors(), outputs, options.force) {}

  std::size_t index_of(std::string_view name) const {
    if (const auto at = table.find(name)) return *at;
    throw Error(ErrorCode::invalid_argument, "the tensor was not declared",
                {.file = file, .tensor = std::string(name)});
  }

  std::string file;
  format::TensorTable table;
  format::Outputs outputs;
  format::Writer writer;
  bool committed = false;
};

CheckpointWriter::CheckpointWriter(const std::filesystem::path& path, std::span<const TensorSpec> tensors,
                                   const WriterOptions& options)
    : impl_(std::make_unique<Impl>(path, tensors, options)) {}
CheckpointWriter::~CheckpointWriter() = default;
CheckpointWriter::CheckpointWriter(CheckpointWriter&&) noexcept = default;
CheckpointWriter& CheckpointWriter::operator=(CheckpointWriter&&) noexcept = default;

void CheckpointWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  const std::size_t tensor = impl_->index_of(name);
  const std::uint64_t expected = impl_->table.tensors()[tensor].bytes;
  if (bytes.size() != expected) {
    throw Error(ErrorCode::invalid_argument, "the wrong number of bytes for the tensor",
                {.file = impl_->file,
                 .tensor = std::string(name),
                 .expected = std::to_string(expected),
                 .found = std::to_string(bytes.size())});
  }
  impl_->writer.write(tensor, 0, bytes);
}

void CheckpointWriter::write_at(std::string_view name, std::uint64_t first_byte, std::span<const std::byte> bytes) {
  impl_->writer.write(impl_->index_of(name), first_byte, bytes);
}

void CheckpointWriter::commit() {
  if (impl_->committed) throw Error(ErrorCode::invalid_argument, "committed twice", {.file = impl_->file});
  impl_->writer.commit();
  impl_->committed = true;
}

}  // namespace headrace
