// Plan: what a conversion will do, tensor by tensor, before it does any of it.
#pragma once

#include <headrace/checkpoint.hpp>
#include <headrace/metadata.hpp>
#include <headrace/nonfinite.hpp>
#include <headrace/recipe.hpp>
#include <headrace/rules.hpp>
#include <headrace/shaping.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

/// A checkpoint that a conversion reads.
struct Input {
  std::string location;  ///< a path, a folder, a URL or "-": see SourceOptions
  /// Goes in front of the name of each tensor that doesn't begin with it already.
  std::string prefix = {};
};

/// How much each column of a tensor matters to the encoders that search for the best scale: Q4_0 … Q5_1, Q2_K … Q6_K,
/// IQ4_NL and IQ4_XS. Neither of the first two is better; each gives another tool's bytes.
enum class Importance : std::uint8_t {
  none,  ///< as llama-quantize without an importance matrix: each type's own rule
  ones,  ///< as stable-diffusion.cpp: every weight is 1
  file,  ///< measured: from the files of an importance matrix
};

/// A pair of an output's metadata that the caller sets; it replaces the source's of that key.
struct MetadataOverride {
  std::string key;
  ValueType type = ValueType::string;  ///< u32, f32, boolean or string, as llama.cpp's overrides make them
  std::string value;                   ///< as it was written: "3", "0.5", "true", "text"
};

/// "KEY=int:3", "KEY=float:0.5", "KEY=bool:true" or "KEY=str:text", as llama-quantize takes them.
/// Throws Error(invalid_argument).
MetadataOverride parse_metadata_override(std::string_view text);

struct ConvertOptions {
  std::optional<Format> to = {};   ///< output format; else by the output's suffix
  std::optional<DType> type = {};  ///< type of every tensor that can take it; else each keeps its own
  /// Types by role and layer, as llama-quantize chooses them; not together with `type`. The inputs' metadata must be a
  /// language model's.
  std::optional<RecipeOptions> recipe = {};
  /// The first that matches decides for a tensor, before `type`, `recipe`, the profile and every default.
  std::vector<Rule> rules = {};
  /// Whom the output is for: "sdcpp", "comfyui", "llamacpp" or the path of a file like them; empty: nobody special.
  std::string profile = {};
  Shaping shaping = {};
  Importance importance = Importance::none;
  /// llama.cpp's importance matrices, GGUF or legacy; several count as one, added in this order.
  std::vector<std::filesystem::path> imatrix_files = {};
  /// Parts of names, at most one list of them: only such tensors are weighed by the files, or all but such.
  std::vector<std::string> imatrix_include = {}, imatrix_exclude = {};
  std::optional<std::string> architecture =
      {};  ///< general.architecture of a GGUF output; else kept when the source has one
  std::vector<MetadataOverride> metadata = {};
  Nonfinite nonfinite = Nonfinite::refuse;
  bool measure = false;  ///< compare what was made with what it was made of: see ConvertReport::errors
  /// Bytes of tensors that a file shall hold at most; more files are made then. A set of files never replaces another.
  std::optional<std::uint64_t> shard_size = {};
  SourceOptions source = {};              ///< for all inputs
  std::uint64_t memory = kDefaultMemory;  ///< budget in bytes: headers, plan and data in flight
  unsigned threads = 0;                   ///< workers; 0: one per core
  bool force = false;                     ///< replace an existing output
};

/// Why a tensor gets the type it gets.
enum class Reason : std::uint8_t {
  kept,             ///< no type was asked for
  already,          ///< it has the type asked for
  requested,        ///< the type asked for
  rule,             ///< a rule says so
  profile,          ///< the profile says so
  recipe,           ///< the recipe's choice
  left_by_recipe,   ///< llama-quantize leaves such tensors alone
  measured,         ///< the smallest of a rule's types that is good enough
  unmeasured,       ///< a rule wants the data looked at first; `to` is the most that it can become
  scale,            ///< belongs to 8-bit floats that stay as they are
  not_float,        ///< integers, bools and complex numbers are never retyped
  one_dimensional,  ///< a vector or scalar is too small to be worth quantising: F32
  kept_wide,        ///< a vector of F64 stays as it is where vectors become F32
  row_fallback,     ///< its rows are no whole number of blocks
};

