#include "format/torch/state_dict.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace headrace::format::torch {
namespace {

// Entries under which trainers and exporters keep weights.
constexpr std::array<std::string_view, 15> kWrappers = {
    "state_dict", "model_state_dict", "model",          "module",     "net",
    "network",    "weights",          "params",         "params_ema", "ema",
    "ema_model",  "model_ema",        "ema_state_dict", "g_ema",      "teacher"};

constexpr std::size_t kMostChoices = 12;
// What may be walked again because it is shared, beyond all there is.
constexpr std::uint64_t kMostRepeats = 1'000'000;

enum Mark : std::uint8_t { kUnknown, kOpen, kEmpty, kHolds };

struct Frame {
  Value container;
  std::size_t next = 0;  // item to look at
  bool holds = false;    // a tensor, as far as is known
};

}  // namespace

StateDict::StateDict(Values& values, Value root, std::string_view key, const std::string& file)
    : values_(values), file_(file) {
  if (!root.is_container() && !root.is(Kind::tensor)) {
    throw Error(ErrorCode::format, "the checkpoint holds no tensors",
                {.file = file_, .expected = "a state dict", .found = std::string(torch::name(root.kind()))});
  }
  mark_holders(root);
  root_ = key.empty() ? choose(root) : key == "." ? root : follow(root, key);
}

std::uint64_t StateDict::memory() const noexcept { return holders_.capacity() + name_.capacity(); }

StateDict::Entries StateDict::entries(Value value) const noexcept {
  if (!value.is_container()) return {{}, false};
  return {values_.items(value), value.is(Kind::dict)};
}

bool StateDict::holds(Value value) const noexcept {
  return value.is(Kind::tensor) || (value.is_container() && holders_[value.index()] == kHolds);
}

// Each container once, however often it is shared; a stack of our own, however deep they lie.
void StateDict::mark_holders(Value root) {
  values_.hold(Holder::names, values_.containers());
  holders_.resize(values_.containers());
  if (!root.is_container()) return;
  std::vector<Frame> frames{{root}};
  holders_[root.index()] = kOpen;
  while (!frames.empty()) {
    Frame& frame = frames.back();
    const std::span<const Value> items = values_.items(frame.container);
    if (frame.next == items.size()) {
      std::uint8_t& mark = holders_[frame.container.index()];
      mark = frame.holds ? kHolds : kEmpty;
      frames.pop_back();
      if (mark == kHolds && !frames.empty()) frames.back().holds = true;
      continue;
    }
    const Value item = items[frame.next++];
    if (holds(item)) frame.holds = true;
    if (!item.is_container()) continue;
    std::uint8_t& mark = holders_[item.index()];
    if (mark == kOpen) throw Error(ErrorCode::format, "an entry of the checkpoint holds itself", {.file = file_});
    if (mark != kUnknown) continue;
    if (frames.size() == frames.capacity()) {
      values_.hold(Holder::names, holders_.capacity() + 3 * frames.capacity() * sizeof(Frame));
    }
    mark = kOpen;
    frames.push_back({item});
  }
  values_.hold(Holder::names, memory());
}

// False, and nothing is appended, for a key that is neither a string nor an integer.
bool StateDict::append_key(Value key, std::string& name) const {
  if (key.is(Kind::text)) {
    name += values_.text(key);
  } else if (key.is(Kind::integer)) {
    name += std::to_string(key.number());
  } else {
    return false;
  }
  return true;
}

// The entry that is meant where none is named.
Value StateDict::choose(Value root) const {
  if (!root.is(Kind::dict)) return root;
  const Entries all = entries(root);
  Value wrapper(Kind::vacant), wrapper_key;
  std::size_t holding = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!holds(all.value(i))) continue;
    ++holding;
    const Value key = all.key(i);
    const bool known = key.is(Kind::text) && std::ranges::find(kWrappers, values_.text(key)) != kWrappers.end();
    if (!known || !all.value(i).is(Kind::dict) || !wrapper.is(Kind::vacant)) continue;
    wrapper = all.value(i);
    wrapper_key = key;
  }
  if (wrapper.is(Kind::vacant)) return root;
  if (holding == 1) return wrapper;
  throw Error(ErrorCode::invalid_argument, "several entries of the checkpoint hold tensors",
              {.file = file_,
               .expected = "one to be chosen",
               .found = choices(root),
               .hint = fmt::format("say --torch-key {}, for example, or --torch-key . for all of them",
                                   values_.text(wrapper_key))});
}

