// What the calls and persistent ids of a pickle stand for: Unpickler's other half.
#include "base/checked.hpp"
#include "format/printable.hpp"
#include "format/torch/unpickler.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace headrace::format::torch {
namespace {

constexpr std::size_t kMostDimensions = 64;  // as PyTorch itself
constexpr std::size_t kMostMetadata = 16;    // entries, where torch has two

}  // namespace

Value Unpickler::call(Value function, Value arguments) {
  if (!function.is(Kind::global)) damaged("the pickle calls " + std::string(name(function.kind())));
  if (!arguments.is(Kind::tuple)) damaged("the pickle calls without a tuple of arguments");
  const Call call{values_.global(function), values_.items(arguments)};
  switch (call.global.role) {
    case Role::dict: return make_dict(call);
    case Role::set: return make_set(call);
    case Role::bytes: return Value(Kind::bytes);
    case Role::size: return make_size(call);
    case Role::tensor:
    case Role::tensor_v2:
    case Role::tensor_v3: return make_tensor(call);
    case Role::parameter: return make_parameter(call);
    case Role::from_type: return make_from_type(call);
    case Role::opaque: return Value(Kind::other);
    case Role::element:
    case Role::storage:
    case Role::tensor_class: break;
  }
  cursor_.fail(at_,
               fmt::format("the pickle calls {}.{}, which Headrace doesn't run", call.global.module, call.global.name),
               {}, {}, hint_for_global(call.global.module, call.global.name), ErrorCode::unsupported);
}

// Without arguments, or from pairs as Python 2 has it, or from a dict.
Value Unpickler::make_dict(const Call& call) {
  const bool has_factory = call.global.name == "defaultdict";
  const auto from = call.arguments.subspan(has_factory && !call.arguments.empty() ? 1 : 0);
  const Value dict = values_.make(Kind::dict, {});
  if (from.empty()) return dict;
  if (from.size() > 1 || !from[0].is_container()) damaged("the pickle makes a dict of something else");
  if (from[0].is(Kind::dict)) {
    values_.append(dict, values_.items(from[0]));
    return dict;
  }
  for (const Value pair : values_.items(from[0])) {
    if (!pair.is_container() || values_.items(pair).size() != 2) damaged("the pickle makes a dict of something else");
    values_.append(dict, values_.items(pair));
  }
  return dict;
}

Value Unpickler::make_set(const Call& call) {
  if (call.arguments.empty()) return values_.make(Kind::set, {});
  if (call.arguments.size() != 1 || !call.arguments[0].is_container()) {
    damaged("the pickle makes a set of something else");
  }
  return values_.make(Kind::set, values_.items(call.arguments[0]));
}

Value Unpickler::make_size(const Call& call) {
  if (call.arguments.empty()) return values_.make(Kind::tuple, {});
  if (call.arguments.size() != 1 || !call.arguments[0].is(Kind::tuple)) {
    damaged("the pickle makes a torch.Size of something else");
  }
  return call.arguments[0];
}

Value Unpickler::make_tensor(const Call& call) {
  const std::span<const Value> arguments = call.arguments;
  const std::size_t plain = call.global.role == Role::tensor ? 4 : call.global.role == Role::tensor_v2 ? 6 : 7;
  const std::size_t most = plain + (call.global.role == Role::tensor ? 0 : 1);
  if (arguments.size() < plain || arguments.size() > most) {
    damaged("the pickle makes a tensor with a wrong number of arguments", fmt::to_string(plain),
            fmt::to_string(arguments.size()));
  }
  if (!arguments[0].is(Kind::storage)) {
    damaged("the pickle makes a tensor without a storage", {}, std::string(name(arguments[0].kind())));
  }
  RawTensor tensor;
  tensor.at = at_;
  tensor.view = &values_.view(arguments[0]);
  tensor.element = tensor.view->element;
  tensor.offset = count(arguments[1], "a tensor's offset");
  read_dimensions(arguments[2], arguments[3], tensor);
  if (call.global.role == Role::tensor_v3) {
    const Value element = arguments[6];
    if (!element.is(Kind::global) || values_.global(element).role != Role::element) {
      damaged("the pickle makes a tensor without an element type");
    }
    tensor.element = values_.global(element).element;
  }
  if (arguments.size() > plain) read_metadata(arguments.back(), tensor);
  return values_.make_tensor(tensor);
}

// Says which operations torch has put off: the storage holds the numbers before them.
void Unpickler::read_metadata(Value metadata, RawTensor& tensor) {
  if (metadata.is(Kind::none)) return;
  if (!metadata.is(Kind::dict) || values_.items(metadata).size() > 2 * kMostMetadata) {
    damaged("a tensor's metadata is malformed");
  }
  const std::span<const Value> items = values_.items(metadata);
  for (std::size_t i = 0; i < items.size(); i += 2) {
    if (items[i + 1].is(Kind::boolean) && items[i + 1].number() == 0) continue;
    const std::string_view operation = items[i].is(Kind::text) ? values_.text(items[i]) : std::string_view();
    if (operation != "conj" && operation != "neg") {
      cursor_.fail(at_, "a tensor's metadata isn't known", "conj or neg", printable(operation), {},
                   ErrorCode::unsupported);
    }
    (operation == "conj" ? tensor.conjugated : tensor.negated) = true;
  }
}

