#include "device/cuda/device.hpp"
#include "device/errors.hpp"

#include <mutex>
#include <utility>

namespace headrace::device::cuda {
namespace {

using ContextPtr = std::shared_ptr<const Context>;

// cuMemAlloc's promise.
constexpr std::size_t kAlignment = 256;
constexpr int kDLPackManaged = 13;  // kDLCUDAManaged

// A mark in a stream, reached when what was queued before it is done.
class Event {
 public:
  explicit Event(ContextPtr context) : context_(std::move(context)) {
    const Context::Use use(*context_);
    context_->check("cuEventCreate", api().event_create(&event_, kEventBlockingSync | kEventDisableTiming));
  }
  ~Event() {
    context_->release([this] { api().event_destroy(event_); });
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  CUevent get() const noexcept { return event_; }

  bool reached() const {
    const Context::Use use(*context_);
    const CUresult result = api().event_query(event_);
    if (result == kNotReady) return false;
    context_->check("an upload", result);
    return true;
  }
  void wait() const {
    const Context::Use use(*context_);
    context_->check("an upload", api().event_synchronize(event_));
  }
  void wait_quietly() const noexcept {
    context_->release([this] { api().event_synchronize(event_); });
  }

 private:
  const Api& api() const noexcept { return context_->api(); }
  ContextPtr context_;
  CUevent event_ = nullptr;
};

// Uploads and downloads, in the order of the calls. It doesn't wait for the default stream, where a program computes,
// nor that for it: layers arrive while others are at work.
class Stream {
 public:
  explicit Stream(ContextPtr context) : context_(std::move(context)) {
    const Context::Use use(*context_);
    context_->check("cuStreamCreate", api().stream_create(&stream_, kStreamNonBlocking));
  }
  ~Stream() {
    context_->release([this] { api().stream_destroy(stream_); });
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  std::shared_ptr<Event> upload(CUdeviceptr to, std::span<const std::byte> source) {
    auto event = std::make_shared<Event>(context_);  // first: nothing may fail between the copy and its mark
    const Context::Use use(*context_);
    context_->check("cuMemcpyHtoDAsync", api().copy_to_device(to, source.data(), source.size(), stream_));
    const CUresult recorded = api().event_record(event->get(), stream_);
    if (recorded != kSuccess) {
      api().stream_synchronize(stream_);  // the source must be free when this throws
      context_->check("cuEventRecord", recorded);
    }
    return event;
  }

  void download(CUdeviceptr from, std::span<std::byte> out) {
    const Context::Use use(*context_);
    const CUresult result = api().copy_to_host(out.data(), from, out.size(), stream_);
    const CUresult synchronized = api().stream_synchronize(stream_);  // in any case: `out` is the caller's again
    context_->check("cuMemcpyDtoHAsync", result);
    context_->check("cuStreamSynchronize", synchronized);
  }

  void synchronize() {
    const Context::Use use(*context_);
    context_->check("cuStreamSynchronize", api().stream_synchronize(stream_));
  }

 private:
  const Api& api() const noexcept { return context_->api(); }
  ContextPtr context_;
  CUstream stream_ = nullptr;
};

class Transfer final : public DeviceTransfer {
 public:
  bool done() const override { return event->reached(); }
  void wait() const override { event->wait(); }

  std::shared_ptr<Event> event;
};

// Device memory, ours or the caller's.
struct Block : DeviceBlock {
  Block(CUdeviceptr at, std::size_t size) {
    handle = at;
    bytes = size;
  }
};

struct OwnBlock final : Block {
  OwnBlock(ContextPtr of, std::size_t size) : Block(0, size), context(std::move(of)) {
    const Context::Use use(*context);
    CUdeviceptr at = 0;
    context->check_allocation("cuMemAlloc", context->api().memory_allocate(&at, size), "memory", size);
    handle = at;
  }
  ~OwnBlock() override {
    if (last) last->wait_quietly();
    context->release([this] { context->api().memory_free(handle); });
  }

