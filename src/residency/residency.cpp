#include "residency/core.hpp"

#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <utility>

namespace headrace {

struct Lease::Impl {
  std::shared_ptr<residency::Core> core;
  std::vector<std::pair<UnitRef, residency::Entry*>> units;
  residency::Core::Set set;
  residency::Clock::time_point since;
};

Lease::Lease() noexcept = default;
Lease::Lease(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Lease::Lease(Lease&&) noexcept = default;
Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  release();
  impl_ = std::move(other.impl_);
  return *this;
}
Lease::~Lease() { release(); }

void Lease::release() noexcept {
  if (!impl_) return;
  impl_->core->release(impl_->set, impl_->since);
  impl_.reset();
}

namespace {

const LoadedTensor* find_tensor(const residency::Entry& entry, std::string_view name) {
  for (std::size_t i = 0; i < entry.unit.tensors.size(); ++i) {
    if (entry.unit.tensors[i].name == name) return &entry.tensor(i);
  }
  return nullptr;
}

[[noreturn]] void refuse_name(std::string_view name) {
  throw Error(ErrorCode::invalid_argument, "the lease has no tensor of this name", {.tensor = format::printable(name)});
}

}  // namespace

const LoadedTensor& Lease::tensor(std::string_view name) const {
  if (impl_) {
    for (const residency::Entry* entry : impl_->set) {
      if (const LoadedTensor* found = find_tensor(*entry, name)) return *found;
    }
  }
  refuse_name(name);
}

const LoadedTensor& Lease::tensor(UnitRef unit, std::string_view name) const {
  if (impl_) {
    for (const auto& [ref, entry] : impl_->units) {
      if (ref != unit) continue;
      if (const LoadedTensor* found = find_tensor(*entry, name)) return *found;
    }
  }
  refuse_name(name);
}

std::vector<const LoadedTensor*> Lease::tensors(UnitRef unit) const {
  std::vector<const LoadedTensor*> tensors;
  if (impl_) {
    for (const auto& [ref, entry] : impl_->units) {
      if (ref != unit) continue;
      for (std::size_t i = 0; i < entry->unit.tensors.size(); ++i) tensors.push_back(&entry->tensor(i));
      return tensors;
    }
  }
  throw Error(ErrorCode::invalid_argument, "the lease hasn't this unit",
              {.found = "unit " + std::to_string(unit.unit)});
}

struct Residency::Impl {
  explicit Impl(std::shared_ptr<residency::Core> shared) noexcept : core(std::move(shared)) {}
  ~Impl() { core->close(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  const std::shared_ptr<residency::Core> core;
};

Residency::Residency(std::shared_ptr<Device> device, const ResidencyOptions& options)
    : impl_(std::make_unique<Impl>(std::make_shared<residency::Core>(std::move(device), options))) {}
Residency::Residency(Residency&&) noexcept = default;
Residency& Residency::operator=(Residency&&) noexcept = default;
Residency::~Residency() = default;

ModelId Residency::add(std::string name, std::shared_ptr<const DiskMap> map, std::vector<UnitSpec> units) {
  return impl_->core->add(std::move(name), map, units);
}
UnitRef Residency::unit(ModelId model, std::string_view name) const { return impl_->core->find(model, name); }
std::uint64_t Residency::bytes(UnitRef unit) const { return impl_->core->at(unit).unit.all_bytes; }
void Residency::onload(ModelId model) { impl_->core->onload(model); }
void Residency::offload(ModelId model) { impl_->core->offload(model); }

Lease Residency::lease(std::span<const UnitRef> units, std::optional<std::chrono::milliseconds> timeout,
                       const CancelToken& cancel) {
  auto impl = std::make_unique<Lease::Impl>();
  impl->core = impl_->core;
  for (const UnitRef& unit : units) {
    residency::Entry& entry = impl->core->at(unit);
    if (std::ranges::find(impl->set, &entry) != impl->set.end()) continue;
    impl->set.push_back(&entry);
    impl->units.emplace_back(unit, &entry);
  }
  impl->core->lease(impl->set, timeout, cancel);
  impl->since = residency::Clock::now();
  return Lease(std::move(impl));
}

void Residency::hint(std::span<const UnitRef> order) { impl_->core->hint(order); }
ResidencyStats Residency::stats() const { return impl_->core->stats(); }
void Residency::write_trace(const std::filesystem::path& path) const { impl_->core->write_trace(path); }

}  // namespace headrace
