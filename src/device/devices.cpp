// Which devices there are, and opening them by name.
#include "device/cuda/driver.hpp"
#include "device/driver.hpp"
#include "device/errors.hpp"
#include "device/host/device.hpp"
#include "device/opencl/driver.hpp"

#include <headrace/device.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <mutex>
#include <optional>

namespace headrace {
namespace {

using device::Driver;

struct Entry {
  DeviceKind kind;
  const Driver& (*driver)();  // loads it
};

// In the order of the list.
constexpr std::array kDrivers{Entry{DeviceKind::host, device::host::driver},
                              Entry{DeviceKind::opencl, device::opencl::driver},
                              Entry{DeviceKind::cuda, device::cuda::driver}};

std::string name_of(DeviceKind kind, unsigned index) {
  if (kind == DeviceKind::host) return "host";
  return std::string(to_string(kind)) + ":" + std::to_string(index);
}

std::string names_of_all() {
  std::string names;
  for (const Entry& entry : kDrivers) {
    for (unsigned i = 0; i < entry.driver().count(); ++i) {
      if (!names.empty()) names += ", ";
      names += name_of(entry.kind, i);
    }
  }
  return names;
}

struct Name {
  const Entry* entry = nullptr;
  unsigned index = 0;
};

// "cuda", "cuda:1"; "host" and "cpu" have no number.
std::optional<Name> parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  std::string_view kind = text.substr(0, colon);
  if (kind == "cpu") kind = "host";
  const auto entry = std::find_if(kDrivers.begin(), kDrivers.end(),
                                  [&](const Entry& candidate) { return kind == to_string(candidate.kind); });
  if (entry == kDrivers.end()) return std::nullopt;
  if (colon == std::string_view::npos) return Name{&*entry, 0};
  const std::string_view digits = text.substr(colon + 1);
  unsigned index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end != digits.data() + digits.size() || entry->kind == DeviceKind::host) {
    return std::nullopt;
  }
  return Name{&*entry, index};
}

// What is open, so that all who name a device share it, its stream and the checks that a buffer is of it.
struct Opened {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<Device>> devices;
};

Opened& opened() {
  static Opened all;
  return all;
}

}  // namespace

std::vector<DeviceInfo> list_devices() {
  std::vector<DeviceInfo> found;
  for (const Entry& entry : kDrivers) {
    for (unsigned i = 0; i < entry.driver().count(); ++i) {
      try {
        found.push_back(entry.driver().info(i));
      } catch (const Error&) {
        // One that can't say what it is can't be used, and hides no other.
      }
    }
  }
  return found;
}

std::shared_ptr<Device> open_device(std::string_view name) {
  const auto wanted = parse(name);
  if (!wanted) {
    throw Error(ErrorCode::invalid_argument, "there is no device '" + std::string(name) + "'",
                {.expected = names_of_all()});
  }
  const std::string full = name_of(wanted->entry->kind, wanted->index);
  const Driver& driver = wanted->entry->driver();
  if (driver.count() == 0) throw device::not_usable(full, driver.problem(), driver.hint());
  if (wanted->index >= driver.count()) {
    throw device::not_usable(full, "this machine has no such device", "there are: " + names_of_all());
  }
  Opened& all = opened();
  const std::lock_guard lock(all.mutex);
  std::weak_ptr<Device>& place = all.devices[full];
  if (auto device = place.lock()) return device;
  auto device = driver.open(wanted->index);
  place = device;
  return device;
}

}  // namespace headrace
