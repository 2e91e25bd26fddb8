// Components: the parts of an all-in-one file, and where their tensors go.
// Thread-safety: constant data.
#pragma once

#include <span>
#include <string_view>

namespace headrace {

/// Names, prefixes and order are stable-diffusion.cpp's.
struct ComponentInfo {
  std::string_view name;    ///< "clip_l", "vae", …
  std::string_view prefix;  ///< for Input::prefix: "vae."
};

/// In the order in which their tensors come in the file.
std::span<const ComponentInfo> all_components() noexcept;

}  // namespace headrace
