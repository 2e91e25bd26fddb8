#include "device/host/device.hpp"
#include "device/errors.hpp"
#include "device/host/machine.hpp"
#include "device/host/pages.hpp"

#include <cstring>
#include <utility>

namespace headrace::device::host {
namespace {

// Tensors' rows are read with vectors of up to 64 bytes.
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kPage = 4096;

DeviceMemory memory_of_machine() {
  const Machine machine = look_at_machine();
  return {.total = machine.total_bytes, .free = machine.free_bytes, .largest = machine.total_bytes};
}

std::unique_ptr<DeviceBlock> make_block_of(const std::string& device, std::size_t bytes, std::size_t alignment) {
  auto memory = make_memory(bytes, alignment, true);
  if (memory == nullptr) throw out_of_memory(device, "memory", bytes, look_at_machine().free_bytes);
  auto block = std::make_unique<DeviceBlock>();
  block->host = memory.get();
  block->handle = reinterpret_cast<std::uintptr_t>(memory.get());
  block->bytes = bytes;
  block->owner = std::move(memory);
  return block;
}

class HostDevice final : public Device {
 public:
  const std::string& name() const noexcept override { return name_; }
  const std::string& description() const noexcept override { return description_; }
  DeviceKind kind() const noexcept override { return DeviceKind::host; }
  DLPackDevice dlpack() const noexcept override { return {.type = 1, .id = 0}; }
  DeviceMemory memory() const override { return memory_of_machine(); }
  std::size_t alignment() const noexcept override { return kAlignment; }
  void synchronize() override {}

 protected:
  std::unique_ptr<DeviceBlock> make_block(std::size_t bytes) override {
    return make_block_of(name_, bytes, kAlignment);
  }
  std::unique_ptr<DeviceBlock> make_staging(std::size_t bytes) override { return make_pages(name_, bytes); }

  std::unique_ptr<DeviceBlock> wrap_block(std::uintptr_t handle, std::size_t bytes, std::size_t offset) override {
    auto block = std::make_unique<DeviceBlock>();
    if (__builtin_add_overflow(handle, offset, &block->handle)) {
      throw Error(ErrorCode::invalid_argument, "memory to wrap ends beyond the address space", {.file = name_});
    }
    block->host = reinterpret_cast<std::byte*>(block->handle);
    block->bytes = bytes;
    return block;
  }

  std::unique_ptr<DeviceTransfer> start_upload(DeviceBlock& block, std::size_t offset,
                                               std::span<const std::byte> source) override {
    std::memmove(block.host + offset, source.data(), source.size());  // the source may be the buffer itself
    return nullptr;
  }
  void run_download(DeviceBlock& block, std::size_t offset, std::span<std::byte> out) override {
    std::memmove(out.data(), block.host + offset, out.size());
  }

  // Page-locked memory of a CUDA program is the host's too.
  bool holds(DLPackDevice where) const noexcept override { return where.type == 1 || where.type == 3; }

 private:
  const std::string name_ = "host";
  const std::string description_ = processor_name();
};

class HostDriver final : public Driver {
 public:
  DeviceKind kind() const noexcept override { return DeviceKind::host; }
  unsigned count() const noexcept override { return 1; }
  std::string problem() const override { return {}; }
  std::string hint() const override { return {}; }
  DeviceInfo info(unsigned) const override {
    return {.name = "host", .kind = DeviceKind::host, .description = processor_name(), .memory = memory_of_machine()};
  }
  std::shared_ptr<Device> open(unsigned) const override { return std::make_shared<HostDevice>(); }
};

}  // namespace

std::unique_ptr<DeviceBlock> make_pages(const std::string& device, std::size_t bytes) {
  return make_block_of(device, bytes, kPage);
}

const Driver& driver() {
  static const HostDriver kDriver;
  return kDriver;
}

}  // namespace headrace::device::host
