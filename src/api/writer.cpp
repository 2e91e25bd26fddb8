#include "format/writer.hpp"

#include "base/checked.hpp"
#include "base/gate.hpp"
#include "flow/retyping.hpp"
#include "format/layout.hpp"
#include "format/printable.hpp"
#include "format/safetensors/growing_header.hpp"
#include "format/tensor_table.hpp"
#include "plan/data_order.hpp"
#include "plan/outputs.hpp"

#include <headrace/error.hpp>
#include <headrace/writer.hpp>

#include <atomic>
#include <map>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <utility>

namespace headrace {
namespace {

Format format_for(const std::filesystem::path& path, const WriterOptions& options) {
  if (const auto to = options.to ? options.to : format_of_suffix(path)) return *to;
  throw Error(ErrorCode::invalid_argument, "the output's format isn't known from its name",
              {.file = path.string(), .expected = "a name ending in .gguf or .safetensors"});
}

void check_options(const std::string& file, Format to, const WriterOptions& options) {
  const auto refuse = [&](const char* problem, const char* hint) {
    throw Error(ErrorCode::invalid_argument, problem, {.file = file, .hint = hint});
  };
  const std::string& temporary = options.temporary;
  if ((file + temporary).find('\0') != std::string::npos) refuse("a path can't hold a NUL byte", "choose another name");
  if (options.shard_size == 0) refuse("shards of no bytes hold nothing", "give a larger shard_size");
  if (!temporary.empty() && options.shard_size)
    refuse("shards have no temporary name", "leave one of shard_size and temporary out");
  if (temporary.find('/') != std::string::npos || temporary == "." || temporary == "..")
    refuse("the temporary is a name in the output's folder, not a path", "give the name alone");
  if (!temporary.empty() && temporary == std::filesystem::path(file).filename())
    refuse("the temporary has the output's own name", "choose another");
  if (options.header_reserve > 0 && (to == Format::gguf || options.shard_size))
    refuse("a header can be kept free in a single safetensors file only", "declare all tensors at the start");
}

TensorInfo info_of(const TensorSpec& spec, const std::string& file) {
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
  return tensor;
}

[[noreturn]] void refuse_second(const TensorSpec& spec, const std::string& file) {
  throw Error(ErrorCode::invalid_argument, "the tensor is declared twice", {.file = file, .tensor = spec.name});
}

format::TensorTable table_of(std::span<const TensorSpec> specs, const std::string& file) {
  format::TensorTable table;
  table.reserve(specs.size());
  for (const TensorSpec& spec : specs) {
    if (!table.add(info_of(spec, file))) refuse_second(spec, file);
  }
  return table;
}

// As declared, so that a saver that goes by its own list writes from the front to the back; but where that would put
// numbers at odd addresses, the widest first.
std::vector<std::uint32_t> order_of(Format to, std::span<const TensorInfo> tensors) {
  if (to != Format::safetensors) return {};
  std::vector<std::uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0U);
  return plan::is_aligned(tensors, order) ? order : plan::widest_first(tensors, order);
}

}  // namespace

struct CheckpointWriter::Impl {
  Impl(const std::filesystem::path& where, std::span<const TensorSpec> specs, WriterOptions asked);

  format::Outputs lay_out();
  std::size_t index_of(std::string_view name) const;
  void retype(std::size_t tensor, DType from);
  void declare(const TensorSpec& spec);
  void write(std::string_view name, std::uint64_t first_byte, std::span<const std::byte> bytes, bool whole);
  void write_out(std::size_t tensor, std::uint64_t first_byte, std::span<const std::byte> bytes);
  void complete();  // needs the lock, as the next one does
  void publish();
  void require_open() const;

  const std::filesystem::path path;
  const std::string file;
  const WriterOptions options;
  const Format to;
  format::TensorTable table;
  format::Outputs outputs;
  base::Gate gate;
  const flow::RetypingMeans means;
  std::map<std::size_t, flow::Retyping> retyped;  // by index in the table
  format::Writer writer;
  std::optional<format::safetensors::GrowingHeader> header;  // where tensors may still be declared
  std::shared_mutex mutex;                                   // shared: a write; alone: all that changes the rest
  std::atomic<bool> closed = false;                          // committed, or about to be
  std::atomic<bool> broken = false;  // bytes that were counted may not be there, or a tensor is declared by halves
};

CheckpointWriter::Impl::Impl(const std::filesystem::path& where, std::span<const TensorSpec> specs, WriterOptions asked)
    : path(where),
      file(path.string()),
      options(std::move(asked)),
      to(format_for(path, options)),
      table(table_of(specs, file)),
      outputs(lay_out()),
      gate(options.memory),
      means{gate, options.threads, options.nonfinite, file},
      writer((gate.charge(table.memory() + outputs.memory(), file), table.tensors()), outputs, options.force) {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].from) retype(i, *specs[i].from);
  }
  if (to == Format::safetensors && !options.shard_size)
    header.emplace(outputs.parts.front().layout, table.tensors(), options.metadata, file);
}

format::Outputs CheckpointWriter::Impl::lay_out() {
  check_options(file, to, options);
  plan::OutputSpec spec{path, to, options.metadata};
  spec.shard_size = options.shard_size;
  spec.memory = options.memory;
  spec.held = table.memory();
  spec.reserve = options.header_reserve;
  format::Outputs made = plan::lay_out_outputs(spec, table.mutable_tensors(), order_of(to, table.tensors()));
  made.parts.front().temporary = options.temporary;
  return made;
}

