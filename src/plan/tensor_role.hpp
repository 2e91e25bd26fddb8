// What a tensor does in a language model, as its name has it.
#pragma once

#include <headrace/tensor.hpp>

#include <cstdint>
#include <optional>
#include <string_view>

namespace headrace::plan {

enum class Role : std::uint8_t {
  output,
  embedding,
  value,  ///< also what makes values together with queries or keys
  key,
  query,
  attention_output,
  up,
  gate,
  down,
  delicate,  ///< what some architectures have and llama-quantize makes Q8_0
  other,
};

/// By the names that GGUF has for tensors.
Role role_of(std::string_view name, std::string_view architecture) noexcept;

/// The N of "blk.N." at the very start of a name; nothing where there is none.
std::optional<std::uint32_t> layer_of(std::string_view name) noexcept;

/// True for the weights that llama-quantize may quantise: matrices and stacks of them that are called weight and
/// aren't among the small or delicate ones that it knows by name.
bool is_quantised(const TensorInfo& tensor, std::string_view architecture) noexcept;

}  // namespace headrace::plan
