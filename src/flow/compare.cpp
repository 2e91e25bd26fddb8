#include "flow/compare.hpp"

#include "flow/crew.hpp"
#include "flow/difference.hpp"
#include "flow/tensor_reader.hpp"
#include "plan/shapes.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace headrace::flow {
namespace {

// Pieces are cut by elements, not by memory, so that sums are added in one order whatever the budget is.
constexpr std::uint64_t kPieceElements = std::uint64_t{1} << 17;
constexpr std::uint64_t kPieceBytes = std::uint64_t{512} << 10;

// Two runs of bytes to be held against each other.
struct Pair {
  std::uint64_t number = 0;
  std::size_t task = 0;
  std::uint64_t first = 0, count = 0;  // bytes or elements of the task
};

// A list of tasks, each `sizes[i]` long, cut into pairs of at most `most`.
class PairQueue {
 public:
  PairQueue(std::vector<std::uint64_t> sizes, std::uint64_t most) : sizes_(std::move(sizes)), most_(most) {}

  std::optional<Pair> next() {
    const std::lock_guard lock(mutex_);
    while (!stopped_ && task_ < sizes_.size() && first_ == sizes_[task_]) {
      ++task_;
      first_ = 0;
    }
    if (stopped_ || task_ == sizes_.size()) return std::nullopt;
    const Pair pair{number_++, task_, first_, std::min(most_, sizes_[task_] - first_)};
    first_ += pair.count;
    return pair;
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }

  /// No more pairs of the task being handed out, if it is `task`: one difference is enough.
  void skip(std::size_t task) {
    const std::lock_guard lock(mutex_);
    if (task == task_ && task_ < sizes_.size()) first_ = sizes_[task_];
  }

 private:
  std::mutex mutex_;
  std::vector<std::uint64_t> sizes_;
  const std::uint64_t most_;
  std::size_t task_ = 0;
  std::uint64_t first_ = 0, number_ = 0;
  bool stopped_ = false;
};

// True when one file holds all that the tensors are: equal files are equal checkpoints then.
bool says_everything(const Checkpoint::Impl& side) {
  const Format format = side.header.format;
  return side.files.size() == 1 && side.files.front()->file() &&
         (format == Format::safetensors || format == Format::gguf || format == Format::numpy);
}

// One comparison, from headers to figures.
class Comparison {
 public:
  Comparison(const Checkpoint::Impl& first, const Checkpoint::Impl& second, const VerifyOptions& options,
             const ProgressCallback& on_progress, const CancelToken& cancel)
      : a_(first),
        b_(second),
        threads_(base::worker_count(options.threads)),
        gate_(options.memory),
        on_progress_(on_progress),
        cancel_(cancel) {
    const std::size_t rows = a_.header.tensors.tensors().size() + b_.header.tensors.tensors().size();
    gate_.charge(a_.memory() + b_.memory() + rows * (sizeof(TensorComparison) + sizeof(Both)),
                 "the index of " + a_.location + " and " + b_.location);
  }

  VerifyReport run() {
    match_tensors();
    report_.metadata_identical = same_metadata();
    const auto wake = cancel_.on_cancel([&] {
      for (const Checkpoint::Impl* side : {&a_, &b_}) {
        for (const auto& file : side->files) file->interrupt();
      }
    });
    if (says_everything(a_) && says_everything(b_)) report_.files_identical = equal_files();
    if (!report_.files_identical) {
      find_identical();
      measure();
    }
    a_.finish();
    b_.finish();
    return std::move(report_);
  }

 private:
  using Read = std::function<void(std::size_t task, std::uint64_t first, std::span<std::byte> out)>;
  // A tensor on both sides, and its row in the report.
  struct Both {
    const TensorInfo *a, *b;
    std::size_t row;
  };

  static std::uint64_t parts_of(const Both& both) { return (both.a->elements + kPieceElements - 1) / kPieceElements; }
  void match_tensors();
  bool same_metadata() const;
  bool equal_files();
  std::vector<char> equal_bytes(std::vector<std::uint64_t> sizes, const Read& read_a, const Read& read_b);
  void find_identical();
  void measure();
  template <typename Work>
  void work_through(PairQueue& queue, std::uint64_t total, const Work& work);

