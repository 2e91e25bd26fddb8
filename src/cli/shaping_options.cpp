#include "cli/shaping_options.hpp"

#include "cli/arguments.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace headrace::cli {
namespace {

std::vector<std::uint32_t> layers_in(std::string_view text) {
  std::vector<std::uint32_t> layers;
  const std::string_view whole = text;
  do {
    const std::size_t comma = std::min(text.find(','), text.size());
    std::uint32_t layer = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + comma, layer);
    if (error != std::errc() || end != text.data() + comma)
      throw UsageError(fmt::format("--prune-layers: expected numbers such as 3,5,7, found '{}'", whole));
    layers.push_back(layer);
    text.remove_prefix(std::min(comma + 1, text.size()));
  } while (!text.empty());
  return layers;
}

Prefer prefer_in(std::string_view text) {
  if (text.empty()) return Prefer::none;
  if (text == "first") return Prefer::first;
  if (text == "last") return Prefer::last;
  throw UsageError(fmt::format("--prefer: expected first or last, found '{}'", text));
}

void add_list(CLI::App& command, const std::string& flag, std::vector<std::string>& to, const std::string& help,
              const std::string& value) {
  command.add_option(flag, to, help)->type_name(value)->allow_extra_args(false);
}

}  // namespace

void add_tensor_options(CLI::App& command, ShapingArguments& arguments) {
  add_list(command, "--select", arguments.select, "Only tensors whose name in the input a pattern finds", "REGEX");
  add_list(command, "--drop", arguments.drop, "Leave such tensors out", "REGEX");
  add_list(command, "--strip-prefix", arguments.strip_prefixes, "Take this off names that begin with it", "PREFIX");
  add_list(command, "--rename", arguments.renames,
           "Change what a pattern finds in names; \\1 is its first group:\n'^blocks\\.(\\d+)\\.=blk.\\1.'",
           "REGEX=TEXT");
  command.add_option("--prefix", arguments.prefix, "Put this in front of every name")->type_name("PREFIX");
  add_list(
      command, "--split", arguments.splits,
      "Cut a tensor along its first dimension: 'qkv=q,k,v' or\n'qkv=q:3072,kv:6144'; {} in names is any layer's number",
      "NAME=A,B,...");
  add_list(command, "--concat", arguments.concats,
           "Join tensors along their first dimension:\n'blk.{}.qkv.weight=blk.{}.q.weight,blk.{}.k.weight,...'",
           "NAME=A,B,...");
  command.add_option("--prune-layers", arguments.prune_layers, "Leave out these blk.N; the layers after them move up")
      ->type_name("N,N,...");
}

void add_shaping_options(CLI::App& command, ShapingArguments& arguments) {
  add_tensor_options(command, arguments);
  command.add_option("--prefer", arguments.prefer, "Of two tensors with one name, that of the first or last input")
      ->type_name("first|last");
  add_list(command, "--override-kv", arguments.metadata, "Set metadata: KEY=int:3, =float:0.5, =bool:true, =str:text",
           "KEY=TYPE:VALUE");
}

Shaping shaping_of(const ShapingArguments& arguments) {
  Shaping shaping;
  shaping.select = arguments.select;
  shaping.drop = arguments.drop;
  shaping.strip_prefixes = arguments.strip_prefixes;
  shaping.prefix = arguments.prefix;
  for (const std::string& text : arguments.renames) shaping.renames.push_back(parse_rename(text));
  for (const std::string& text : arguments.splits) shaping.splits.push_back(parse_split(text));
  for (const std::string& text : arguments.concats) shaping.concats.push_back(parse_concat(text));
  shaping.prefer = prefer_in(arguments.prefer);
  if (arguments.prune_layers) shaping.prune_layers = layers_in(*arguments.prune_layers);
  return shaping;
}

void set_shaping(const ShapingArguments& arguments, ConvertOptions& options) {
  options.shaping = shaping_of(arguments);
  for (const std::string& text : arguments.metadata) options.metadata.push_back(parse_metadata_override(text));
}

}  // namespace headrace::cli
