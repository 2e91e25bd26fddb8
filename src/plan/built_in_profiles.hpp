// The texts of src/plan/profiles, in the library. The build makes the source file from them.
#pragma once

#include <span>
#include <string_view>

namespace headrace::plan {

struct BuiltInProfile {
  std::string_view name;  // of the file, without ".json"
  std::string_view text;
};

std::span<const BuiltInProfile> built_in_profiles() noexcept;

}  // namespace headrace::plan
