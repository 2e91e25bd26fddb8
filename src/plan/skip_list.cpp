#include "plan/skip_list.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace headrace::plan {
namespace {

constexpr std::array<std::string_view, 3> kEndings = {".bias", ".scale", ".weight_scale"};

constexpr std::array<std::string_view, 14> kParts = {
    "img_in.",     "txt_in.",     "time_in.",    "vector_in.", "guidance_in.",      "final_layer.",  // Flux
    "x_embedder.", "t_embedder.", "y_embedder.", "pos_embed",  "context_embedder.",                  // MMDiT
    "time_embed.", "label_emb.",                                                                     // UNet
    "embedding",
};

bool sdcpp_skips(const TensorInfo& tensor, DType to) noexcept {
  const std::string_view name = tensor.name;
  return (is_block(to) && tensor.row_elements() % info(to).block_elements != 0) ||
         std::ranges::any_of(kEndings, [&](std::string_view ending) { return name.ends_with(ending); }) ||
         std::ranges::any_of(kParts, [&](std::string_view part) { return name.find(part) != name.npos; });
}

}  // namespace

bool skips(SkipList list, const TensorInfo& tensor, DType to) noexcept {
  switch (list) {
    case SkipList::none: return false;
    case SkipList::sdcpp: return sdcpp_skips(tensor, to);
  }
  return false;
}

}  // namespace headrace::plan