/// One output tensor. A view into its Plan.
struct PlannedTensor {
  std::string_view name;
  std::string_view source_name;  ///< as its input lists it, without the prefix; of several that are joined, the first's
  std::size_t input = 0;         ///< index in Plan::inputs()
  std::size_t sources = 1;       ///< tensors that it is joined from
  bool is_part = false;          ///< it is a part of its source
  bool scaled = false;           ///< its source is scaled FP8, and the scale is folded in
  Shape shape;                   ///< as the output will list it
  Shape source_shape;            ///< as the source lists it, joined or cut; differs where ranks are merged or restored
  DType from = DType::F32;
  DType to = DType::F32;
  Reason why = Reason::kept;
  std::optional<DType> asked = {};           ///< for this tensor, by a rule or for all
  std::string_view rule = {};                ///< the rule that decided, as text; empty when none did
  bool by_profile = false;                   ///< that rule is the profile's
  Importance importance = Importance::none;  ///< none where it makes no difference, and where the files have no entry
  std::uint64_t source_bytes = 0;
  std::uint64_t bytes = 0;
  std::size_t file = 0;      ///< which of the output's files it goes to
  std::uint64_t offset = 0;  ///< of the first byte in that file
};

/// A tensor of an input that the output won't have.
struct DroppedTensor {
  std::string_view name;         ///< that it had when it was left out
  std::string_view source_name;  ///< as its input lists it, without the prefix
  std::size_t input = 0;
  std::string why;  ///< "rule '^ema=drop'", "--drop 'ema'", …
};

/// The reason as a short phrase: "row of 100 isn't whole blocks of 32".
std::string explain(const PlannedTensor& tensor);

/// An immutable plan, made from headers alone. It keeps its inputs open.
/// Thread-safety: const members from any thread; copies share the same plan.
class Plan {
 public:
  std::span<const Input> inputs() const noexcept;
  Format from(std::size_t input) const noexcept;  ///< the format of an input
  /// True when `file`, links followed, is one that an input is read from or was found by: an archive, a shard, an
  /// index, a manifest. No output may be one.
  bool is_input(const std::filesystem::path& file) const;
  const std::filesystem::path& output() const noexcept;  ///< as it was asked for
  Format to() const noexcept;
  /// The files that hold the tensors: one, or shards numbered from the output's name.
  std::size_t output_files() const noexcept;
  const std::filesystem::path& output_file(std::size_t i) const noexcept;
  /// The index that shards of safetensors get beside them; empty where there is none.
  const std::filesystem::path& output_index() const noexcept;
  const ConvertOptions& options() const noexcept;

  std::size_t size() const noexcept;
  /// True when tensor `i` is made of the input's tensor of that name, or of several among which it is.
  bool is_made_of(std::size_t i, std::string_view source_name) const noexcept;
  PlannedTensor operator[](std::size_t i) const noexcept;  ///< `i` below size(); in the order of the output's header

  /// What the output's metadata will be.
  const Metadata& metadata() const noexcept;
  /// Everything that is dropped, reshaped or decided on the caller's behalf, a sentence each.
  std::span<const std::string> notes() const noexcept;
  std::span<const DroppedTensor> dropped() const noexcept;

  /// How many tensors wait for a look at the data (Reason::unmeasured). `convert` looks first; so does `measure`.
  std::size_t unmeasured() const noexcept;

  std::uint64_t source_bytes() const noexcept;  ///< of all tensors
  std::uint64_t header_bytes() const noexcept;  ///< of all output files, up to their first tensors
  std::uint64_t output_bytes() const noexcept;  ///< of all output files that hold tensors

  struct Impl;
  explicit Plan(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const noexcept { return *impl_; }

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace headrace
