#include "cli/progress_bar.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <headrace/bytes.hpp>

#include "cli/terminal.hpp"
#include "cli/text.hpp"

namespace headrace::cli {
namespace {

constexpr double kSecondsBetweenLines = 2;
constexpr std::size_t kNarrowestBar = 10;
constexpr std::size_t kWidestBar = 40;

double share_done(const Progress& progress) {
  if (progress.bytes_total == 0) return 1;
  const double share = static_cast<double>(progress.bytes_done) / static_cast<double>(progress.bytes_total);
  return std::clamp(share, 0.0, 1.0);
}

// Rounded down, so that 100 % means done.
int percent(const Progress& progress) { return static_cast<int>(share_done(progress) * 100); }

std::string time_left(const Progress& progress, double bytes_per_second) {
  if (!(bytes_per_second > 0) || progress.bytes_done >= progress.bytes_total) return {};
  return duration(static_cast<double>(progress.bytes_total - progress.bytes_done) / bytes_per_second) + " left";
}

std::string bar(double share, std::size_t width) {
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(width));
  return fmt::format("[{:#<{}}{:-<{}}]", "", filled, "", width - filled);
}

}  // namespace

std::string bar_line(std::string_view verb, const Progress& progress, double bytes_per_second, std::size_t width) {
  std::array<std::string, 4> numbers{
      fmt::format("{:3} %", percent(progress)),
      fmt::format("{} of {}", format_bytes(progress.bytes_done), format_bytes(progress.bytes_total)),
      progress.flushing ? "flushing to disk" : rate(static_cast<std::uint64_t>(bytes_per_second), 1),
      progress.flushing ? "" : time_left(progress, bytes_per_second)};
  std::string right;
  for (const std::string& number : numbers) {
    if (number.empty()) continue;
    if (verb.size() + right.size() + number.size() + 2 > width) break;
    right += right.empty() ? " " : "  ";
    right += number;
  }
  // Two brackets and the space before them.
  const std::size_t others = std::min(width, verb.size() + right.size() + 3);
  const std::size_t room = width - others;
  std::string line(verb);
  if (room >= kNarrowestBar) {
    line += ' ';
    line += bar(share_done(progress), std::min(room, kWidestBar));
  }
  line += right;
  line.resize(std::min(line.size(), width));
  return line;
}

ProgressBar::ProgressBar(std::string_view verb, bool quiet)
    : verb_(verb),
      style_(quiet                       ? Style::none
             : can_redraw(STDERR_FILENO) ? Style::redrawn
                                         : Style::lines) {}

void ProgressBar::measure_rate(const Progress& progress, double now) {
  const double passed = now - measured_at_;
  if (passed < 0.05) return;
  const double recent = static_cast<double>(progress.bytes_done - std::min(progress.bytes_done, measured_)) / passed;
  // An average that forgets with a time constant of three seconds.
  const double weight = measured_ == 0 ? 1 : 1 - std::exp(-passed / 3);
  rate_ += weight * (recent - rate_);
  measured_at_ = now;
  measured_ = progress.bytes_done;
}

void ProgressBar::update(const Progress& progress) {
  if (style_ == Style::none) return;
  const double now = seconds();
  measure_rate(progress, now);
  if (style_ == Style::lines) {
    draw_lines(progress, now);
    return;
  }
  // One column is left free: a full last column makes some terminals wrap.
  const std::size_t width = std::max<std::size_t>(terminal_width(STDERR_FILENO), 2) - 1;
  write_stderr(fmt::format("\r{}\x1b[K", bar_line(verb_, progress, rate_, width)));
  drawn_ = true;
}

void ProgressBar::draw_lines(const Progress& progress, double now) {
  const auto tenth = static_cast<std::uint64_t>(percent(progress) / 10);
  if (now - last_line_at_ < kSecondsBetweenLines || tenth <= last_tenth_) return;
  last_line_at_ = now;
  last_tenth_ = tenth;
  const std::string left = time_left(progress, rate_);
  write_stderr(fmt::format("headrace: {} {} %, {} of {}{}{}\n", verb_, percent(progress),
                           format_bytes(progress.bytes_done), format_bytes(progress.bytes_total),
                           left.empty() ? "" : ", ", left));
}

void ProgressBar::clear() {
  if (drawn_) write_stderr("\r\x1b[K");
  drawn_ = false;
}

ProgressCallback ProgressBar::callback() {
  return [this](const Progress& progress) { update(progress); };
}

double ProgressBar::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

}  // namespace headrace::cli
