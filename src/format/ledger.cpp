#include "format/ledger.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <iterator>

namespace headrace::format {

Ledger::Ledger(std::span<const TensorInfo> tensors) : tensors_(tensors), done_(tensors.size(), 0) {}

void Ledger::grow(std::span<const TensorInfo> tensors) {
  const std::lock_guard lock(mutex_);
  done_.resize(tensors.size(), 0);
  tensors_ = tensors;
}

void Ledger::claim(std::size_t tensor, std::uint64_t first, std::uint64_t bytes, const std::string& file) {
  const TensorInfo& info = tensors_[tensor];
  if (first > info.bytes || bytes > info.bytes - first) {
    throw Error(ErrorCode::invalid_argument, "a write runs past the tensor's end",
                {.file = file,
                 .tensor = printable(info.name),
                 .expected = std::to_string(info.bytes) + " bytes",
                 .found = std::to_string(first) + " + " + std::to_string(bytes)});
  }
  if (bytes == 0) return;
  const std::uint64_t end = first + bytes;

  const std::lock_guard lock(mutex_);
  std::uint64_t& done = done_[tensor];
  const auto entry = scattered_.find(tensor);
  bool twice = first < done;
  if (entry != scattered_.end()) {
    const auto next = entry->second.lower_bound(first);
    twice = twice || (next != entry->second.end() && next->first < end) ||
            (next != entry->second.begin() && std::prev(next)->second > first);
  }
  if (twice) {
    throw Error(ErrorCode::invalid_argument, "bytes of a tensor were written twice",
                {.file = file,
                 .tensor = printable(info.name),
                 .found = "bytes " + std::to_string(first) + " to " + std::to_string(end)});
  }
  if (first != done) {
    scattered_[tensor].emplace(first, end);
    return;
  }
  done = end;
  if (entry == scattered_.end()) return;
  Ranges& ranges = entry->second;
  while (!ranges.empty() && ranges.begin()->first == done) {
    done = ranges.begin()->second;
    ranges.erase(ranges.begin());
  }
  if (ranges.empty()) scattered_.erase(entry);
}

void Ledger::require_complete(const std::string& file) const {
  constexpr std::size_t kNamed = 5;
  const std::lock_guard lock(mutex_);
  std::string names;
  std::size_t missing = 0;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (done_[i] == tensors_[i].bytes) continue;
    if (++missing <= kNamed) {
      names += (names.empty() ? "'" : ", '") + std::string(tensors_[i].name) + "' (" + std::to_string(done_[i]) +
               " of " + std::to_string(tensors_[i].bytes) + " bytes)";
    }
  }
  if (missing == 0) return;
  if (missing > kNamed) names += " and " + std::to_string(missing - kNamed) + " more";
  throw Error(ErrorCode::invalid_argument, "tensors are incomplete: " + names, {.file = file});
}

}  // namespace headrace::format
