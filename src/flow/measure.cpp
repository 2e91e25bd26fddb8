#include "flow/measure.hpp"

#include "flow/convert.hpp"
#include "flow/crew.hpp"
#include "flow/long_rows.hpp"
#include "flow/material_reader.hpp"
#include "flow/read_slots.hpp"
#include "flow/transcode.hpp"
#include "flow/trial.hpp"
#include "plan/ladder.hpp"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace headrace::flow {
namespace {

constexpr std::uint64_t kMostElements = std::uint64_t{1} << 17;  // of a piece
constexpr std::uint64_t kMostBytesEach = 16;                     // of an element: read, made, and its weight

// Small enough for two pieces a worker. How a tensor is cut doesn't matter to sums that are exact.
std::uint64_t piece_elements(std::uint64_t available, unsigned threads) {
  const std::uint64_t share = available / 2 / std::max(threads, 1U) / kMostBytesEach;
  return std::clamp(share / kErrorTile * kErrorTile, std::uint64_t{kErrorTile}, kMostElements);
}

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// What is still to be found out about a tensor.
struct Task {
  std::uint32_t tensor;   // in the plan
  std::size_t first = 0;  // of the ladder
  bool again = false;     // `first` was not settled by the last round
};

// A run of a tensor, and the trial that it belongs to.
struct Part {
  std::uint64_t number;
  std::uint32_t tensor;
  std::uint64_t first, elements;
  std::shared_ptr<Trial> trial;
};

plan::Ladder ladder_of(const Plan::Impl& plan, std::uint32_t tensor) {
  TensorInfo source = plan.tensors[tensor];
  source.dtype = plan.at(plan.first_of(tensor)).dtype;
  return plan::ladder_of(source, plan.rule_of(tensor)->action, plan.file_format());
}

// Hands out the parts of all tasks; a trial lives as long as parts of its tensor are under way.
class PartQueue {
 public:
  PartQueue(const Plan::Impl& plan, const std::vector<Task>& tasks, std::uint64_t piece)
      : plan_(plan), tasks_(tasks), piece_(piece) {}

  std::optional<Part> next() {
    const std::lock_guard lock(mutex_);
    if (stopped_ || task_ == tasks_.size()) return std::nullopt;
    const Task& task = tasks_[task_];
    const std::uint64_t elements = plan_.tensors[task.tensor].elements;
    if (!trial_) {
      plan::Ladder ladder = ladder_of(plan_, task.tensor);
      const std::size_t sure = task.again ? task.first : ladder.types.size();
      trial_ = std::make_shared<Trial>(std::move(ladder.types), plan_.rule_of(task.tensor)->action.limit, elements,
                                       task.first, sure);
    }
    Part part{number_++, task.tensor, first_, std::min(piece_, elements - first_), trial_};
    first_ += part.elements;
    if (first_ == elements) {
      ++task_;
      first_ = 0;
      trial_.reset();
    }
    return part;
  }

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }

 private:
  const Plan::Impl& plan_;
  const std::vector<Task>& tasks_;
  const std::uint64_t piece_;  // elements
  std::mutex mutex_;
  std::size_t task_ = 0;
  std::uint64_t first_ = 0, number_ = 0;
  std::shared_ptr<Trial> trial_;
  bool stopped_ = false;
};

// One call of measure().
class Measuring {
 public:
  Measuring(const Plan::Impl& plan, const ProgressCallback& on_progress, const CancelToken& cancel)
      : plan_(plan),
        on_progress_(on_progress),
        cancel_(cancel),
        gate_(plan.options.memory),
        slots_(reads_at_once(plan)),
        reader_(plan),
        long_rows_(plan, reader_, gate_) {
    for (const plan::Source& source : plan.sources) gate_.charge(source->memory(), "the index of " + source->location);
    gate_.charge(plan.memory(), "the plan for " + plan.output.string());
    gate_.charge(MaterialReader::memory_of_scales(plan), "the scales of 8-bit floats");
  }

  plan::Measured run() {
    const auto wake = cancel_.on_cancel([&] {
      for (const plan::Source& source : plan_.sources) {
        for (const auto& file : source->files) file->interrupt();
      }
    });
    std::vector<Task> tasks;
    for (const std::uint32_t tensor : plan_.unmeasured) {
      if (plan_.tensors[tensor].elements == 0) {
        found_[std::string(plan_.tensors[tensor].name)] = ladder_of(plan_, tensor).types.front();
      } else {
        tasks.push_back({tensor});
      }
    }
    while (!tasks.empty()) tasks = run_round(tasks);
    return std::move(found_);
  }

