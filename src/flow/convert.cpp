#include "flow/convert.hpp"

#include "flow/crew.hpp"
#include "flow/file_sink.hpp"
#include "flow/meter.hpp"
#include "flow/piece_worker.hpp"
#include "flow/pieces.hpp"

#include "io/system_error.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>

namespace headrace::flow {
namespace {

[[noreturn]] void refuse_output(const std::filesystem::path& output, const char* what) {
  throw Error(ErrorCode::conflict, fmt::format("the output is {}, perhaps through a link", what),
              {.file = output.string(), .hint = "choose another output"});
}

void require_free(const Plan::Impl& plan, const std::filesystem::path& path) {
  std::error_code ignored;
  if (!plan.options.force && std::filesystem::exists(path, ignored))
    throw io::system_error(EEXIST, "create the output", path.string());
}

void refuse_input_as_output(const Plan::Impl& plan) {
  const auto check = [&](const std::filesystem::path& path) {
    const auto output = io::file_id(path);
    if (!output) return;
    if (plan.is_input(*output)) refuse_output(path, "an input");
    if (!plan.imatrix) return;
    for (const auto& file : plan.imatrix->files()) {
      if (file.file().id() == *output) refuse_output(path, "the importance matrix");
    }
  };
  for (const format::Part& part : plan.outputs.parts) check(part.path);
  if (plan.outputs.index) check(plan.outputs.index->path);
}

}  // namespace

void stop_streams(const Plan::Impl& plan) noexcept {
  for (const plan::Source& source : plan.sources) {
    for (const auto& file : source->files) {
      if (file->access() == Access::forward) file->interrupt();
    }
  }
}

void interrupt_sources(const Plan::Impl& plan) noexcept {
  for (const plan::Source& source : plan.sources) {
    for (const auto& file : source->files) file->interrupt();
  }
}

void charge_plan(const Plan::Impl& plan, base::Gate& gate) {
  for (const plan::Source& source : plan.sources) gate.charge(source->memory(), "the index of " + source->location);
  gate.charge(plan.memory(), "the plan for " + plan.output.string());
  gate.charge(MaterialReader::memory_of_scales(plan), "the scales of 8-bit floats");
}

// Servers answer several requests at once; most of the time a worker waits for an answer.
unsigned reads_at_once(const Plan::Impl& plan) noexcept {
  unsigned most = 0;
  for (const plan::Source& source : plan.sources) {
    for (const auto& file : source->files) most = std::max(most, file->parallel_reads());
  }
  return most;
}

unsigned worker_count(const Plan::Impl& plan) {
  // While some convert and write, others keep the connections busy.
  return base::worker_count(plan.options.threads) + reads_at_once(plan);
}

void require_output(const Plan::Impl& plan) {
  if (plan.in_memory) return;
  refuse_input_as_output(plan);
  if (plan.outputs.parts.size() == 1) require_free(plan, plan.outputs.parts.front().path);
}

ConvertReport run(const Plan::Impl& plan, const ProgressCallback& on_progress, const CancelToken& cancel) {
  const auto start = std::chrono::steady_clock::now();
  cancel.throw_if_cancelled();
  refuse_input_as_output(plan);
  const unsigned at_once = reads_at_once(plan);
  const unsigned threads = worker_count(plan);
  base::Gate gate(plan.options.memory);
  charge_plan(plan, gate);

  format::Writer writer(plan.tensors, plan.outputs, plan.options.force);
  const PieceSizes sizes = piece_sizes(gate.available(), threads, at_once > 0);
  PieceQueue queue(plan, sizes);
  std::optional<ErrorLog> errors;
  if (plan.options.measure) {
    gate.charge(ErrorLog::memory(plan, threads), "the errors that are measured");
    errors.emplace(plan);
  }
  ReadSlots slots(at_once);
  FileSink sink(writer);
  const PieceWorker worker(plan, gate, sink, sizes, slots, errors ? &*errors : nullptr);
  Meter meter(plan);
  const auto report = [&](bool flushing) {
    if (!on_progress) return;
    Progress progress = meter.read();
    progress.flushing = flushing;
    on_progress(progress);
  };
  const auto wake = cancel.on_cancel([&] { interrupt_sources(plan); });
  run_crew(
      queue,
      [&](Piece& piece) {
        try {
          worker.run(piece);
        } catch (...) {
          stop_streams(plan);
          throw;
        }
        meter.add(piece);
      },
      threads, gate, cancel, [&] { report(false); });
  report(true);
  for (const plan::Source& source : plan.sources) source->finish();
  writer.commit();
  report(false);

  ConvertReport result;
  result.bytes_read = plan.source_bytes;
  result.bytes_written = plan.outputs.file_bytes();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.peak_budget = gate.peak();
  if (errors) result.errors = errors->take();
  return result;
}

}  // namespace headrace::flow
