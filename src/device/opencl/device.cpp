#include "device/opencl/device.hpp"
#include "device/errors.hpp"
#include "device/opencl/queue.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace headrace::device::opencl {
namespace {

constexpr std::size_t kPage = 4096;

template <class Value>
Value get(const Api& api, cl_device_id device, cl_uint what, const std::string& name) {
  Value value{};
  const cl_int result = api.get_device_info(device, what, sizeof value, &value, nullptr);
  if (result != kSuccess) throw failed(name, "clGetDeviceInfo", result, 0);
  return value;
}

std::string get_text(const Api& api, cl_device_id device, cl_uint what, const std::string& name) {
  std::size_t bytes = 0;
  cl_int result = api.get_device_info(device, what, 0, nullptr, &bytes);
  std::string text(bytes, '\0');
  if (result == kSuccess) result = api.get_device_info(device, what, bytes, text.data(), nullptr);
  if (result != kSuccess) throw failed(name, "clGetDeviceInfo", result, 0);
  text.resize(std::min(text.find('\0'), text.size()));
  return text;
}

// Memory of ours, or the caller's with a reference of our own. A command that is under way holds another.
struct Block final : DeviceBlock {
  Block(std::shared_ptr<Queue> of, std::size_t size)
      : queue(std::move(of)), memory(queue->create(kMemReadWrite, size)) {
    handle = reinterpret_cast<std::uintptr_t>(memory);
    bytes = size;
  }
  Block(std::shared_ptr<Queue> of, cl_mem theirs, std::size_t size, std::size_t from)
      : queue(std::move(of)), memory(theirs) {
    queue->api().retain_memory(memory);
    handle = reinterpret_cast<std::uintptr_t>(memory);
    bytes = size;
    offset = from;
  }
  ~Block() override { queue->api().release_memory(memory); }

  std::shared_ptr<Queue> queue;
  cl_mem memory;
};

// The way to page-locked memory where a driver has it: memory that it says it puts where the host finds it, mapped.
struct StagingBlock final : DeviceBlock {
  StagingBlock(std::shared_ptr<Queue> of, std::size_t size) : queue(std::move(of)) {
    memory = queue->create(kMemReadWrite | kMemAllocHostPtr, size + kPage);
    try {
      mapped = queue->map(memory, size + kPage);
    } catch (...) {
      queue->api().release_memory(memory);
      throw;
    }
    const auto at = reinterpret_cast<std::uintptr_t>(mapped);
    host = mapped + ((kPage - at % kPage) % kPage);
    bytes = size;
  }
  ~StagingBlock() override {
    queue->unmap(memory, mapped);
    queue->api().release_memory(memory);
  }

  std::shared_ptr<Queue> queue;
  cl_mem memory = nullptr;
  std::byte* mapped = nullptr;
};

struct ContextOwner {
  ContextOwner(const Api& functions, cl_device_id device, const std::string& name) : api(functions) {
    cl_int result = kSuccess;
    context = api.create_context(nullptr, 1, &device, nullptr, nullptr, &result);
    if (result != kSuccess) throw failed(name, "clCreateContext", result, 0);
  }
  ~ContextOwner() { api.release_context(context); }
  ContextOwner(const ContextOwner&) = delete;
  ContextOwner& operator=(const ContextOwner&) = delete;

  const Api& api;
  cl_context context;
};

class OpenCLDevice final : public Device {
 public:
  OpenCLDevice(std::shared_ptr<const Api> api, cl_device_id device, const std::string& name, unsigned index)
      : api_(std::move(api)), device_(device), name_(name), index_(index), properties_(look_at(*api_, device, name)) {
    const ContextOwner owner(*api_, device, name);
    queue_ = std::make_shared<Queue>(api_, owner.context, device, name);  // which holds the context from here on
  }

  const std::string& name() const noexcept override { return name_; }
  const std::string& description() const noexcept override { return properties_.description; }
  DeviceKind kind() const noexcept override { return DeviceKind::opencl; }
  DLPackDevice dlpack() const noexcept override { return {.type = 4, .id = static_cast<int>(index_)}; }
  DeviceMemory memory() const override { return properties_.memory; }
  std::size_t alignment() const noexcept override { return properties_.alignment; }

  void synchronize() override {
    queue_->finish();
    for (const auto& queue : queues_of_others()) queue->finish();
  }

 protected:
  std::unique_ptr<DeviceBlock> make_block(std::size_t bytes) override {
    check_size(bytes);
    return std::make_unique<Block>(queue_, bytes);
  }

  std::unique_ptr<DeviceBlock> make_staging(std::size_t bytes) override {
    check_size(bytes);
    return std::make_unique<StagingBlock>(queue_, bytes);
  }

