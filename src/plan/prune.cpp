#include "plan/prune.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace headrace::plan {
namespace {

// The digits of a layer's number in a name.
struct LayerNumber {
  std::size_t at, size;
  std::uint32_t layer;
};

std::optional<LayerNumber> first_layer(std::string_view name) {
  constexpr std::string_view kStart = "blk.";
  for (std::size_t at = name.find(kStart); at != name.npos; at = name.find(kStart, at)) {
    at += kStart.size();
    std::uint32_t layer = 0;
    const char* end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + at, end, layer);
    if (error == std::errc() && stop != end && *stop == '.')
      return LayerNumber{at, static_cast<std::size_t>(stop - name.data()) - at, layer};
  }
  return std::nullopt;
}

}  // namespace

LayerPruning::LayerPruning(std::vector<std::uint32_t> layers, std::uint32_t block_count) : layers_(std::move(layers)) {
  std::ranges::sort(layers_);
  layers_.erase(std::unique(layers_.begin(), layers_.end()), layers_.end());
  if (!layers_.empty() && layers_.back() >= block_count) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("layer {} can't be left out: the model has {}", layers_.back(), block_count),
                {.hint = "layers are numbered from 0"});
  }
  kept_ = block_count - static_cast<std::uint32_t>(layers_.size());
  if (!layers_.empty() && kept_ == 0)
    throw Error(ErrorCode::invalid_argument, fmt::format("no layer would be left of {}", block_count));
}

std::optional<std::string> LayerPruning::renamed(std::string_view name) const {
  const auto number = first_layer(name);
  if (!number) return std::string(name);
  const auto after = std::ranges::lower_bound(layers_, number->layer);
  if (after != layers_.end() && *after == number->layer) return std::nullopt;
  const auto gone = static_cast<std::uint32_t>(after - layers_.begin());
  if (gone == 0) return std::string(name);
  return fmt::format("{}{}{}", name.substr(0, number->at), number->layer - gone,
                     name.substr(number->at + number->size));
}

std::string LayerPruning::name_before(std::string_view name) const {
  const auto number = first_layer(name);
  if (!number) return std::string(name);
  std::uint32_t layer = number->layer;
  for (const std::uint32_t gone : layers_) layer += gone <= layer ? 1 : 0;
  return fmt::format("{}{}{}", name.substr(0, number->at), layer, name.substr(number->at + number->size));
}

}  // namespace headrace::plan
