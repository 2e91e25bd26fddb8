// Any text as rules, shaping and a profile, applied to a small model: whatever is planned can be carried out, and what
// can't be planned is refused with an Error.
//
// A line is an option, by its first letter; what follows a line "{" is a profile.
#include "fuzz_support.hpp"
#include "plan/profile.hpp"

#include <headrace/convert.hpp>
#include <headrace/writer.hpp>

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <string_view>

namespace headrace::fuzz {
namespace {

namespace fs = std::filesystem;

// A language model's names, a scaled FP8 weight, odd rows, five dimensions, a scalar, integers.
const std::vector<TensorSpec>& specs() {
  using enum DType;
  static const std::vector<TensorSpec> list = {
      {"blk.0.q.weight", F16, {4, 256}},
      {"blk.0.k.weight", F16, {2, 256}},
      {"blk.1.q.weight", F16, {4, 256}},
      {"blk.1.k.weight", F16, {2, 256}},
      {"f.weight", F8_E4M3, {2, 64}},
      {"f.scale_weight", F32, {}},
      {"f.scale_input", F32, {1}},
      {"scaled_fp8", F8_E4M3, {0}},
      {"odd.weight", F32, {3, 33}},
      {"deep.weight", BF16, {2, 1, 2, 1, 32}},
      {"scalar", F32, {}},
      {"norm.bias", F32, {64}},
      {"ids", I64, {4}},
      {"small", F4, {2, 6}},
      {"empty", F16, {0, 32}},
  };
  return list;
}

class Model {
 public:
  Model() {
    fs::create_directories(folder_);
    CheckpointWriter writer(path(), specs(), {.force = true});
    for (const TensorSpec& spec : specs()) {
      std::uint64_t elements = 1;
      for (const std::uint64_t dim : spec.shape) elements *= dim;
      std::vector<std::byte> bytes(*bytes_of(spec.dtype, elements));
      for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(i * 7 % 47);
      writer.write(spec.name, bytes);
    }
    writer.commit();
  }
  ~Model() { fs::remove_all(folder_); }

  std::string path() const { return folder_ / "model.safetensors"; }
  fs::path output(Format to) const { return folder_ / (to == Format::gguf ? "out.gguf" : "out.safetensors"); }
  fs::path profile() const { return folder_ / "profile.json"; }

 private:
  const fs::path folder_ = fs::temp_directory_path() / ("headrace-fuzz-rules-" + std::to_string(::getpid()));
};

// One line. Throws Error.
void set_option(std::string_view line, ConvertOptions& options) {
  Shaping& shaping = options.shaping;
  const std::string rest(line.substr(1));
  switch (line.front()) {
    case 'r': {
      const Rule rule = parse_rule(rest);
      require(to_string(parse_rule(to_string(rule))) == to_string(rule));
      return options.rules.push_back(rule);
    }
    case 's': return shaping.select.push_back(rest);
    case 'd': return shaping.drop.push_back(rest);
    case 't': return shaping.strip_prefixes.push_back(rest);
    case 'n': return shaping.renames.push_back(parse_rename(rest));
    case 'p': shaping.prefix = rest; return;
    case 'x': return shaping.splits.push_back(parse_split(rest));
    case 'c': return shaping.concats.push_back(parse_concat(rest));
    case 'l': return shaping.prune_layers.push_back(static_cast<std::uint32_t>(rest.size()));
    case 'k': return options.metadata.push_back(parse_metadata_override(rest));
    case 'e': shaping.prefer = rest.empty() ? Prefer::first : Prefer::last; return;
    case 'm': shaping.component = rest; return;
    case 'y': options.type = parse_dtype(rest); return;
    case 'f': options.profile = rest == "sdcpp" || rest == "comfyui" ? rest : ""; return;
    case 'g': options.to = Format::gguf; return;
    case 'a': options.architecture = rest; return;
    case 'h': options.measure = true; return;
    default: return;
  }
}

void run(const Model& model, std::string_view text) {
  ConvertOptions options{.to = Format::safetensors, .nonfinite = Nonfinite::keep, .threads = 1, .force = true};
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line == "{") {
      const std::string profile = "{" + std::string(text);
      static_cast<void>(plan::parse_profile("profile", profile, std::uint64_t{1} << 20));
      std::ofstream(model.profile(), std::ios::binary) << profile;
      options.profile = model.profile();
      break;
    }
    if (!line.empty()) set_option(line, options);
  }
  const Plan plan = measure(plan_conversion(model.path(), model.output(*options.to), options));
  require(plan.unmeasured() == 0);
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    require(names.insert(plan[i].name).second);
    require(!explain(plan[i]).empty());
  }
  convert(plan);
  const Checkpoint made = Checkpoint::open(model.output(*options.to));
  require(made.tensors().size() == plan.size());
}

}  // namespace
}  // namespace headrace::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const headrace::fuzz::Model model;
  try {
    headrace::fuzz::run(model, {reinterpret_cast<const char*>(data), size});
  } catch (const headrace::Error& error) {
    headrace::fuzz::require(error.code() != headrace::ErrorCode::internal && error.code() != headrace::ErrorCode::io);
  }
  return 0;
}
