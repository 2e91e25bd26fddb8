// Shaping: which tensors come into an output, under which names, and which of them are joined or cut.
//
// In this order: a component is taken out; select and drop look at the names that are left, as the inputs have them (an
// input's own prefix in front); then prefixes are stripped, names changed, a prefix put in front; then tensors are cut
// and joined by their new names. Rules come after. Thread-safety: values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace headrace {

/// Every match of `pattern` (RE2's syntax) in a name becomes `replacement`, in which \1 … \9 stand for the groups.
struct Rename {
  std::string pattern, replacement;
};

/// A new tensor, its parts one after the other along the first dimension. The parts have one type, and one shape but
/// for that dimension; they are gone from the output. "{}" in the names stands for a number that is the same in all:
/// one line joins the q, k and v of every layer.
struct Concat {
  std::string name;
  std::vector<std::string> parts;
};

/// The reverse: a tensor is cut along its first dimension into parts of so many rows each; 0 in all: equal parts.
struct Split {
  struct Part {
    std::string name;
    std::uint64_t rows = 0;  ///< extent of the first dimension
  };
  std::string name;
  std::vector<Part> parts;
};

/// What to do when two tensors would have one name.
enum class Prefer : std::uint8_t {
  none,   ///< refuse, naming both
  first,  ///< take that of the input that comes first
  last,
};

struct Shaping {
  /// A part of an all-in-one checkpoint or of a pipeline, its prefix taken off: "vae", "diffusion_model", "clip_l",
  /// "clip_g", "t5xxl", or any prefix less its dot. Empty: all of it.
  std::string component = {};
  std::vector<std::string> select = {};          ///< patterns; a tensor comes in when one of them matches; none: all do
  std::vector<std::string> drop = {};            ///< patterns; a tensor that one of them matches stays out
  std::vector<std::string> strip_prefixes = {};  ///< the first that a name begins with is taken off
  std::vector<Rename> renames = {};              ///< one after the other
  std::string prefix = {};                       ///< goes in front of every name
  std::vector<Split> splits = {};
  std::vector<Concat> concats = {};
  Prefer prefer = Prefer::none;
  std::vector<std::uint32_t> prune_layers = {};  ///< blk.N.* of a language model; later layers move up
};

/// "PATTERN=REPLACEMENT", at the last '='. Throws Error(invalid_argument).
Rename parse_rename(std::string_view text);
/// "NAME=A,B,C". Throws Error(invalid_argument).
Concat parse_concat(std::string_view text);
/// "NAME=A,B,C" or "NAME=A:ROWS,B:ROWS". Throws Error(invalid_argument).
Split parse_split(std::string_view text);

}  // namespace headrace
