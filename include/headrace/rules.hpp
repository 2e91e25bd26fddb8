// Rules: what becomes of the tensors whose names match a pattern.
//
//   \.bias$=f32                        a type
//   embed=keep                         no change
//   ^ema\.=drop                        not in the output
//   attn.*weight=fallback:q4_K,q5_0    the first whose blocks fit the rows; F16 where none does
//   ffn.*weight=rmse:0.01              the smallest whose error stays below
//   ndim<2=f32                         conditions on the shape, with or without a pattern before them
//   weight$ elements<1024 ndim==2=keep
//
// Of several rules the first that matches a tensor decides, before every default.
// Thread-safety: values and pure functions.
#pragma once

#include <headrace/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

/// Something about a tensor's shape, before GGUF merges dimensions beyond the fourth.
struct Condition {
  enum class Of : std::uint8_t {
    ndim,      ///< number of dimensions; 0 for a scalar
    elements,  ///< product of the dimensions
    row,       ///< elements of a row: the innermost dimension
    rows,      ///< how many of them
  };
  enum class Is : std::uint8_t { below, at_most, above, at_least, equal, unequal };

  Of of = Of::ndim;
  Is is = Is::equal;
  std::uint64_t number = 0;

  bool holds(std::uint64_t value) const noexcept;
};

struct Action {
  enum class Kind : std::uint8_t {
    type,      ///< types[0], where the rows are whole blocks of it; else what llama-quantize falls back to
    keep,      ///< the source's type
    drop,      ///< the tensor is left out
    fallback,  ///< the first of `types` whose blocks fit the rows, else F16
    rmse,      ///< the smallest of `types` whose relative RMSE, √(Σ(w − ŵ)² / Σw²), is at most `limit`
  };

  Kind kind = Kind::keep;
  /// rmse: in any order; those count whose blocks fit the rows and that the output can hold; none given:
  /// default_ladder(). The source's type is the ceiling: where no smaller one is good enough, the tensor stays as it
  /// is.
  std::vector<DType> types = {};
  double limit = 0;
};

struct Rule {
  std::string pattern = {};                ///< RE2's syntax, searched for in the name in the output; empty: every name
  std::vector<Condition> conditions = {};  ///< all of them must hold
  Action action = {};
  std::string file = {};  ///< that it was read from, and the line there; for errors
  std::size_t line = 0;
};

/// The types that rmse: tries on rows of `row` elements where none are named, from the smallest up: Q2_K … Q6_K, or
/// Q4_0 and Q5_0 where rows aren't whole blocks of those, then F8_E4M3 (which safetensors can hold), Q8_0 and F16.
std::vector<DType> default_ladder(std::uint64_t row);

/// "PATTERN CONDITION …=ACTION", see above. The action follows the last '='; what is separated by blanks and reads like
/// a condition is one. Patterns are compiled later, with the names.
/// Throws Error(invalid_argument) for anything else, naming the word that isn't understood.
Rule parse_rule(std::string_view text);

/// One rule a line; empty lines and those that begin with '#' don't count. `file`: as errors call it, with the line.
std::vector<Rule> parse_rules(std::string_view text, std::string_view file);

/// parse_rules of a file's text, of 1 MiB at most. Throws Error: io when it can't be read; invalid_argument.
std::vector<Rule> read_rules(const std::filesystem::path& file);

/// "REGEX=TYPE,REGEX=TYPE", as stable-diffusion.cpp writes its rules. They stand between commas, with or without
/// blanks; a comma inside (), [] or {}, or after a backslash, belongs to the pattern. The type follows the last '=' of
/// a rule. Throws Error(invalid_argument) for an empty rule or pattern, a missing type, one that is unknown or can't be
/// made.
std::vector<Rule> parse_type_rules(std::string_view text);

/// The text that parse_rule reads.
std::string to_string(const Rule& rule);

}  // namespace headrace
