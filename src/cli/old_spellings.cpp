#include "cli/old_spellings.hpp"

#include "cli/arguments.hpp"

#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::cli {
namespace {

struct OldSpelling {
  std::string_view flags;  // as CLI11 takes them
  std::string_view name;   // for the message
  std::string_view now;
};

constexpr std::array kOldSpellings = {
    // llama-quantize
    OldSpelling{"--tensor-type-file", "--tensor-type-file", "--rules FILE reads rules, one a line"},
    OldSpelling{"--keep-split", "--keep-split", "--shard-size 5GB writes several files"},
    OldSpelling{"--max-buffer-size", "--max-buffer-size", "--memory 256MiB bounds all of it"},
    // stable-diffusion.cpp
    OldSpelling{"-M,--mode", "-M", "'headrace convert' is that mode"},
    OldSpelling{"--convert-name", "--convert-name", "--rename 'REGEX=TEXT' changes names, --for comfyui bares them"},
    // ComfyUI-GGUF's converter
    OldSpelling{"--src", "--src", "the input stands alone: headrace convert model.safetensors -o model.gguf"},
    OldSpelling{"--dst", "--dst", "-o FILE names the output"},
    OldSpelling{"--qtype", "--qtype", "--type q8_0, with --for comfyui"},
    // llama.cpp's converter
    OldSpelling{"--outtype", "--outtype", "--type f16"},
    OldSpelling{"--outfile", "--outfile", "-o FILE names the output"},
    // savers and loaders
    OldSpelling{"--max-shard-size,--max_shard_size", "--max-shard-size", "--shard-size 5GB"},
};

}  // namespace

void add_old_spellings(CLI::App& command) {
  for (const OldSpelling& old : kOldSpellings) {
    command
        .add_option_function<std::vector<std::string>>(
            std::string(old.flags),
            [&old](const std::vector<std::string>&) {
              throw UsageError(fmt::format("{} is called something else here: {}", old.name, old.now));
            })
        ->expected(0, 1)
        ->allow_extra_args(false)
        ->trigger_on_parse()
        ->group("");
  }
}

}  // namespace headrace::cli