  const Checkpoint::Impl& a_;
  const Checkpoint::Impl& b_;
  const unsigned threads_;
  base::Gate gate_;
  const ProgressCallback& on_progress_;
  const CancelToken& cancel_;
  VerifyReport report_;
  std::vector<Both> both_;
};

void Comparison::match_tensors() {
  const plan::RecordedShapes a_shapes(a_.header), b_shapes(b_.header);
  const auto a_tensors = a_.header.tensors.tensors(), b_tensors = b_.header.tensors.tensors();
  for (std::size_t i = 0; i < a_tensors.size(); ++i) {
    const TensorInfo& a = a_tensors[i];
    TensorComparison row{std::string(a.name), Match::only_in_first, a.dtype, a.dtype, a.elements, 0, 0};
    if (const auto at = b_.header.tensors.find(a.name)) {
      const TensorInfo& b = b_tensors[*at];
      row.second = b.dtype;
      const bool same_type = a.dtype == b.dtype;
      if (!std::ranges::equal(a_shapes.of(i), b_shapes.of(*at))) {
        row.match = Match::shape_differs;
      } else if (!same_type && !comparable(a.dtype, b.dtype)) {
        row.match = Match::type_differs;
      } else {
        row.match = Match::identical;
        both_.push_back({&a, &b, report_.tensors.size()});
      }
    }
    report_.tensors.push_back(std::move(row));
  }
  for (const TensorInfo& b : b_tensors) {
    if (a_.header.tensors.find(b.name)) continue;
    report_.tensors.push_back({std::string(b.name), Match::only_in_second, b.dtype, b.dtype, b.elements, 0, 0});
  }
}

bool Comparison::same_metadata() const {
  const Metadata &a = a_.header.metadata, &b = b_.header.metadata;
  if (a.size() != b.size()) return false;
  std::unordered_map<std::string_view, std::size_t> index;
  for (std::size_t i = 0; i < b.size(); ++i) index.emplace(b.key(i), i);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto at = index.find(a.key(i));
    if (at == index.end()) return false;
    const MetadataValue mine = a.value(i), theirs = b.value(at->second);
    if (mine.type() != theirs.type() || !std::ranges::equal(mine.bytes(), theirs.bytes())) return false;
  }
  return true;
}

template <typename Work>
void Comparison::work_through(PairQueue& queue, std::uint64_t total, const Work& work) {
  std::atomic<std::uint64_t> done{0};
  const auto report = [&] {
    if (on_progress_) on_progress_({.bytes_done = done, .bytes_total = total});
  };
  run_crew(
      queue, [&](const Pair& pair) { done += work(pair); }, threads_, gate_, cancel_, report);
  done = total;
  report();
}

bool Comparison::equal_files() {
  const io::ByteSource &a = *a_.files.front(), &b = *b_.files.front();
  if (a.size() != b.size()) return false;
  const auto read = [](const io::ByteSource& file) {
    return [&file](std::size_t, std::uint64_t first, std::span<std::byte> out) { file.read_at(first, out); };
  };
  return equal_bytes({a.size()}, read(a), read(b)).front() != 0;
}

// Which of these runs of bytes, each `sizes[i]` long, are the same on both sides.
std::vector<char> Comparison::equal_bytes(std::vector<std::uint64_t> sizes, const Read& read_a, const Read& read_b) {
  const std::uint64_t total = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  std::vector<std::atomic<char>> equal(sizes.size());
  PairQueue queue(std::move(sizes), kPieceBytes);
  for (auto& flag : equal) flag = 1;
  work_through(queue, total, [&](const Pair& pair) {
    const base::Gate::Slab slab = gate_.acquire(2 * pair.count);
    const auto a = slab.bytes().first(pair.count), b = slab.bytes().subspan(pair.count, pair.count);
    read_a(pair.task, pair.first, a);
    read_b(pair.task, pair.first, b);
    if (std::memcmp(a.data(), b.data(), pair.count) != 0) {
      equal[pair.task] = 0;
      queue.skip(pair.task);
    }
    return pair.count;
  });
  return {equal.begin(), equal.end()};
}

