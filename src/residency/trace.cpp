#include "residency/trace.hpp"

#include "format/json_text.hpp"
#include "format/printable.hpp"
#include "io/output_file.hpp"

#include <fmt/format.h>

#include <iterator>
#include <span>
#include <string_view>

namespace headrace::residency {
namespace {

struct Text {
  void put(std::string_view more) { text += more; }
  std::string text;
};

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

}  // namespace

void Trace::add(const char* what, Clock::time_point begin, std::uint32_t unit, std::uint64_t bytes) {
  if (!on()) return;
  const auto end = Clock::now();
  const std::lock_guard lock(mutex_);
  const auto thread = static_cast<std::uint32_t>(threads_.size());
  const Event event{what, begin, end, threads_.emplace(std::this_thread::get_id(), thread).first->second, unit, bytes};
  if (events_.size() < most_) {
    events_.push_back(event);
  } else {
    events_[oldest_] = event;
    oldest_ = (oldest_ + 1) % most_;
  }
}

void Trace::write(const std::filesystem::path& path,
                  const std::function<std::string(std::uint32_t unit)>& name_of) const {
  Text out{"["};
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < events_.size(); ++i) {
      const Event& event = events_[(oldest_ + i) % events_.size()];
      fmt::format_to(std::back_inserter(out.text),
                     R"({}{{"name":"{}","ph":"X","ts":{:.3f},"dur":{:.3f},"pid":1,"tid":{},"args":{{"unit":)",
                     i == 0 ? "\n" : ",\n", event.what, microseconds(event.begin - begun_),
                     microseconds(event.end - event.begin), event.thread);
      format::put_json_string(out, event.unit == kNoUnit ? std::string() : format::printable(name_of(event.unit)));
      fmt::format_to(std::back_inserter(out.text), R"(,"bytes":{}}}}})", event.bytes);
    }
  }
  out.put("\n]\n");
  io::OutputFile file(path, out.text.size(), true);
  file.write_at(0, std::as_bytes(std::span(out.text)));
  file.commit();
}

}  // namespace headrace::residency
