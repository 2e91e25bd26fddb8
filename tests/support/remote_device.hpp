// RemoteDevice: memory that the processor can't see, filled as late as a device may: when somebody waits for it.
#pragma once

#include <headrace/device.hpp>
#include <headrace/error.hpp>

#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace headrace::test {

/// Says that it is of OpenCL's kind. Who reuses a source before its upload is over sees wrong bytes.
class RemoteDevice final : public Device {
 public:
  enum class Keeps { bytes, nothing };  // nothing: for models that are larger than a test may be

  explicit RemoteDevice(Keeps keeps = Keeps::bytes) : keeps_(keeps) {}

  const std::string& name() const noexcept override { return name_; }
  const std::string& description() const noexcept override { return name_; }
  DeviceKind kind() const noexcept override { return DeviceKind::opencl; }
  DLPackDevice dlpack() const noexcept override { return {4, 7}; }
  std::size_t alignment() const noexcept override { return 256; }
  void synchronize() override {}
  DeviceMemory memory() const override { return {.total = total, .free = free_bytes, .largest = largest}; }

  std::uint64_t total = std::uint64_t{1} << 40, largest = std::uint64_t{1} << 40;
  std::optional<std::uint64_t> free_bytes = {};

 protected:
  std::unique_ptr<DeviceBlock> make_block(std::size_t bytes) override {
    auto block = std::make_unique<Block>();
    if (keeps_ == Keeps::bytes) block->memory->resize(bytes);
    block->handle = ++handles_;
    block->bytes = bytes;
    return block;
  }
  std::unique_ptr<DeviceBlock> wrap_block(std::uintptr_t handle, std::size_t bytes, std::size_t offset) override {
    auto block = make_block(bytes);
    block->handle = handle;
    block->offset = offset;
    return block;
  }
  std::unique_ptr<DeviceBlock> make_staging(std::size_t bytes) override {
    auto block = std::make_unique<Block>();
    block->memory->resize(bytes);
    block->host = block->memory->data();
    block->bytes = bytes;
    return block;
  }
  std::unique_ptr<DeviceTransfer> start_upload(DeviceBlock& block, std::size_t offset,
                                               std::span<const std::byte> source) override {
    if (keeps_ == Keeps::nothing) return nullptr;
    return std::make_unique<Transfer>(static_cast<Block&>(block).memory, offset, source);
  }
  void run_download(DeviceBlock& block, std::size_t offset, std::span<std::byte> out) override {
    std::memcpy(out.data(), static_cast<Block&>(block).memory->data() + offset, out.size());
  }

 private:
  struct Block final : DeviceBlock {
    std::shared_ptr<std::vector<std::byte>> memory = std::make_shared<std::vector<std::byte>>();
  };

  class Transfer final : public DeviceTransfer {
   public:
    Transfer(std::shared_ptr<std::vector<std::byte>> memory, std::size_t offset, std::span<const std::byte> source)
        : memory_(std::move(memory)), offset_(offset), source_(source) {}
    bool done() const override { return source_.empty(); }
    void wait() const override {
      if (source_.empty()) return;
      std::memcpy(memory_->data() + offset_, source_.data(), source_.size());
      source_ = {};
    }

   private:
    std::shared_ptr<std::vector<std::byte>> memory_;
    std::size_t offset_;
    mutable std::span<const std::byte> source_;
  };

  const Keeps keeps_;
  const std::string name_ = "remote:0";
  std::atomic<std::uintptr_t> handles_{0};
};

}  // namespace headrace::test
