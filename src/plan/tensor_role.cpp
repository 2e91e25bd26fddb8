#include "plan/tensor_role.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>

namespace headrace::plan {
namespace {

struct Part {
  std::string_view text;  // anywhere in the name
  Role role;
  std::string_view architecture = {};  // of this alone
};

// The first that is found decides.
constexpr auto kParts = std::to_array<Part>({
    {"attn_q_a", Role::delicate, "glm5-next"},
    {"attn_q_b", Role::delicate, "glm5-next"},
    {"nextn.eh_proj", Role::delicate, "glm5-next"},
    {"attn_qkv.weight", Role::value},
    {"attn_kv_b.weight", Role::value},
    {"attn_v.weight", Role::value},
    {"attn_k.weight", Role::key},
    {"attn_q.weight", Role::query},
    {"attn_output.weight", Role::attention_output},
    {"ffn_up", Role::up},
    {"ffn_gate", Role::gate},
    {"ffn_latent", Role::delicate, "muse-spark"},
    {"attn_gate.weight", Role::delicate, "muse-spark"},
    {"ffn_down", Role::down},
});

constexpr std::array<std::string_view, 2> kLeftAlone = {"position_embd.weight", "token_types.weight"};

constexpr std::array kLeftAloneParts = std::to_array<std::string_view>({
    "_norm.weight",
    "attn_rel_b.weight",
    // routers and other small helpers
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    // convolutions and RWKV
    "ssm_conv1d",
    "shortconv.conv.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    // what sees and hears
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
});

struct LeftAlone {
  std::string_view architecture, part;
};

constexpr auto kLeftAloneOf = std::to_array<LeftAlone>({
    {"glm5-next", "hc_"},
    {"glm5-next", "indexer.attn_q_b"},
    {"glm5-next", "indexer.attn_k"},
    {"glm5-next", "indexer.proj"},
    {"glm5-next", "indexer_compressor_gate"},
    {"glm5-next", "indexer_compressor_ape"},
    {"glm5-next", "ssm_f_a.weight"},
    {"glm5-next", "ssm_f_b.weight"},
    {"glm5-next", "ssm_g_a.weight"},
    {"glm5-next", "ssm_g_b.weight"},
    {"glm5-next", "ssm_beta.weight"},
    {"glm5-next", "attn_kv_a_mqa.weight"},
    {"glm5-next", "attn_k_b.weight"},
    {"glm5-next", "attn_v_b.weight"},
});

bool holds(std::string_view name, std::string_view part) noexcept { return name.find(part) != name.npos; }

// Outer dimensions of 1 don't count.
bool is_matrix(Shape shape) noexcept {
  return shape.size() > 1 && std::any_of(shape.begin(), shape.end() - 1, [](std::uint64_t size) { return size > 1; });
}

}  // namespace

Role role_of(std::string_view name, std::string_view architecture) noexcept {
  if (name == "output.weight") return Role::output;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") return Role::embedding;
  const auto* part = std::ranges::find_if(kParts, [&](const Part& row) {
    return holds(name, row.text) && (row.architecture.empty() || row.architecture == architecture);
  });
  return part == kParts.end() ? Role::other : part->role;
}

std::optional<std::uint32_t> layer_of(std::string_view name) noexcept {
  constexpr std::string_view kStart = "blk.";
  if (!name.starts_with(kStart)) return std::nullopt;
  std::uint32_t layer = 0;
  const char* end = name.data() + name.size();
  const auto [at, error] = std::from_chars(name.data() + kStart.size(), end, layer);
  if (error != std::errc() || at == end || *at != '.') return std::nullopt;
  return layer;
}

bool is_quantised(const TensorInfo& tensor, std::string_view architecture) noexcept {
  const std::string_view name = tensor.name;
  if (!is_matrix(tensor.shape) || !name.ends_with("weight") || std::ranges::count(kLeftAlone, name) > 0) return false;
  if (architecture == "vllm-decision2" && name.starts_with("decision.")) return false;
  return std::ranges::none_of(kLeftAloneParts, [&](std::string_view part) { return holds(name, part); }) &&
         std::ranges::none_of(kLeftAloneOf, [&](const LeftAlone& row) {
           return row.architecture == architecture && holds(name, row.part);
         });
}

}  // namespace headrace::plan
