// Plan: what a conversion will do, tensor by tensor, before it does any of it.
#pragma once

#include <headrace/checkpoint.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

/// What to do with numbers that the wanted type can't represent: NaN or infinity in a tensor to be quantised,
/// a finite number that a cast would turn into infinity or NaN.
enum class Nonfinite : std::uint8_t {
  refuse,  ///< stop with an Error(value) naming the tensor and its first such element
  keep,    ///< take what the type's conversion makes of it
};

/// A checkpoint that a conversion reads.
struct Input {
  std::string location;  ///< a path, a folder, a URL or "-": see SourceOptions
  /// Goes in front of the name of each tensor that doesn't begin with it already.
  std::string prefix = {};
};

/// The type of the tensors whose name in the output holds a match of `pattern` (RE2's syntax; a search, not a full
/// match).
struct TypeRule {
  std::string pattern;
  DType type;
};

/// Which tensors stay as they are unless a rule names them.
enum class SkipList : std::uint8_t {
  none,
  sdcpp,  ///< those that stable-diffusion.cpp leaves alone: by name, and rows that are no whole number of blocks
};

/// How much each column of a tensor matters to the encoders that search for the best scale: Q4_0 … Q5_1, Q2_K … Q6_K,
/// IQ4_NL and IQ4_XS. Neither of the first two is better; each gives another tool's bytes.
enum class Importance : std::uint8_t {
  none,  ///< as llama-quantize without an importance matrix: each type's own rule
  ones,  ///< as stable-diffusion.cpp: every weight is 1
  file,  ///< measured: from the files of an importance matrix
};

struct ConvertOptions {
  std::optional<Format> to = {};   ///< output format; else by the output's suffix
  std::optional<DType> type = {};  ///< type of every tensor that can take it; else each keeps its own
  /// The first that matches decides for a tensor, before `type`, `skip_list` and every default.
  std::vector<TypeRule> type_rules = {};
  SkipList skip_list = SkipList::none;
  Importance importance = Importance::none;
  /// llama.cpp's importance matrices, GGUF or legacy; several count as one, added in this order.
  std::vector<std::filesystem::path> imatrix_files = {};
  std::optional<std::string> architecture =
      {};  ///< general.architecture of a GGUF output; else kept when the source has one
  Nonfinite nonfinite = Nonfinite::refuse;
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
  rule,             ///< the type that a rule asks for
  skipped,          ///< on the skip list
  not_float,        ///< integers, bools and complex numbers are never retyped
  one_dimensional,  ///< a vector or scalar is too small to be worth quantising: F32
  kept_wide,        ///< a vector of F64 stays as it is where vectors become F32
  row_fallback,     ///< its rows are no whole number of blocks
};

/// One output tensor. A view into its Plan.
struct PlannedTensor {
  std::string_view name;
  std::string_view source_name;  ///< as its input lists it, without the prefix
  std::size_t input = 0;         ///< index in Plan::inputs()
  Shape shape;                   ///< as the output will list it
  Shape source_shape;            ///< as the source lists it; differs where ranks are merged or restored
  DType from = DType::F32;
  DType to = DType::F32;
  Reason why = Reason::kept;
  std::optional<DType> asked = {};           ///< for this tensor, by a rule or for all
  std::string_view rule = {};                ///< pattern of the rule that decided; empty when none did
  Importance importance = Importance::none;  ///< none where it makes no difference, and where the files have no entry
  std::uint64_t source_bytes = 0;
  std::uint64_t bytes = 0;
  std::size_t file = 0;      ///< which of the output's files it goes to
  std::uint64_t offset = 0;  ///< of the first byte in that file
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
  PlannedTensor operator[](std::size_t i) const noexcept;  ///< `i` below size(); in the order of the output's header

  /// What the output's metadata will be.
  const Metadata& metadata() const noexcept;
  /// Everything that is dropped, reshaped or decided on the caller's behalf, a sentence each.
  std::span<const std::string> notes() const noexcept;

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
