// The classes and functions that a checkpoint's pickle may ask for.
// Source: what torch.load(weights_only=True) allows by itself (torch/_weights_only_unpickler.py), less what Headrace
// can't hold, plus a few names that carry settings of trainers.
#pragma once

#include <headrace/dtype.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace headrace::format::torch {

/// An element type of PyTorch, those included that Headrace can't hold.
struct Element {
  std::string_view name;  // "float32"
  std::uint16_t bytes;    // of one
  std::optional<DType> dtype;
};

/// What a global stands for here. Nothing is ever called: a call in the pickle makes a value of this list.
enum class Role : std::uint8_t {
  dict,  ///< OrderedDict and its like
  set,
  bytes,      ///< bytearray, or a text turned into bytes
  size,       ///< torch.Size: a tuple
  element,    ///< torch.float32, …
  storage,    ///< torch.FloatStorage, …
  tensor,     ///< _rebuild_tensor: storage, offset, size, stride
  tensor_v2,  ///< and requires_grad, hooks, maybe metadata
  tensor_v3,  ///< and requires_grad, hooks, element, maybe metadata
  parameter,  ///< its first argument is a tensor; what follows says how it is trained
  from_type,  ///< _rebuild_from_type_v2: function, class, arguments, attributes
  tensor_class,
  opaque,  ///< of no use here, whatever is done with it
};

struct Global {
  std::string_view module, name;
  Role role;
  const Element* element = nullptr;  // for element and storage
};

/// Every global there is, in no order.
std::span<const Global> globals() noexcept;

/// Null for a global that isn't allowed.
const Global* find_global(std::string_view module, std::string_view name) noexcept;

/// What a person can do about a global that isn't allowed.
std::string hint_for_global(std::string_view module, std::string_view name);

}  // namespace headrace::format::torch
