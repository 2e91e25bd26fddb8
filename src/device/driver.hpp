// Driver: what one maker's software has for devices on this machine.
#pragma once

#include <headrace/device.hpp>

#include <memory>
#include <string>

namespace headrace::device {

/// Thread-safe. Loaded when it is first asked for, and for good: drivers start threads of their own, and few survive
/// being unloaded.
class Driver {
 public:
  Driver() = default;
  virtual ~Driver() = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  virtual DeviceKind kind() const noexcept = 0;
  /// 0 when there are none, or the driver can't be used.
  virtual unsigned count() const noexcept = 0;
  /// Why there are none ("can't load libcuda.so.1: …"), and what to do about it. Empty when there are some.
  virtual std::string problem() const = 0;
  virtual std::string hint() const = 0;

  // `index` is below count(). Throw Error(io), or what else opening a device may.
  virtual DeviceInfo info(unsigned index) const = 0;
  virtual std::shared_ptr<Device> open(unsigned index) const = 0;
};

}  // namespace headrace::device
