// CountingDevice: a device over another one that knows what is allocated and freed, and can fail on demand.
#pragma once

#include <headrace/device.hpp>
#include <headrace/error.hpp>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <utility>

namespace headrace::test {

class CountingDevice final : public Device {
 public:
  struct Counts {
    std::size_t buffers = 0, bytes = 0, high_water = 0;    // alive; the most bytes at once
    std::size_t allocated = 0, freed = 0, wrapped = 0;     // buffers, so far
    std::size_t staging = 0, staging_bytes = 0;            // alive
    std::size_t uploads = 0, uploaded = 0, in_flight = 0;  // so far, their bytes; alive
    std::size_t downloads = 0;
  };

  explicit CountingDevice(std::shared_ptr<Device> under) : under_(std::move(under)) {}
  ~CountingDevice() override {
    // Whoever holds something of a device holds the device: what goes after it would count in memory that is gone.
    if (counts_.buffers + counts_.staging + counts_.in_flight != 0) std::abort();
  }

  Counts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }
  /// The n-th allocation (upload) from now on fails, with Error(no_space) (Error(io)); 1 is the next.
  void fail_allocation(std::size_t n) { set(allocations_left_, n); }
  void fail_upload(std::size_t n) { set(uploads_left_, n); }
  /// Allocations beyond this many bytes at once fail, with Error(no_space).
  void limit(std::size_t bytes) { set(limit_, bytes); }

  const std::string& name() const noexcept override { return under_->name(); }
  const std::string& description() const noexcept override { return under_->description(); }
  DeviceKind kind() const noexcept override { return under_->kind(); }
  DLPackDevice dlpack() const noexcept override { return under_->dlpack(); }
  std::size_t alignment() const noexcept override { return under_->alignment(); }
  void synchronize() override { under_->synchronize(); }
  DeviceMemory memory() const override {
    DeviceMemory memory = under_->memory();
    const std::lock_guard lock(mutex_);
    if (limit_ != kUnlimited) memory = {.total = limit_, .free = limit_ - counts_.bytes, .largest = limit_};
    return memory;
  }

 protected:
  std::unique_ptr<DeviceBlock> make_block(std::size_t bytes) override {
    {
      const std::lock_guard lock(mutex_);
      const bool full = bytes > limit_ - std::min(limit_, counts_.bytes);
      if (full || fires(allocations_left_)) {
        throw Error(ErrorCode::no_space, "not enough memory", {.file = name(), .expected = std::to_string(bytes)});
      }
    }
    auto block = std::make_unique<Block>(*this, under_->allocate(bytes), Block::Use::buffer);
    const std::lock_guard lock(mutex_);
    ++counts_.buffers;
    ++counts_.allocated;
    counts_.bytes += bytes;
    counts_.high_water = std::max(counts_.high_water, counts_.bytes);
    return block;
  }

  std::unique_ptr<DeviceBlock> wrap_block(std::uintptr_t handle, std::size_t bytes, std::size_t offset) override {
    auto block = std::make_unique<Block>(*this, under_->wrap(handle, bytes, offset), Block::Use::wrapped);
    const std::lock_guard lock(mutex_);
    ++counts_.wrapped;
    return block;
  }

  std::unique_ptr<DeviceBlock> make_staging(std::size_t bytes) override {
    auto block = std::make_unique<StagingBlock>(*this, under_->staging(bytes));
    const std::lock_guard lock(mutex_);
    ++counts_.staging;
    counts_.staging_bytes += bytes;
    return block;
  }

  std::unique_ptr<DeviceTransfer> start_upload(DeviceBlock& block, std::size_t offset,
                                               std::span<const std::byte> source) override {
    {
      const std::lock_guard lock(mutex_);
      if (fires(uploads_left_)) throw Error(ErrorCode::io, "an upload that fails as asked", {.file = name()});
      ++counts_.uploads;
      ++counts_.in_flight;
      counts_.uploaded += source.size();
    }
    return std::make_unique<Transfer>(*this, under_->upload(static_cast<Block&>(block).under, offset, source));
  }

  void run_download(DeviceBlock& block, std::size_t offset, std::span<std::byte> out) override {
    {
      const std::lock_guard lock(mutex_);
      ++counts_.downloads;
    }
    under_->download(static_cast<Block&>(block).under, offset, out);
  }

 private:
  static constexpr std::size_t kUnlimited = static_cast<std::size_t>(-1);

  struct Block final : DeviceBlock {
    enum class Use { buffer, wrapped };
    Block(CountingDevice& device, Buffer buffer, Use usage) : owner(device), under(std::move(buffer)), use(usage) {
      handle = under.handle();
      bytes = under.bytes();
      offset = under.offset();
      host = under.host_bytes().data();
    }
    ~Block() override {
      if (use == Use::wrapped) return;
      const std::lock_guard lock(owner.mutex_);
      --owner.counts_.buffers;
      ++owner.counts_.freed;
      owner.counts_.bytes -= bytes;
    }
    CountingDevice& owner;
    Buffer under;
    Use use;
  };

  struct StagingBlock final : DeviceBlock {
    StagingBlock(CountingDevice& device, Staging staging) : owner(device), under(std::move(staging)) {
      host = under.bytes().data();
      bytes = under.bytes().size();
    }
    ~StagingBlock() override {
      const std::lock_guard lock(owner.mutex_);
      --owner.counts_.staging;
      owner.counts_.staging_bytes -= bytes;
    }
    CountingDevice& owner;
    Staging under;
  };

  class Transfer final : public DeviceTransfer {
   public:
    Transfer(CountingDevice& owner, Upload upload) : owner_(owner), upload_(std::move(upload)) {}
    ~Transfer() override {
      const std::lock_guard lock(owner_.mutex_);
      --owner_.counts_.in_flight;
    }
    bool done() const override { return upload_.done(); }
    void wait() const override { upload_.wait(); }

   private:
    CountingDevice& owner_;
    Upload upload_;
  };

  void set(std::size_t& place, std::size_t value) {
    const std::lock_guard lock(mutex_);
    place = value;
  }
  // Counts down to the one that fails. Under the mutex.
  static bool fires(std::size_t& left) { return left != 0 && --left == 0; }

  const std::shared_ptr<Device> under_;
  mutable std::mutex mutex_;
  Counts counts_;
  std::size_t allocations_left_ = 0, uploads_left_ = 0;
  std::size_t limit_ = kUnlimited;
};

}  // namespace headrace::test
