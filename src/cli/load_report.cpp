#include "cli/load_report.hpp"

#include "cli/json.hpp"
#include "cli/table.hpp"
#include "cli/text.hpp"

#include <headrace/bytes.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace headrace::cli {
namespace {

constexpr std::size_t kNamed = 3;    // for people
constexpr std::size_t kListed = 20;  // for programs

double bytes_per_second(const LoadRun& run) {
  return run.report.seconds > 0 ? static_cast<double>(run.report.source_bytes) / run.report.seconds : 0;
}

// What it held beyond the tensors that are on the host now; nothing where they came and went.
std::optional<std::uint64_t> beyond_tensors(const LoadOutcome& outcome, const LoadRun& run) {
  if (!run.peak_memory || outcome.discarded) return std::nullopt;
  const std::uint64_t tensors = run.report.host_bytes + run.host_copy_bytes;
  return *run.peak_memory - std::min(*run.peak_memory, tensors);
}

// Of the middle run, or the two in the middle.
template <class Figure>
double median(const LoadOutcome& outcome, const Figure& figure) {
  std::vector<double> values;
  for (const LoadRun& run : outcome.runs) values.push_back(figure(run));
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double median_seconds(const LoadOutcome& outcome) {
  return median(outcome, [](const LoadRun& run) { return run.report.seconds; });
}
double median_to_first(const LoadOutcome& outcome) {
  return median(outcome, [](const LoadRun& run) { return run.report.seconds_to_first; });
}

const LoadRun& worst(const LoadOutcome& outcome) {
  return *std::ranges::max_element(outcome.runs, {}, [](const LoadRun& run) { return run.peak_memory.value_or(0); });
}

std::uint64_t peak_budget(const LoadOutcome& outcome) {
  std::uint64_t peak = 0;
  for (const LoadRun& run : outcome.runs) peak = std::max(peak, run.report.peak_budget);
  return peak;
}

std::string gigabytes(double per_second) { return fmt::format("{:.2f} GB/s", per_second / 1e9); }

std::string count_of(std::uint64_t tensors) {
  return fmt::format("{} tensor{}", grouped(tensors), tensors == 1 ? "" : "s");
}

std::string memory_text(const LoadOutcome& outcome, const LoadRun& run) {
  if (!run.peak_memory) return "?";
  const auto beyond = beyond_tensors(outcome, run);
  std::string text = format_bytes(*run.peak_memory);
  if (beyond) text += fmt::format(", {} beyond the tensors there", format_bytes(*beyond));
  return text;
}

void print_runs(Output& out, const LoadOutcome& outcome) {
  constexpr std::array kColumns{Column{"run", Align::right},
                                Column{"time", Align::right},
                                Column{"first tensor", Align::right},
                                Column{"rate", Align::right},
                                Column{"peak host memory", Align::right},
                                Column{"cached before", Align::right}};
  const bool cold = outcome.runs.front().cached.has_value();
  print_table(out, std::span(kColumns).first(kColumns.size() - (cold ? 0 : 1)), outcome.runs.size(),
              [&](std::size_t i, Row& row) {
                const LoadRun& run = outcome.runs[i];
                row[0] = std::to_string(i + 1);
                row[1] = fmt::format("{:.3f} s", run.report.seconds);
                row[2] = fmt::format("{:.3f} s", run.report.seconds_to_first);
                row[3] = gigabytes(bytes_per_second(run));
                row[4] = run.peak_memory ? format_bytes(*run.peak_memory) : "?";
                if (cold) row[5] = run.cached ? fmt::format("{:.0f} %", 100 * *run.cached) : "?";
              });
  out.write("\n");
}

void print_line(Output& out, std::string_view label, std::string_view text) {
  std::string line = fmt::format("  {:<18}  ", label);
  append_safe(line, text);
  out.print("{}\n", line);
}

void print_places(Output& out, const LoadOutcome& outcome) {
  const LoadReport& report = outcome.runs.back().report;
  const bool on_host = outcome.device->kind() == DeviceKind::host;
  if (!on_host) {
    const std::string copies = outcome.runs.back().host_copy_bytes == 0 ? "" : ", and a copy on the host";
    print_line(out, "on " + outcome.device->name(),
               fmt::format("{}, {}{}", count_of(report.tensors - report.host_tensors),
                           format_bytes(report.device_bytes), copies));
  }
  std::string text = fmt::format("{}, {}", count_of(report.host_tensors), format_bytes(report.host_bytes));
  if (report.mapped_bytes != 0) text += fmt::format(", {} of them mapped", format_bytes(report.mapped_bytes));
  for (std::size_t i = 0; i < std::min(outcome.left.size(), kNamed); ++i)
    text += fmt::format("{}{} ({})", i == 0 ? ": " : ", ", outcome.left[i].name, format_bytes(outcome.left[i].bytes));
  if (outcome.left.size() > kNamed) text += ", …";
  print_line(out, "on the host", text);
}

}  // namespace

void print_load(Output& out, const LoadOutcome& outcome) {
  if (outcome.runs.size() > 1) print_runs(out, outcome);
  const LoadRun& last = outcome.runs.back();
  out.print("{} {} {} {} ({})\n", outcome.discarded ? "moved" : "loaded", safe(outcome.source),
            outcome.discarded ? "through" : "to", outcome.device->name(), safe(outcome.device->description()));
  const char* of = outcome.runs.size() > 1 ? " (median)" : "";
  print_line(out, "time",
             fmt::format("{}, the first tensor after {}{}", duration(median_seconds(outcome)),
                         duration(median_to_first(outcome)), of));
  print_line(out, "rate", gigabytes(median(outcome, bytes_per_second)) + of);
  if (last.cached && outcome.runs.size() == 1)
    print_line(out, "cached before", fmt::format("{:.0f} %", 100 * *last.cached));
  print_places(out, outcome);
  print_line(out, "peak host memory", memory_text(outcome, worst(outcome)));
  print_line(out, "peak of the budget",
             fmt::format("{} of {}", format_bytes(peak_budget(outcome)), format_bytes(outcome.memory)));
  if (outcome.verified) print_line(out, "verified", count_of(*outcome.verified) + ", every byte");
  if (!outcome.saved.empty()) print_line(out, "saved", outcome.saved);
}

namespace {

Json or_null(const auto& value) { return value ? Json(*value) : Json(nullptr); }

Json as_json(const LoadOutcome& outcome, const LoadRun& run) {
  return {{"seconds", run.report.seconds},
          {"seconds_to_first", run.report.seconds_to_first},
          {"bytes_per_second", bytes_per_second(run)},
          {"peak_memory", or_null(run.peak_memory)},
          {"peak_memory_beyond_tensors", or_null(beyond_tensors(outcome, run))},
          {"peak_budget", run.report.peak_budget},
          {"cached_before", or_null(run.cached)}};
}

}  // namespace

void print_load_json(Output& out, const LoadOutcome& outcome) {
  const LoadRun& last = outcome.runs.back();
  JsonDocument document(out);
  document.member("source", outcome.source);
  document.member("device", outcome.device->name());
  document.member("description", outcome.device->description());
  document.member("streamed", outcome.streamed);
  document.member("discarded", outcome.discarded);
  document.member("tensors", last.report.tensors);
  document.member("host_tensors", last.report.host_tensors);
  document.member("device_bytes", last.report.device_bytes);
  document.member("host_bytes", last.report.host_bytes);
  document.member("host_copy_bytes", last.host_copy_bytes);
  document.member("mapped_bytes", last.report.mapped_bytes);
  document.member("source_bytes", last.report.source_bytes);
  document.member("seconds", median_seconds(outcome));
  document.member("seconds_to_first", median_to_first(outcome));
  document.member("bytes_per_second", median(outcome, bytes_per_second));
  document.member("peak_memory", or_null(worst(outcome).peak_memory));
  document.member("peak_memory_beyond_tensors", or_null(beyond_tensors(outcome, worst(outcome))));
  document.member("peak_budget", peak_budget(outcome));
  document.member("memory", outcome.memory);
  document.member("verified", or_null(outcome.verified));
  document.member("saved", outcome.saved.empty() ? Json(nullptr) : Json(outcome.saved));
  document.begin_list("runs");
  for (const LoadRun& run : outcome.runs) document.element(as_json(outcome, run));
  document.end_list();
  document.begin_list("left_on_host");
  for (std::size_t i = 0; i < std::min(outcome.left.size(), kListed); ++i)
    document.element({{"name", outcome.left[i].name}, {"bytes", outcome.left[i].bytes}});
  document.end_list();
  document.end();
}

}  // namespace headrace::cli
