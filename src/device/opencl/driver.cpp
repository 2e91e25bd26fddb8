#include "device/opencl/driver.hpp"
#include "device/opencl/api.hpp"
#include "device/opencl/device.hpp"

#include <vector>

namespace headrace::device::opencl {
namespace {

constexpr cl_int kDeviceNotFound = -1;
constexpr cl_int kPlatformNotFound = -1001;

class OpenCLDriver final : public Driver {
 public:
  OpenCLDriver() : api_(std::make_shared<Api>()) {
    problem_ = api_->library.problem();
    hint_ =
        "install an ICD loader (Debian: ocl-icd-libopencl1) and the driver of your device (pocl-opencl-icd: the CPU)";
    if (problem_.empty()) find_devices();
  }

  DeviceKind kind() const noexcept override { return DeviceKind::opencl; }
  unsigned count() const noexcept override { return static_cast<unsigned>(devices_.size()); }
  std::string problem() const override { return problem_; }
  std::string hint() const override { return hint_; }

  DeviceInfo info(unsigned index) const override {
    const Properties properties = look_at(*api_, devices_[index], name_of(index));
    return {.name = name_of(index),
            .kind = DeviceKind::opencl,
            .description = properties.description,
            .memory = properties.memory};
  }
  std::shared_ptr<Device> open(unsigned index) const override {
    return opencl::open(api_, devices_[index], name_of(index), index);
  }

 private:
  static std::string name_of(unsigned index) { return "opencl:" + std::to_string(index); }

  void find_devices() {
    cl_uint count = 0;
    cl_int result = api_->get_platforms(0, nullptr, &count);
    std::vector<cl_platform_id> platforms(result == kSuccess ? count : 0);
    if (!platforms.empty()) result = api_->get_platforms(count, platforms.data(), nullptr);
    if (result != kSuccess && result != kPlatformNotFound) {
      problem_ = "clGetPlatformIDs failed: " + name_of_result(result);
      return;
    }
    problem_ = platforms.empty() ? "no OpenCL driver is installed" : "no OpenCL driver has a device";
    for (const cl_platform_id platform : platforms) add_devices(platform);
    if (!devices_.empty()) problem_.clear();
  }

  // A platform that can't say what it has doesn't hide the others'.
  void add_devices(cl_platform_id platform) {
    cl_uint count = 0;
    cl_int result = api_->get_devices(platform, kDeviceTypeAll, 0, nullptr, &count);
    std::vector<cl_device_id> found(result == kSuccess ? count : 0);
    if (!found.empty()) result = api_->get_devices(platform, kDeviceTypeAll, count, found.data(), nullptr);
    if (result != kSuccess) {
      if (result != kDeviceNotFound) problem_ = "clGetDeviceIDs failed: " + name_of_result(result);
      return;
    }
    for (const cl_device_id device : found) {
      cl_bool available = 0;
      api_->get_device_info(device, kDeviceAvailable, sizeof available, &available, nullptr);
      if (available != 0) devices_.push_back(device);
    }
  }

  std::shared_ptr<const Api> api_;
  std::vector<cl_device_id> devices_;
  std::string problem_;
  std::string hint_;
};

}  // namespace

const Driver& driver() {
  static const OpenCLDriver kDriver;
  return kDriver;
}

}  // namespace headrace::device::opencl
