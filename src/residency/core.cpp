#include "residency/core.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace headrace::residency {
namespace {

constexpr unsigned kCallers = 2;  // that make units at once beside the fetchers; others wait for memory to do it with

}  // namespace

bool Entry::ready() const noexcept {
  if (promised == Computation::none) return kept_here && kept_suffices();
  return computation_here && (promised == Computation::all || kept_here);
}

const LoadedTensor& Entry::tensor(std::size_t i) const noexcept {
  const bool from_kept = kept_here && (promised == Computation::none || !unit.differs(unit.tensors[i]));
  return from_kept ? kept[i] : computation[i];
}

Core::Core(std::shared_ptr<Device> device, const ResidencyOptions& options)
    : device_(std::move(device)),
      options_(options),
      trace_(options.trace_events),
      spares_(device_, options.limit, options.watch_free_memory ? std::optional(options.reserve) : std::nullopt),
      maker_(device_, spares_, options, options.threads + kCallers, trace_),
      device_account_(options.limit),
      host_account_(options.host_limit) {
  if (options.threads != 0) fetchers_ = std::make_unique<base::Workers>(options.threads, [this] { fetch(); });
}

void Core::changed() noexcept {
  ++changes_;
  changed_.notify_all();
}

void Core::close() noexcept {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (Entry& entry : entries_) entry.stop = true;
    changed();
  }
  fetchers_.reset();
  Lock lock(mutex_);
  Garbage garbage;
  for (Entry& entry : entries_) trim(entry, garbage);
  discard(lock, std::move(garbage));
  lock.unlock();
  spares_.clear(true);
}

ModelId Core::add(std::string name, const std::shared_ptr<const DiskMap>& map, const std::vector<UnitSpec>& units) {
  std::vector<Unit> made;
  std::unordered_set<std::string_view> names;
  for (const UnitSpec& unit : units) {
    if (!names.insert(unit.name).second) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("model '{}' has two units of one name", format::printable(name)),
                  {.found = format::printable(unit.name)});
    }
    made.push_back(make_unit(name, map, unit));
  }
  const std::lock_guard lock(mutex_);
  const auto id = static_cast<ModelId>(models_.size());
  const auto first = static_cast<std::uint32_t>(entries_.size());
  Model& model = models_.emplace_back(Model{.name = std::move(name),
                                            .first_unit = first,
                                            .units = static_cast<std::uint32_t>(made.size()),
                                            .order = Order(made.size())});
  for (Unit& unit : made) entries_.emplace_back(std::move(unit), static_cast<std::uint32_t>(entries_.size()), model);
  return id;
}

Model& Core::model_at(ModelId model) {
  const auto index = static_cast<std::size_t>(model);
  if (index < models_.size()) return models_[index];
  throw Error(ErrorCode::invalid_argument, "there is no such model",
              {.expected = fmt::format("one of {}", models_.size()), .found = std::to_string(index)});
}

Entry& Core::at(UnitRef unit) {
  const std::lock_guard lock(mutex_);
  const Model& model = model_at(unit.model);
  if (unit.unit < model.units) return entries_[model.first_unit + unit.unit];
  throw Error(ErrorCode::invalid_argument, fmt::format("model '{}' has no such unit", format::printable(model.name)),
              {.expected = fmt::format("one of {}", model.units), .found = std::to_string(unit.unit)});
}

UnitRef Core::find(ModelId model, std::string_view name) {
  const std::lock_guard lock(mutex_);
  for (const Entry* entry : entries_of(model_at(model))) {
    if (entry->unit.name == name) return {model, entry->index()};
  }
  throw Error(ErrorCode::invalid_argument,
              fmt::format("model '{}' has no unit of this name", format::printable(model_at(model).name)),
              {.found = format::printable(name)});
}

std::vector<Entry*> Core::entries_of(const Model& model) {
  std::vector<Entry*> entries;
  for (std::uint32_t i = 0; i < model.units; ++i) entries.push_back(&entries_[model.first_unit + i]);
  return entries;
}

void Core::onload(ModelId id) {
  const std::lock_guard lock(mutex_);
  model_at(id).in_use = true;
  changed();
}

void Core::offload(ModelId id) {
  Lock lock(mutex_);
  Model& model = model_at(id);
  model.in_use = false;
  const auto entries = entries_of(model);
  Garbage garbage;
  for (Entry* entry : entries) {
    if (entry->busy && entry->pins == 0) entry->stop = true;
    trim(*entry, garbage);
  }
  discard(lock, std::move(garbage));
  for (Entry* entry : entries) changed_.wait(lock, [&] { return !entry->busy || entry->pins != 0; });
  const std::uint64_t begun = discards_;  // what was on its way out before
  changed_.wait(lock, [&] { return discarding_.empty() || *discarding_.begin() > begun; });
  lock.unlock();
  spares_.clear();
}

void Core::hint(std::span<const UnitRef> order) {
  std::unordered_map<Model*, std::vector<std::uint32_t>> orders;
  for (const UnitRef& unit : order) orders[&at(unit).model].push_back(unit.unit);
  const std::lock_guard lock(mutex_);
  for (const auto& [model, units] : orders) model->order.hint(units);
  changed();
}

ResidencyStats Core::stats() const {
  const std::lock_guard lock(mutex_);
  ResidencyStats stats = counts_;
  stats.bytes_read = maker_.bytes_read();
  stats.bytes_uploaded = maker_.bytes_uploaded();
  stats.device_bytes = device_account_.used();
  stats.peak_device_bytes = device_account_.peak();
  stats.host_bytes = host_account_.used();
  stats.peak_host_bytes = host_account_.peak();
  return stats;
}

void Core::write_trace(const std::filesystem::path& path) const {
  if (!trace_.on()) {
    throw Error(ErrorCode::invalid_argument, "nothing was traced",
                {.hint = "ResidencyOptions::trace_events says how many events to keep"});
  }
  std::vector<std::string> titles;
  {
    const std::lock_guard lock(mutex_);
    for (const Entry& entry : entries_) titles.push_back(entry.unit.title());
  }
  trace_.write(path, [&](std::uint32_t unit) { return unit < titles.size() ? titles[unit] : std::string(); });
}

}  // namespace headrace::residency