 private:
  // Tries all tasks; those that it doesn't settle.
  std::vector<Task> run_round(const std::vector<Task>& tasks) {
    std::uint64_t total = 0;
    for (const Task& task : tasks) total += plan_.bytes_in_inputs(task.tensor);
    std::atomic<std::uint64_t> done{0};
    const auto report = [&] {
      if (on_progress_) on_progress_({.bytes_done = done, .bytes_total = total});
    };
    open_.clear();
    const unsigned threads = worker_count(plan_);
    PartQueue queue(plan_, tasks, piece_elements(gate_.available(), threads));
    run_crew(
        queue,
        [&](const Part& part) {
          try_all(part);
          done += plan_.bytes_in_inputs(part.tensor, part.elements);
        },
        threads, gate_, cancel_, report);
    done = total;
    report();
    std::ranges::sort(open_, {}, &Task::tensor);
    return open_;
  }

  void try_all(const Part& part) {
    const DType from = plan_.source_of(part.tensor).dtype;
    Trial& trial = *part.trial;
    std::size_t out_bytes = 0;
    bool squares = false;
    for (std::size_t i = 0; i < trial.size(); ++i) {
      out_bytes = std::max(out_bytes, static_cast<std::size_t>(*bytes_of(trial.type(i), part.elements)));
      squares = squares || needs_row_squares(plan_, part.tensor, trial.type(i));
    }
    const EdgeRows edges = squares ? edge_rows(part) : EdgeRows{};
    const std::size_t in_bytes = static_cast<std::size_t>(*bytes_of(from, part.elements));
    const std::size_t scratch_bytes = PieceWeights::scratch_bytes(plan_, part.tensor);
    const base::Gate::Slab slab = gate_.acquire(aligned(in_bytes) + aligned(out_bytes) + scratch_bytes);
    const auto in = slab.bytes().first(in_bytes);
    const auto out = slab.bytes().subspan(aligned(in_bytes), out_bytes);
    const auto scratch = slab.bytes().subspan(aligned(in_bytes) + aligned(out_bytes), scratch_bytes);
    slots_.run(part.number, [&] { reader_.read(part.tensor, *bytes_of(from, part.first), in); });

    const Run run{part.tensor, part.first, part.elements, in};
    std::optional<PieceErrors> any;
    const auto try_one = [&](std::size_t i) {
      if (transcode(plan_, run, trial.type(i), edges, scratch, out)) return trial.fail(i);
      PieceErrors errors;
      measure_run(from, in.data(), trial.type(i), out.data(), static_cast<std::size_t>(part.elements), errors);
      trial.add(i, errors, part.elements);
      if (!any) any = errors;
    };
    for (std::size_t i = trial.next(0); i < trial.size(); i = trial.next(i + 1)) try_one(i);
    if (!any) {  // what the numbers themselves are is wanted all the same
      PieceErrors errors;
      measure_run(from, in.data(), from, in.data(), static_cast<std::size_t>(part.elements), errors);
      any = errors;
    }
    if (trial.complete(*any, part.elements)) settle(part.tensor, trial);
  }

  EdgeRows edge_rows(const Part& part) {
    const std::uint64_t row = plan_.tensors[part.tensor].row_elements(), end = part.first + part.elements;
    EdgeRows edges;
    if (part.first % row != 0) edges.first = long_rows_.mean_square(part.tensor, part.first / row);
    if (end % row != 0) edges.last = long_rows_.mean_square(part.tensor, end / row);
    return edges;
  }

  void settle(std::uint32_t tensor, const Trial& trial) {
    std::size_t open = 0;
    const auto settled = trial.settled(open);
    const std::lock_guard lock(mutex_);
    if (!settled) {
      open_.push_back({tensor, open, true});
    } else {
      found_[std::string(plan_.tensors[tensor].name)] =
          *settled < trial.size() ? trial.type(*settled) : ladder_of(plan_, tensor).ceiling;
    }
  }

  const Plan::Impl& plan_;
  const ProgressCallback& on_progress_;
  const CancelToken& cancel_;
  base::Gate gate_;
  ReadSlots slots_;
  const MaterialReader reader_;
  LongRows long_rows_;
  std::mutex mutex_;  // guards the two below
  plan::Measured found_;
  std::vector<Task> open_;
};

}  // namespace

plan::Measured measure(const Plan::Impl& plan, const ProgressCallback& on_progress, const CancelToken& cancel) {
  cancel.throw_if_cancelled();
  require_output(plan);
  return Measuring(plan, on_progress, cancel).run();
}

}  // namespace headrace::flow
