// headrace inspect: what is in a checkpoint.
#include <headrace/bytes.hpp>
#include <headrace/checkpoint.hpp>

#include "cli/arguments.hpp"
#include "cli/commands.hpp"
#include "cli/json.hpp"
#include "cli/source_options.hpp"
#include "cli/table.hpp"
#include "cli/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <vector>

namespace headrace::cli {
namespace {

struct Arguments {
  std::string file;
  SourceOptions source;
  std::string memory;
  bool tensors = false;
  bool metadata = false;
  bool json = false;
};

struct TypeTotal {
  DType dtype = DType::F32;
  std::uint64_t tensors = 0;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
};

// The type with the most bytes first.
std::vector<TypeTotal> totals_by_type(const Checkpoint& checkpoint) {
  std::vector<TypeTotal> totals;
  for (const DTypeInfo& type : all_dtypes()) totals.push_back({type.dtype});
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    TypeTotal& total = totals[static_cast<std::size_t>(tensor.dtype)];
    ++total.tensors;
    total.elements += tensor.elements;
    total.bytes += tensor.bytes;
  }
  std::erase_if(totals, [](const TypeTotal& total) { return total.tensors == 0; });
  std::stable_sort(totals.begin(), totals.end(),
                   [](const TypeTotal& a, const TypeTotal& b) { return a.bytes > b.bytes; });
  return totals;
}

std::uint64_t all_elements(const std::vector<TypeTotal>& totals) {
  std::uint64_t elements = 0;
  for (const TypeTotal& total : totals) elements += total.elements;
  return elements;
}

std::string format_line(const Checkpoint& checkpoint) {
  std::string text(name(checkpoint.format()));
  if (checkpoint.format_version() != 0) text += fmt::format(" version {}", checkpoint.format_version());
  return text;
}

// The pairs that say which model this is.
void print_key_facts(Output& out, const Metadata& metadata) {
  constexpr std::array<std::string_view, 9> kFacts{
      "general.architecture",   "general.name",      "general.type",
      "general.size_label",     "general.file_type", "general.quantization_version",
      "modelspec.architecture", "modelspec.title",   "format"};
  for (const std::string_view key : kFacts) {
    if (const auto value = metadata.find(key)) {
      out.print("  {:<28}  {}\n", key, shorten(safe(value->to_string()), 80));
    }
  }
}

void print_size(Output& out, const Checkpoint& checkpoint) {
  const std::uint64_t bytes = checkpoint.file_bytes();
  if (checkpoint.files() != 1) {
    out.print("size        {} ({} bytes) in {} parts\n", format_bytes(bytes), grouped(bytes), checkpoint.files());
  } else if (bytes == std::numeric_limits<std::uint64_t>::max()) {
    out.print("size        not known: a stream, data from byte {}\n", grouped(checkpoint.data_offset()));
  } else {
    out.print("size        {} ({} bytes), data from byte {}\n", format_bytes(bytes), grouped(bytes),
              grouped(checkpoint.data_offset()));
  }
}

void print_summary(Output& out, const Checkpoint& checkpoint) {
  const std::vector<TypeTotal> totals = totals_by_type(checkpoint);
  const std::uint64_t elements = all_elements(totals);
  out.print("{}\n", safe(checkpoint.location()));
  out.print("format      {}\n", format_line(checkpoint));
  print_size(out, checkpoint);
  out.print("tensors     {}\n", grouped(checkpoint.tensors().size()));
  out.print("parameters  {}", rounded_count(elements));
  if (elements >= 1'000'000) out.print(" ({})", grouped(elements));
  out.print("\nmetadata    {} pair{}\n", grouped(checkpoint.metadata().size()),
            checkpoint.metadata().size() == 1 ? "" : "s");
  print_key_facts(out, checkpoint.metadata());
  if (totals.empty()) return;

  out.write("\n");
  constexpr std::array kColumns{Column{"dtype"}, Column{"tensors", Align::right}, Column{"parameters", Align::right},
                                Column{"bytes", Align::right}, Column{"size", Align::right}};
  print_table(out, kColumns, totals.size(), [&](std::size_t i, Row& row) {
    row[0] = name(totals[i].dtype);
    row[1] = std::to_string(totals[i].tensors);
    row[2] = std::to_string(totals[i].elements);
    row[3] = std::to_string(totals[i].bytes);
    row[4] = format_bytes(totals[i].bytes);
  });
}

void print_tensors(Output& out, const Checkpoint& checkpoint) {
  constexpr std::array kColumns{Column{"tensor"}, Column{"dtype"}, Column{"shape"}, Column{"bytes", Align::right},
                                Column{"offset", Align::right}};
  print_table(out, kColumns, checkpoint.tensors().size(), [&](std::size_t i, Row& row) {
    const TensorInfo& tensor = checkpoint.tensors()[i];
    append_safe(row[0], tensor.name);
    row[1] = name(tensor.dtype);
    row[2] = to_string(tensor.shape);
    fmt::format_to(std::back_inserter(row[3]), "{}", tensor.bytes);
    fmt::format_to(std::back_inserter(row[4]), "{}", tensor.offset);
  });
}

std::string type_text(const MetadataValue& value) {
  if (value.type() != ValueType::array) return std::string(name(value.type()));
  return fmt::format("{} of {}", name(value.type()), name(value.element_type()));
}

void print_metadata(Output& out, const Metadata& metadata) {
  constexpr std::array kColumns{Column{"key"}, Column{"type"}, Column{"value"}};
  constexpr std::size_t kWidestValue = 100;
  print_table(out, kColumns, metadata.size(), [&](std::size_t i, Row& row) {
    const MetadataValue value = metadata.value(i);
    append_safe(row[0], metadata.key(i));
    row[1] = type_text(value);
    row[2] = shorten(safe(value.to_string()), kWidestValue);
  });
}

void print_json(Output& out, const Checkpoint& checkpoint, bool tensors, bool metadata) {
  const std::vector<TypeTotal> totals = totals_by_type(checkpoint);
  JsonDocument document(out);
  document.member("file", checkpoint.location());
  document.member("format", name(checkpoint.format()));
  document.member("format_version", checkpoint.format_version());
  std::vector<std::string> files;
  for (std::size_t i = 0; i < checkpoint.files(); ++i) files.push_back(checkpoint.file(i));
  document.member("files", files);
  document.member("file_bytes", checkpoint.file_bytes());
  document.member("data_offset", checkpoint.data_offset());
  document.member("tensor_count", checkpoint.tensors().size());
  document.member("parameters", all_elements(totals));
  document.member("metadata_count", checkpoint.metadata().size());
  document.begin_list("types");
  for (const TypeTotal& total : totals) {
    document.element({{"dtype", name(total.dtype)},
                      {"tensors", total.tensors},
                      {"parameters", total.elements},
                      {"bytes", total.bytes}});
  }
  document.end_list();
  if (tensors) {
    document.begin_list("tensors");
    for (const TensorInfo& tensor : checkpoint.tensors()) {
      if (out.closed()) break;
      document.element({{"name", tensor.name},
                        {"dtype", name(tensor.dtype)},
                        {"shape", tensor.shape},
                        {"parameters", tensor.elements},
                        {"bytes", tensor.bytes},
                        {"file_index", tensor.file},
                        {"encoding", to_string(tensor.encoding)},
                        {"offset", tensor.offset}});
    }
    document.end_list();
  }
  if (metadata) {
    document.begin_list("metadata");
    for (std::size_t i = 0; i < checkpoint.metadata().size() && !out.closed(); ++i) {
      document.element(checkpoint.metadata().key(i), checkpoint.metadata().value(i));
    }
    document.end_list();
  }
  document.end();
}

int run(const Arguments& arguments, Context& context) {
  if (arguments.file.empty()) throw UsageError("no file was given");
  const Checkpoint checkpoint = Checkpoint::open(arguments.file, {parse_memory(arguments.memory), arguments.source});
  if (arguments.json) {
    const bool everything = !arguments.tensors && !arguments.metadata;
    print_json(context.out, checkpoint, arguments.tensors || everything, arguments.metadata || everything);
    return kOk;
  }
  print_summary(context.out, checkpoint);
  if (arguments.metadata && !checkpoint.metadata().empty()) {
    context.out.write("\n");
    print_metadata(context.out, checkpoint.metadata());
  }
  if (arguments.tensors && !checkpoint.tensors().empty()) {
    context.out.write("\n");
    print_tensors(context.out, checkpoint);
  }
  return kOk;
}

constexpr const char* kExamples = R"(Examples:
  headrace inspect model.gguf
  headrace inspect model.gguf --tensors --metadata
  headrace inspect model.safetensors --json | jq '.tensors[].name'

--json alone prints everything; with --tensors or --metadata, only that beside the summary.
Long metadata values are shortened, except in JSON.
Exit status: 0 done, 1 the file can't be read or breaks its format, 2 wrong usage.)";

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *app.add_subcommand("inspect", "Show what is in a checkpoint");
  command.add_option("INPUT,-m,--model", arguments->file, "The checkpoint to read, as in convert")->type_name("FILE");
  command.add_flag("--tensors", arguments->tensors, "List the tensors: name, type, shape, bytes, offset in the file");
  command.add_flag("--metadata", arguments->metadata, "List the metadata: key, type, value");
  add_source_options(command, arguments->source);
  add_memory_option(command, arguments->memory);
  command.add_flag("--json", arguments->json, "Print everything, or the error, as JSON on stdout");
  command.footer(kExamples);
  command.callback(
      [arguments, &action] { action = [arguments](Context& context) { return run(*arguments, context); }; });
}

}  // namespace headrace::cli
