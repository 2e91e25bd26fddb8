// How a running job shows on standard error.
#pragma once

#include <chrono>
#include <cstddef>
#include <headrace/progress.hpp>
#include <string>
#include <string_view>

namespace headrace::cli {

/// On a terminal one line, redrawn; elsewhere plain lines, no more than one every 10 % and every 2 seconds; when quiet
/// nothing. Thread-safety: one thread, the one that started the job.
class ProgressBar {
 public:
  /// `verb` begins each line: "converting".
  ProgressBar(std::string_view verb, bool quiet);
  /// Clears the line, also when an error is on its way.
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(const Progress& progress);
  void clear();
  /// Forwards to update; valid as long as this object.
  ProgressCallback callback();
  /// Since the bar was made.
  double seconds() const;

 private:
  enum class Style { none, lines, redrawn };
  using Clock = std::chrono::steady_clock;

  void measure_rate(const Progress& progress, double now);
  void draw_lines(const Progress& progress, double now);

  std::string verb_;
  Style style_;
  Clock::time_point start_ = Clock::now();
  bool drawn_ = false;            // there is a line to clear
  double rate_ = 0;               // bytes per second, the last few seconds weighing most
  double measured_at_ = 0;        // seconds
  std::uint64_t measured_ = 0;    // bytes
  double last_line_at_ = 0;       // seconds
  std::uint64_t last_tenth_ = 0;  // of the plain lines
};

/// The redrawn line, at most `width` columns: the bar gives way first, then the numbers from the right.
std::string bar_line(std::string_view verb, const Progress& progress, double bytes_per_second, std::size_t width);

}  // namespace headrace::cli