  std::unique_ptr<DeviceBlock> wrap_block(std::uintptr_t handle, std::size_t bytes, std::size_t offset) override {
    auto* const memory = reinterpret_cast<cl_mem>(handle);
    const auto size = get_of_memory<std::size_t>(memory, kMemSize);
    if (offset + bytes > size) {
      throw Error(ErrorCode::invalid_argument, "memory to wrap is too small",
                  {.file = name_,
                   .expected = std::to_string(bytes) + " bytes from " + std::to_string(offset),
                   .found = std::to_string(size) + " bytes"});
    }
    return std::make_unique<Block>(queue_for(get_of_memory<cl_context>(memory, kMemContext)), memory, bytes, offset);
  }

  std::unique_ptr<DeviceTransfer> start_upload(DeviceBlock& block, std::size_t offset,
                                               std::span<const std::byte> source) override {
    const auto& ours = static_cast<Block&>(block);
    return ours.queue->write(ours.memory, ours.offset + offset, source);
  }

  void run_download(DeviceBlock& block, std::size_t offset, std::span<std::byte> out) override {
    const auto& ours = static_cast<Block&>(block);
    ours.queue->read(ours.memory, ours.offset + offset, out);
  }

 private:
  template <class Value>
  Value get_of_memory(cl_mem memory, cl_uint what) const {
    Value value{};
    const cl_int result = api_->get_memory_info(memory, what, sizeof value, &value, nullptr);
    if (result == kSuccess) return value;
    throw Error(ErrorCode::invalid_argument, "memory to wrap is no cl_mem: " + name_of_result(result), {.file = name_});
  }

  void check_size(std::size_t bytes) const {
    if (bytes <= properties_.memory.largest) return;
    throw Error(
        ErrorCode::no_space, "a buffer is larger than the driver allows",
        {.file = name_,
         .expected = "at most " + std::to_string(properties_.memory.largest) + " bytes (CL_DEVICE_MAX_MEM_ALLOC_SIZE)",
         .found = std::to_string(bytes) + " bytes"});
  }

  // Memory can be used by queues of its own context only. Whoever wraps memory of a context keeps its queue; the last
  // buffer that goes takes it along, so that the context isn't kept from its owner.
  std::shared_ptr<Queue> queue_for(cl_context context) {
    if (context == queue_->context()) return queue_;
    const std::lock_guard lock(mutex_);
    std::erase_if(others_, [](const auto& other) { return other.second.expired(); });
    std::weak_ptr<Queue>& place = others_[context];
    if (auto queue = place.lock()) return queue;
    check_context(context);
    auto queue = std::make_shared<Queue>(api_, context, device_, name_);
    place = queue;
    return queue;
  }

  void check_context(cl_context context) const {
    std::size_t bytes = 0;
    cl_int result = api_->get_context_info(context, kContextDevices, 0, nullptr, &bytes);
    std::vector<cl_device_id> devices(bytes / sizeof(cl_device_id));
    if (result == kSuccess) result = api_->get_context_info(context, kContextDevices, bytes, devices.data(), nullptr);
    if (result != kSuccess) throw failed(name_, "clGetContextInfo", result, 0);
    if (std::find(devices.begin(), devices.end(), device_) != devices.end()) return;
    throw Error(ErrorCode::invalid_argument, "memory to wrap is of a context without this device", {.file = name_});
  }

  std::vector<std::shared_ptr<Queue>> queues_of_others() {
    std::vector<std::shared_ptr<Queue>> alive;
    const std::lock_guard lock(mutex_);
    for (const auto& [context, place] : others_) {
      if (auto queue = place.lock()) alive.push_back(std::move(queue));
    }
    return alive;
  }

  const std::shared_ptr<const Api> api_;
  const cl_device_id device_;
  const std::string name_;
  const unsigned index_;
  const Properties properties_;
  std::shared_ptr<Queue> queue_;
  std::mutex mutex_;
  std::map<cl_context, std::weak_ptr<Queue>> others_;  // an expired one may be another context by now
};

}  // namespace

Properties look_at(const Api& api, cl_device_id device, const std::string& name) {
  Properties properties;
  properties.description = get_text(api, device, kDeviceName, name);
  properties.memory.total = get<cl_ulong>(api, device, kDeviceGlobalMemSize, name);
  properties.memory.largest = get<cl_ulong>(api, device, kDeviceMaxMemAllocSize, name);
  properties.alignment = get<cl_uint>(api, device, kDeviceMemBaseAddrAlign, name) / 8;
  return properties;
}

std::shared_ptr<Device> open(std::shared_ptr<const Api> api, cl_device_id device, const std::string& name,
                             unsigned index) {
  return std::make_shared<OpenCLDevice>(std::move(api), device, name, index);
}

}  // namespace headrace::device::opencl