// nn.Parameter and the functions that rebuild one: the tensor itself.
Value Unpickler::make_parameter(const Call& call) {
  if (call.arguments.empty() || !call.arguments[0].is(Kind::tensor)) {
    damaged("the pickle makes a parameter without a tensor");
  }
  return call.arguments[0];
}

// A tensor with attributes, or of a subclass: the tensor, where its class is torch's own.
Value Unpickler::make_from_type(const Call& outer) {
  const std::span<const Value> arguments = outer.arguments;
  const auto role = [&](std::size_t i) {
    return arguments[i].is(Kind::global) ? values_.global(arguments[i]).role : Role::opaque;
  };
  const bool complete = arguments.size() == 4 && (role(1) == Role::tensor_class || role(1) == Role::parameter);
  if (complete && arguments[2].is(Kind::tuple)) {
    switch (role(0)) {
      case Role::tensor:
      case Role::tensor_v2:
      case Role::tensor_v3:
      case Role::parameter: return call(arguments[0], arguments[2]);
      default: break;
    }
  }
  damaged("the pickle makes a tensor of a class in a way that isn't known");
}

std::uint64_t Unpickler::count(Value value, const char* what) {
  if (value.is(Kind::integer) && value.number() >= 0) return static_cast<std::uint64_t>(value.number());
  const bool too_large = value.is(Kind::large);
  cursor_.fail(at_, fmt::format("{} is {}", what, too_large ? "too large" : "no count"), "a whole number from 0 on",
               value.is(Kind::integer) ? fmt::to_string(value.number()) : std::string(name(value.kind())));
}

void Unpickler::read_dimensions(Value shape, Value strides, RawTensor& tensor) {
  std::array<std::uint64_t, 2 * kMostDimensions> numbers;
  std::size_t n = 0;
  for (const auto& [tuple, what] : {std::pair(shape, "a tensor's size"), std::pair(strides, "a tensor's stride")}) {
    if (!tuple.is(Kind::tuple) && !tuple.is(Kind::list)) {
      damaged(fmt::format("{} is no tuple", what), {}, std::string(name(tuple.kind())));
    }
    const std::span<const Value> items = values_.items(tuple);
    if (items.size() > kMostDimensions) {
      cursor_.fail(at_, fmt::format("{} is too long", what), fmt::format("at most {} dimensions", kMostDimensions),
                   fmt::to_string(items.size()));
    }
    for (const Value item : items) numbers[n++] = count(item, what);
  }
  tensor.rank = static_cast<std::uint32_t>(values_.items(shape).size());
  if (n != 2 * std::size_t{tensor.rank}) {
    damaged("a tensor's size and stride differ in length", fmt::to_string(tensor.rank),
            fmt::to_string(n - tensor.rank));
  }
  tensor.dimensions = values_.copy(std::span(numbers).first(n));
}

// ("storage", type, key, location, elements), and in the old format a view's metadata or None.
Value Unpickler::load_persistent(Value id) {
  const auto malformed = [this] { damaged("a persistent id of the pickle describes no storage"); };
  if (!id.is(Kind::tuple)) malformed();
  const std::span<const Value> parts = values_.items(id);
  if (parts.size() < 5 || parts.size() > 6 || !parts[0].is(Kind::text) || values_.text(parts[0]) != "storage" ||
      !parts[1].is(Kind::global) || !parts[2].is(Kind::text)) {
    malformed();
  }
  const Global& type = values_.global(parts[1]);
  if (type.role != Role::storage) malformed();
  const std::string_view key = values_.text(parts[2]);
  const auto bytes = base::checked_mul(count(parts[4], "a storage's size"), type.element->bytes);
  if (!bytes) cursor_.fail(at_, "a storage's size is too large");

  std::optional<std::size_t> found = values_.find_storage(key);
  if (!found) found = values_.add_storage({.key = key, .bytes = *bytes, .at = at_, .element = type.element});
  const Storage& storage = values_.storages()[*found];
  if (storage.bytes != *bytes) {
    cursor_.fail(at_, fmt::format("the storage '{}' has two sizes", printable(key)),
                 fmt::format("{} bytes", storage.bytes), fmt::to_string(*bytes));
  }
  const Value metadata = parts.size() == 6 ? parts[5] : Value(Kind::none);
  return values_.make_storage(view_of(static_cast<std::uint32_t>(*found), metadata, *type.element));
}

// `metadata`: None, or (the view's key, its first element, its elements).
StorageView Unpickler::view_of(std::uint32_t number, Value metadata, const Element& element) {
  const std::uint64_t all = values_.storages()[number].bytes;
  if (metadata.is(Kind::none)) return {.storage = number, .first_byte = 0, .bytes = all, .element = &element};
  if (!metadata.is(Kind::tuple) || values_.items(metadata).size() != 3) damaged("a view of a storage is malformed");
  const std::span<const Value> parts = values_.items(metadata);
  const auto first = base::checked_mul(count(parts[1], "a view's offset"), element.bytes);
  const auto bytes = base::checked_mul(count(parts[2], "a view's size"), element.bytes);
  const auto end = first && bytes ? base::checked_add(*first, *bytes) : std::nullopt;
  if (!end || *end > all) {
    cursor_.fail(at_, "a view goes past the end of its storage", fmt::format("at most {} bytes", all),
                 end ? fmt::to_string(*end) : "more than 64 bits hold");
  }
  return {.storage = number, .first_byte = *first, .bytes = *bytes, .element = &element};
}

}  // namespace headrace::format::torch
