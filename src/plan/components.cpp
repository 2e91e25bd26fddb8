#include <headrace/components.hpp>

#include <array>

namespace headrace {

std::span<const ComponentInfo> all_components() noexcept {
  static constexpr std::array<ComponentInfo, 5> kComponents = {{
      {"clip_l", "text_encoders.clip_l.transformer."},
      {"clip_g", "text_encoders.clip_g.transformer."},
      {"t5xxl", "text_encoders.t5xxl.transformer."},
      {"diffusion_model", "model.diffusion_model."},
      {"vae", "vae."},
  }};
  return kComponents;
}

}  // namespace headrace
