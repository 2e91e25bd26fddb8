#include "device/cuda/driver.hpp"
#include "device/cuda/api.hpp"
#include "device/cuda/context.hpp"
#include "device/cuda/device.hpp"

#include <headrace/error.hpp>

#include <array>
#include <vector>

namespace headrace::device::cuda {
namespace {

class CudaDriver final : public Driver {
 public:
  explicit CudaDriver(const std::string& file) : api_(std::make_shared<Api>(file)), problem_(api_->library.problem()) {
    if (!problem_.empty()) return;
    int count = 0;
    if (!succeeds("cuInit", api_->init(0)) || !succeeds("cuDeviceGetCount", api_->device_count(&count))) return;
    if (count <= 0) problem_ = "no CUDA device is visible to this process";
    for (int i = 0; i < count; ++i) {
      CUdevice device = 0;
      if (succeeds("cuDeviceGet", api_->device_get(&device, i))) devices_.push_back(device);
    }
    if (!devices_.empty()) problem_.clear();
  }

  DeviceKind kind() const noexcept override { return DeviceKind::cuda; }
  unsigned count() const noexcept override { return static_cast<unsigned>(devices_.size()); }
  std::string problem() const override { return problem_; }
  std::string hint() const override { return "install NVIDIA's driver, and see what nvidia-smi says"; }

  DeviceInfo info(unsigned index) const override {
    DeviceInfo info{.name = name_of(index), .kind = DeviceKind::cuda, .description = description_of(index)};
    std::size_t total = 0;
    check(*api_, info.name, "cuDeviceTotalMem", api_->device_total_memory(&total, devices_[index]));
    info.memory = {.total = total, .free = {}, .largest = total};
    try {
      info.memory = Context(api_, devices_[index], info.name).memory();
    } catch (const Error&) {
      // Somebody else's alone, or too full for a context: it is there all the same.
    }
    return info;
  }

  std::shared_ptr<Device> open(unsigned index) const override {
    return cuda::open(std::make_shared<Context>(api_, devices_[index], name_of(index)), description_of(index), index);
  }

 private:
  static std::string name_of(unsigned index) { return "cuda:" + std::to_string(index); }

  std::string description_of(unsigned index) const {
    std::array<char, 256> text{};
    check(*api_, name_of(index), "cuDeviceGetName",
          api_->device_name(text.data(), static_cast<int>(text.size() - 1), devices_[index]));
    return text.data();
  }

  bool succeeds(const char* call, CUresult result) {
    if (result != kSuccess) problem_ = std::string(call) + " failed: " + api_->name_of(result);
    return result == kSuccess;
  }

  std::shared_ptr<const Api> api_;
  std::vector<CUdevice> devices_;
  std::string problem_;
};

}  // namespace

std::unique_ptr<Driver> make_driver(const std::string& file) { return std::make_unique<CudaDriver>(file); }

const Driver& driver() {
  static const CudaDriver kDriver(library_file("HEADRACE_CUDA_LIBRARY", "libcuda.so.1"));
  return kDriver;
}

}  // namespace headrace::device::cuda
