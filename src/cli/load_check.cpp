#include "cli/load_check.hpp"

#include "cli/text.hpp"

#include <headrace/checkpoint.hpp>
#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace headrace::cli {
namespace {

constexpr std::uint64_t kLargestChunk = std::uint64_t{4} << 20;
constexpr std::chrono::milliseconds kTick{100};

using Tensors = std::unordered_set<const LoadedTensor*>;

/// Gives `out` the expected bytes from an offset on.
using Expected = std::function<void(std::uint64_t first, std::span<std::byte> out)>;

class Comparison {
 public:
  Comparison(const Weights& weights, const LoadOptions& options)
      : weights_(weights),
        options_(options),
        chunk_(std::clamp<std::uint64_t>(options.memory / 8, 4096, kLargestChunk)) {
    progress_.tensors_total = weights.size();
    for (const LoadedTensor& tensor : weights) progress_.bytes_total += tensor.bytes();
    expected_.resize(chunk_);
  }

  void compare(const LoadedTensor& tensor, const Expected& expected) {
    for (std::uint64_t at = 0; at < tensor.bytes(); at += chunk_) {
      options_.source.cancel.throw_if_cancelled();
      const auto right = std::span(expected_).first(std::min(chunk_, tensor.bytes() - at));
      expected(at, right);
      require_equal(tensor, at, right);
      progress_.bytes_done += right.size();
      tell(false);
    }
    ++progress_.tensors_done;
  }

  std::size_t finish() {
    tell(true);
    return progress_.tensors_done;
  }

 private:
  void require_equal(const LoadedTensor& tensor, std::uint64_t at, std::span<const std::byte> right) {
    const std::span<const std::byte> host = tensor.host_bytes();
    if (!host.empty()) require_equal(tensor, at, right, host.subspan(at, right.size()), "the host");
    if (tensor.on_host()) return;
    found_.resize(chunk_);
    const auto got = std::span(found_).first(right.size());
    tensor.buffer.device()->download(tensor.buffer, at, got);
    require_equal(tensor, at, right, got, tensor.buffer.device()->name());
  }

  void require_equal(const LoadedTensor& tensor, std::uint64_t at, std::span<const std::byte> right,
                     std::span<const std::byte> got, const std::string& where) const {
    if (std::memcmp(right.data(), got.data(), right.size()) == 0) return;
    const auto [wrong, found] = std::ranges::mismatch(right, got);
    const std::uint64_t byte = at + static_cast<std::uint64_t>(wrong - right.begin());
    throw Error(ErrorCode::io, fmt::format("what is on {} isn't what the source gives", where),
                {.file = weights_.location(),
                 .tensor = safe(tensor.name),
                 .expected = fmt::format("0x{:02x} at byte {} of the tensor", static_cast<unsigned>(*wrong), byte),
                 .found = fmt::format("0x{:02x}", static_cast<unsigned>(*found)),
                 .hint = "has the source changed meanwhile?"});
  }

  void tell(bool always) {
    const auto now = std::chrono::steady_clock::now();
    if (!options_.on_progress || (!always && now - told_ < kTick)) return;
    told_ = now;
    options_.on_progress(progress_);
  }

  const Weights& weights_;
  const LoadOptions& options_;
  const std::uint64_t chunk_;
  std::vector<std::byte> expected_, found_;
  Progress progress_;
  std::chrono::steady_clock::time_point told_{};
};

bool keeps_names(const Shaping& shaping) {
  return shaping.component.empty() && shaping.strip_prefixes.empty() && shaping.renames.empty() &&
         shaping.prefix.empty() && shaping.splits.empty() && shaping.concats.empty() && shaping.prune_layers.empty();
}

[[noreturn]] void say_missing(const Weights& weights, std::string_view name) {
  throw Error(ErrorCode::io, "the source gives another tensor of this name now, or none",
              {.file = weights.location(), .tensor = safe(name), .hint = "has the source changed meanwhile?"});
}

// Compares what is as the source has it; gives what isn't.
Tensors compare_as_it_is(Comparison& comparison, const Weights& weights, const std::string& source,
                         const LoadOptions& options) {
  Tensors others;
  const Checkpoint checkpoint = Checkpoint::open(source, {options.memory, options.source});
  const bool comparable = checkpoint.access() == Access::random && keeps_names(options.shaping);
  for (const LoadedTensor& tensor : weights) {
    const TensorInfo* info = comparable ? checkpoint.find(tensor.name) : nullptr;
    if (info == nullptr || info->dtype != tensor.dtype || info->bytes != tensor.bytes()) {
      others.insert(&tensor);
      continue;
    }
    comparison.compare(tensor,
                       [&](std::uint64_t first, std::span<std::byte> out) { checkpoint.read(*info, first, out); });
  }
  return others;
}

// Makes the tensors again, by other ways where there are some, and compares those that are among `others`.
void compare_made_again(Comparison& comparison, const Weights& weights, const std::string& source, Tensors others,
                        LoadOptions options) {
  options.stream_weights = true;
  options.keep_host_copy = false;
  options.host_reads = HostReads::cached;
  options.strict.reset();
  options.on_progress = {};
  options.on_tensor = {};
  WeightStream again = stream(source, "host", options);
  while (const auto tensor = again.next()) {
    const LoadedTensor* loaded = weights.find(tensor->name);
    if (loaded == nullptr || loaded->dtype != tensor->dtype || loaded->shape != tensor->shape ||
        loaded->bytes() != tensor->bytes())
      say_missing(weights, tensor->name);
    if (others.erase(loaded) == 0) continue;
    comparison.compare(*loaded, [&](std::uint64_t first, std::span<std::byte> out) {
      std::ranges::copy(tensor->host_bytes().subspan(first, out.size()), out.begin());
    });
  }
  if (!others.empty()) say_missing(weights, (*others.begin())->name);
}

}  // namespace

std::size_t compare_with_source(const Weights& weights, const std::string& source, const LoadOptions& options) {
  Comparison comparison(weights, options);
  Tensors others = compare_as_it_is(comparison, weights, source, options);
  if (!others.empty()) compare_made_again(comparison, weights, source, std::move(others), options);
  return comparison.finish();
}

}  // namespace headrace::cli