// Tensors of one type may be equal byte for byte; those that are not go on to measure().
void Comparison::find_identical() {
  std::vector<std::uint64_t> sizes;
  std::vector<Both> candidates, rest;
  for (const Both& both : both_) {
    if (both.a->dtype == both.b->dtype && both.a->bytes != both.b->bytes) {
      report_.tensors[both.row].match = Match::bytes_differ;  // texts
    } else if (both.a->dtype == both.b->dtype) {
      sizes.push_back(both.a->bytes);
      candidates.push_back(both);
    } else {
      rest.push_back(both);
    }
  }
  const std::vector<char> equal = equal_bytes(
      std::move(sizes),
      [&](std::size_t task, std::uint64_t first, std::span<std::byte> out) {
        read_tensor(a_, *candidates[task].a, first, out);
      },
      [&](std::size_t task, std::uint64_t first, std::span<std::byte> out) {
        read_tensor(b_, *candidates[task].b, first, out);
      });
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (equal[i]) continue;
    if (comparable(candidates[i].a->dtype, candidates[i].b->dtype)) {
      rest.push_back(candidates[i]);
    } else {
      report_.tensors[candidates[i].row].match = Match::bytes_differ;
    }
  }
  both_ = std::move(rest);
}

void Comparison::measure() {
  std::vector<std::uint64_t> sizes;
  std::uint64_t total = 0, parts_count = 0;
  for (const Both& both : both_) {
    sizes.push_back(both.a->elements);
    parts_count += parts_of(both);
    total += both.a->bytes + both.b->bytes;
  }
  gate_.charge(parts_count * sizeof(Difference), "the sums of the comparison with " + b_.location);
  std::vector<std::vector<Difference>> parts(both_.size());
  for (std::size_t i = 0; i < both_.size(); ++i) parts[i].resize(parts_of(both_[i]));
  PairQueue queue(std::move(sizes), kPieceElements);
  work_through(queue, total, [&](const Pair& pair) {
    const TensorInfo &a = *both_[pair.task].a, &b = *both_[pair.task].b;
    const std::size_t a_bytes = *bytes_of(a.dtype, pair.count), b_bytes = *bytes_of(b.dtype, pair.count);
    const base::Gate::Slab slab = gate_.acquire(a_bytes + b_bytes);
    const auto a_part = slab.bytes().first(a_bytes), b_part = slab.bytes().subspan(a_bytes, b_bytes);
    read_tensor(a_, a, *bytes_of(a.dtype, pair.first), a_part);
    read_tensor(b_, b, *bytes_of(b.dtype, pair.first), b_part);
    parts[pair.task][pair.first / kPieceElements] =
        difference(a.dtype, a_part.data(), b.dtype, b_part.data(), pair.count);
    return a_bytes + b_bytes;
  });
  for (std::size_t i = 0; i < both_.size(); ++i) {
    Difference sum;
    for (const Difference& part : parts[i]) sum.add(part);
    TensorComparison& row = report_.tensors[both_[i].row];
    row.match = Match::compared;
    row.max_error = sum.largest;
    row.relative_rmse = sum.relative_rmse();
  }
}

}  // namespace

VerifyReport compare(const Checkpoint::Impl& first, const Checkpoint::Impl& second, const VerifyOptions& options,
                     const ProgressCallback& on_progress, const CancelToken& cancel) {
  for (const Checkpoint::Impl* side : {&first, &second}) {
    if (!side->forward_only()) continue;
    throw Error(ErrorCode::unsupported, "a stream can't be compared: its bytes are wanted more than once",
                {.file = side->location, .hint = "save it to a file first, and give that"});
  }
  return Comparison(first, second, options, on_progress, cancel).run();
}

}  // namespace headrace::flow