// What there is to choose from: "'model', 'optimizer'".
std::string StateDict::choices(Value container) const {
  std::string list;
  std::size_t n = 0;
  const Entries all = entries(container);
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::string key;
    if (!holds(all.value(i)) || !append_key(all.key(i), key)) continue;
    if (n == kMostChoices) return list + ", …";
    list += fmt::format("{}'{}'", n++ == 0 ? "" : ", ", printable(key, 60));
  }
  return n == 0 ? "nothing that holds tensors" : list;
}

// The entry of that key; vacant when there is none.
Value StateDict::child(Value container, std::string_view key) const {
  const Entries all = entries(container);
  Value found(Kind::vacant);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Value name = all.key(i);
    const bool same = name.is(Kind::text)      ? values_.text(name) == key
                      : name.is(Kind::integer) ? std::to_string(name.number()) == key
                                               : false;
    if (!same) continue;
    if (!found.is(Kind::vacant)) {
      throw Error(ErrorCode::format, fmt::format("the entry '{}' is there twice", printable(key)), {.file = file_});
    }
    found = all.value(i);
  }
  return found;
}

// Keys may contain dots themselves: the whole rest of the path is tried first, then its shortest beginning.
Value StateDict::follow(Value root, std::string_view path) {
  const std::string shown = printable(path);
  for (Value at = root;;) {
    Value next = child(at, path);
    std::size_t used = path.size();
    for (std::size_t dot = path.find('.'); next.is(Kind::vacant) && dot != path.npos; dot = path.find('.', dot + 1)) {
      next = child(at, path.substr(0, dot));
      used = dot;
    }
    if (next.is(Kind::vacant) || !holds(next)) {
      const std::string problem = next.is(Kind::vacant) ? fmt::format("the checkpoint has no entry '{}'", shown)
                                                        : fmt::format("the entry '{}' holds no tensors", shown);
      throw Error(ErrorCode::invalid_argument, problem,
                  {.file = file_, .expected = choices(at), .hint = "choose another --torch-key"});
    }
    at = next;
    if (next.is(Kind::tensor)) name_ = path;
    if (used == path.size()) return at;
    path.remove_prefix(used + 1);
  }
}

void StateDict::for_each(const Found& found) {
  if (root_.is(Kind::tensor)) return found(name_.empty() ? "tensor" : name_, values_.tensor(root_));
  visits_ = 0;
  if (holds(root_)) walk(root_, 0, found);
}

std::size_t StateDict::count() {
  std::size_t tensors = 0;
  for_each([&tensors](std::string_view, const RawTensor&) { ++tensors; });
  return tensors;
}

void StateDict::refuse_here(ErrorCode code, std::string problem, std::string expected, std::string found) const {
  throw Error(code, std::move(problem),
              {.file = file_, .tensor = printable(name_), .expected = std::move(expected), .found = std::move(found)});
}

void StateDict::walk(Value value, int depth, const Found& found) {
  if (value.is(Kind::tensor)) return found(name_, values_.tensor(value));
  if (depth == kMostDepth) {
    refuse_here(ErrorCode::format, "tensors are nested too deep", fmt::format("at most {} levels", kMostDepth));
  }
  if (value.is(Kind::set)) refuse_here(ErrorCode::unsupported, "a tensor in a set has no name");
  const Entries all = entries(value);
  visits_ += all.size();
  if (visits_ > values_.all_items() + kMostRepeats) {
    refuse_here(ErrorCode::format, "the checkpoint lists the same entries over and over");
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (holds(all.value(i))) walk_entry(all.key(i), all.value(i), depth, found);
  }
}

void StateDict::walk_entry(Value key, Value value, int depth, const Found& found) {
  const std::size_t parent = name_.size();
  const std::size_t longest = parent + 1 + (key.is(Kind::text) ? values_.text(key).size() : 24);
  if (longest > name_.capacity()) {
    values_.hold(Holder::names, memory() + 2 * longest);
    name_.reserve(2 * longest);
  }
  if (depth > 0) name_ += '.';
  if (!append_key(key, name_)) {
    refuse_here(ErrorCode::unsupported, "a tensor's key is neither a string nor an integer", {},
                std::string(torch::name(key.kind())));
  }
  walk(value, depth + 1, found);
  name_.resize(parent);
}

}  // namespace headrace::format::torch
