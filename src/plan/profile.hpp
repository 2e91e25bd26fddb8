// Profiles: what one reader of weights wants, as a data file.
//
// A profile is JSON. src/plan/profiles holds the ones that the library carries; docs/profiles.md explains the fields.
#pragma once

#include <headrace/plan.hpp>
#include <headrace/rules.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headrace::plan {

/// A prefix that is taken off. The first that fits the names of a model counts.
struct ProfilePrefix {
  std::string text;
  bool of_all = false;  // fits when all names have it; else when some do, and those that don't are left out
};

/// One kind of model, known by the names of its tensors.
struct ProfileArchitecture {
  std::string name;                           // general.architecture
  std::vector<std::vector<std::string>> has;  // all names of one of these lists are there
  std::vector<std::string> has_not;           // and none of these, or it is the wrong layout
  std::string has_not_why;
  bool rearrange = false;   // rows that are no multiple of 256 become rows of 256 where the elements are
  std::vector<Rule> rules;  // before the profile's own
};

struct Profile {
  std::string name;
  std::vector<Format> from;  // inputs that it takes; empty: any
  std::string from_why;
  std::optional<Format> to;
  std::optional<std::size_t> longest_name;  // bytes
  std::vector<ProfilePrefix> prefixes;
  std::vector<MetadataOverride> metadata;  // of the output
  std::vector<DType> reads;                // floats and block types that its readers take; empty: any
  std::optional<DType> otherwise;          // of tensors that the output can't hold and nothing else is said about
  bool keep_uneven_rows = false;           // instead of falling back to a type whose blocks fit
  std::vector<Rule> rules;                 // in force after the user's and before every default
  std::string needs_architecture;          // why one must be recognised or given; empty: it needn't
  std::vector<ProfileArchitecture> architectures;  // the first that fits is the one

  /// Bytes held, about.
  std::size_t memory() const noexcept;
};

/// "comfyui", … of the profiles that the library carries.
std::vector<std::string> profile_names();

/// Reads a profile's text; `file`: as errors call it. Throws Error: format (naming the field), budget.
Profile parse_profile(std::string file, std::string_view text, std::uint64_t memory);

/// By name, or else by the path of a file. Throws Error: invalid_argument (neither), format (naming the field), io,
/// budget (it takes more than `memory` bytes).
Profile load_profile(const std::string& name_or_path, std::uint64_t memory);

}  // namespace headrace::plan