std::size_t CheckpointWriter::Impl::index_of(std::string_view name) const {
  if (const auto at = table.find(name)) return *at;
  throw Error(ErrorCode::invalid_argument, "the tensor was not declared", {.file = file, .tensor = std::string(name)});
}

void CheckpointWriter::Impl::retype(std::size_t tensor, DType from) {
  const TensorInfo& made = table.tensors()[tensor];
  if (from != made.dtype) retyped.try_emplace(tensor, made, from, means);
}

void CheckpointWriter::Impl::require_open() const {
  if (broken) {
    throw Error(ErrorCode::io, "an earlier write or commit failed, so the checkpoint can't be completed",
                {.file = file, .hint = "write it again from the start"});
  }
  if (closed) throw Error(ErrorCode::invalid_argument, "the checkpoint was committed already", {.file = file});
}

void CheckpointWriter::Impl::declare(const TensorSpec& spec) {
  const std::unique_lock lock(mutex);
  require_open();
  if (!header) {
    throw Error(ErrorCode::unsupported, "tensors can't be declared later here",
                {.file = file,
                 .tensor = spec.name,
                 .expected = "a single safetensors file",
                 .hint = "declare all tensors at the start"});
  }
  TensorInfo tensor = info_of(spec, file);
  format::check_type(to, tensor, file);
  if (table.find(spec.name)) refuse_second(spec, file);
  if (spec.from && *spec.from != spec.dtype) flow::Retyping(tensor, *spec.from, means);  // throws what retype() would
  header->add(tensor);
  broken = true;  // until all of them know of it
  table.add(tensor);
  writer.grow(table.tensors(), header->file_bytes());
  if (spec.from) retype(table.tensors().size() - 1, *spec.from);
  broken = false;
}

void CheckpointWriter::Impl::write(std::string_view name, std::uint64_t first_byte, std::span<const std::byte> bytes,
                                   bool whole) {
  const std::shared_lock lock(mutex);
  require_open();
  const std::size_t tensor = index_of(name);
  const auto changed = retyped.find(tensor);
  const std::uint64_t expected = changed == retyped.end() ? table.tensors()[tensor].bytes : changed->second.bytes();
  if (whole && bytes.size() != expected) {
    throw Error(ErrorCode::invalid_argument, "the wrong number of bytes for the tensor",
                {.file = file,
                 .tensor = std::string(name),
                 .expected = std::to_string(expected),
                 .found = std::to_string(bytes.size())});
  }
  if (changed == retyped.end()) return write_out(tensor, first_byte, bytes);
  changed->second.write(first_byte, bytes,
                        [&](std::uint64_t first, std::span<const std::byte> made) { write_out(tensor, first, made); });
}

void CheckpointWriter::Impl::write_out(std::size_t tensor, std::uint64_t first_byte, std::span<const std::byte> bytes) {
  try {
    writer.write(tensor, first_byte, bytes);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_argument) throw;  // nothing was counted
    broken = true;
    ErrorDetail detail = error.detail();  // what writes files knows no tensors
    detail.tensor = format::printable(table.tensors()[tensor].name);
    throw Error(error.code(), error.problem(), std::move(detail));
  }
}

void CheckpointWriter::Impl::complete() {
  require_open();
  writer.require_complete();
  if (header && header->has_grown()) writer.rewrite_header(header->bytes(table.tensors(), options.metadata));
}

// There is no second try: what the system said about the bytes once, it doesn't say again.
void CheckpointWriter::Impl::publish() {
  try {
    writer.publish();
  } catch (...) {
    broken = true;
    throw;
  }
  closed = true;
}

CheckpointWriter::CheckpointWriter(const std::filesystem::path& path, std::span<const TensorSpec> tensors,
                                   const WriterOptions& options)
    : impl_(std::make_shared<Impl>(path, tensors, options)) {}
CheckpointWriter::~CheckpointWriter() = default;
CheckpointWriter::CheckpointWriter(CheckpointWriter&&) noexcept = default;
CheckpointWriter& CheckpointWriter::operator=(CheckpointWriter&&) noexcept = default;

void CheckpointWriter::declare(const TensorSpec& tensor) { impl_->declare(tensor); }

void CheckpointWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  impl_->write(name, 0, bytes, true);
}

void CheckpointWriter::write_at(std::string_view name, std::uint64_t first_byte, std::span<const std::byte> bytes) {
  impl_->write(name, first_byte, bytes, false);
}

void CheckpointWriter::commit() {
  const std::unique_lock lock(impl_->mutex);
  impl_->complete();
  impl_->publish();
}

std::future<void> CheckpointWriter::commit_async() {
  const std::unique_lock lock(impl_->mutex);
  impl_->complete();
  auto done = std::async(std::launch::async, [impl = impl_] { impl->publish(); });
  impl_->closed = true;
  return done;
}

std::filesystem::path CheckpointWriter::leave() {
  const std::unique_lock lock(impl_->mutex);
  const std::string& temporary = impl_->options.temporary;
  if (temporary.empty()) {
    throw Error(ErrorCode::invalid_argument, "the file has no temporary name to be left under",
                {.file = impl_->file, .hint = "give WriterOptions::temporary, or commit"});
  }
  impl_->complete();
  impl_->writer.leave();
  impl_->closed = true;
  return impl_->path.parent_path() / temporary;
}

std::vector<std::filesystem::path> CheckpointWriter::files() const {
  std::vector<std::filesystem::path> paths;
  for (const format::Part& part : impl_->outputs.parts) paths.push_back(part.path);
  if (impl_->outputs.index) paths.push_back(impl_->outputs.index->path);
  return paths;
}

}  // namespace headrace