  ContextPtr context;
  std::mutex mutex;             // held while an upload is queued, so that the last is the last
  std::shared_ptr<Event> last;  // of the latest upload: reached after all others
};

struct StagingBlock final : DeviceBlock {
  StagingBlock(ContextPtr of, std::size_t size) : context(std::move(of)) {
    const Context::Use use(*context);
    void* at = nullptr;
    context->check_allocation("cuMemHostAlloc", context->api().host_allocate(&at, size, kHostAllocPortable),
                              "memory of the host that can be page-locked", size);
    host = static_cast<std::byte*>(at);
    bytes = size;
  }
  ~StagingBlock() override {
    context->release([this] { context->api().host_free(host); });
  }

  ContextPtr context;
};

class CudaDevice final : public Device {
 public:
  CudaDevice(ContextPtr context, std::string description, unsigned index)
      : context_(std::move(context)), description_(std::move(description)), index_(index), stream_(context_) {}

  const std::string& name() const noexcept override { return context_->name(); }
  const std::string& description() const noexcept override { return description_; }
  DeviceKind kind() const noexcept override { return DeviceKind::cuda; }
  DLPackDevice dlpack() const noexcept override { return {.type = 2, .id = static_cast<int>(index_)}; }
  DeviceMemory memory() const override { return context_->memory(); }
  std::size_t alignment() const noexcept override { return kAlignment; }
  void synchronize() override { stream_.synchronize(); }

 protected:
  std::unique_ptr<DeviceBlock> make_block(std::size_t bytes) override {
    return std::make_unique<OwnBlock>(context_, bytes);
  }
  std::unique_ptr<DeviceBlock> make_staging(std::size_t bytes) override {
    return std::make_unique<StagingBlock>(context_, bytes);
  }

  // A wrong address would be found by the first copy only, and take the whole context with it.
  std::unique_ptr<DeviceBlock> wrap_block(std::uintptr_t handle, std::size_t bytes, std::size_t offset) override {
    const CUdeviceptr first = handle + offset;
    for (const CUdeviceptr at : {first, first + (bytes - 1)}) {
      const Context::Use use(*context_);
      int ordinal = -1;
      const CUresult result = context_->api().pointer_attribute(&ordinal, kPointerDeviceOrdinal, at);
      if (at < handle || result != kSuccess) {
        throw Error(ErrorCode::invalid_argument, "memory to wrap isn't CUDA's", {.file = name()});
      }
      if (ordinal != static_cast<int>(index_)) {
        throw Error(ErrorCode::invalid_argument, "memory to wrap is on another device",
                    {.file = name(), .found = "cuda:" + std::to_string(ordinal)});
      }
    }
    return std::make_unique<Block>(first, bytes);
  }

  std::unique_ptr<DeviceTransfer> start_upload(DeviceBlock& block, std::size_t offset,
                                               std::span<const std::byte> source) override {
    auto transfer = std::make_unique<Transfer>();
    if (auto* own = dynamic_cast<OwnBlock*>(&block)) {
      const std::lock_guard lock(own->mutex);
      transfer->event = own->last = stream_.upload(own->handle + offset, source);
    } else {
      transfer->event = stream_.upload(block.handle + offset, source);
    }
    return transfer;
  }
  void run_download(DeviceBlock& block, std::size_t offset, std::span<std::byte> out) override {
    stream_.download(block.handle + offset, out);
  }

  bool holds(DLPackDevice where) const noexcept override {
    return (where.type == dlpack().type || where.type == kDLPackManaged) && where.id == dlpack().id;
  }

 private:
  const ContextPtr context_;
  const std::string description_;
  const unsigned index_;
  Stream stream_;
};

}  // namespace

std::shared_ptr<Device> open(ContextPtr context, std::string description, unsigned index) {
  return std::make_shared<CudaDevice>(std::move(context), std::move(description), index);
}

}  // namespace headrace::device::cuda
