#include "device/opencl/queue.hpp"
#include "device/errors.hpp"

#include <utility>

namespace headrace::device::opencl {
namespace {

class Write final : public DeviceTransfer {
 public:
  Write(std::shared_ptr<Queue> queue, std::size_t bytes) : queue_(std::move(queue)), bytes_(bytes) {}
  ~Write() override {
    if (event_ != nullptr) queue_->api().release_event(event_);
  }

  cl_event* event() noexcept { return &event_; }

  bool done() const override {
    const cl_int status = this->status();
    if (status < kComplete) throw failed(queue_->name(), "an upload", status, bytes_);
    return status == kComplete;
  }

  void wait() const override {
    const cl_int result = queue_->api().wait_for_events(1, &event_);
    if (result == kExecStatusError) throw failed(queue_->name(), "an upload", status(), bytes_);
    if (result != kSuccess) throw failed(queue_->name(), "clWaitForEvents", result, bytes_);
  }

 private:
  cl_int status() const {
    cl_int status = kComplete;
    const cl_int result =
        queue_->api().get_event_info(event_, kEventCommandExecutionStatus, sizeof status, &status, nullptr);
    if (result != kSuccess) throw failed(queue_->name(), "clGetEventInfo", result, bytes_);
    return status;
  }

  std::shared_ptr<Queue> queue_;
  std::size_t bytes_;
  cl_event event_ = nullptr;
};

}  // namespace

Error failed(const std::string& device, const std::string& call, cl_int result, std::size_t bytes) {
  switch (result) {
    case kMemObjectAllocationFailure:
    case kOutOfResources:
    case kOutOfHostMemory:
      return out_of_memory(device, "memory: " + call + " says " + name_of_result(result), bytes, std::nullopt);
    default: return call_failed(device, call, name_of_result(result));
  }
}

Queue::Queue(std::shared_ptr<const Api> api, cl_context context, cl_device_id device, std::string name)
    : api_(std::move(api)), context_(context), name_(std::move(name)) {
  cl_int result = kSuccess;
  queue_ = api_->create_queue(context, device, 0, &result);
  if (result != kSuccess) throw failed(name_, "clCreateCommandQueue", result, 0);
  api_->retain_context(context_);
}

Queue::~Queue() {
  api_->finish(queue_);
  api_->release_queue(queue_);
  api_->release_context(context_);
}

cl_mem Queue::create(cl_bitfield flags, std::size_t bytes) {
  cl_int result = kSuccess;
  cl_mem memory = api_->create_buffer(context_, flags, bytes, nullptr, &result);
  if (result != kSuccess) throw failed(name_, "clCreateBuffer", result, bytes);
  return memory;
}

std::unique_ptr<DeviceTransfer> Queue::write(cl_mem memory, std::size_t offset, std::span<const std::byte> source) {
  auto write = std::make_unique<Write>(shared_from_this(), source.size());  // nothing may fail once it is under way
  const cl_int result =
      api_->enqueue_write(queue_, memory, 0, offset, source.size(), source.data(), 0, nullptr, write->event());
  if (result != kSuccess) throw failed(name_, "clEnqueueWriteBuffer", result, source.size());
  // Without it a driver may leave the command where it is until somebody waits.
  if (const cl_int flushed = api_->flush(queue_); flushed != kSuccess) {
    api_->finish(queue_);  // the source must be free when this throws
    throw failed(name_, "clFlush", flushed, source.size());
  }
  return write;
}

void Queue::read(cl_mem memory, std::size_t offset, std::span<std::byte> out) {
  const cl_int result = api_->enqueue_read(queue_, memory, 1, offset, out.size(), out.data(), 0, nullptr, nullptr);
  if (result != kSuccess) throw failed(name_, "clEnqueueReadBuffer", result, out.size());
}

std::byte* Queue::map(cl_mem memory, std::size_t bytes) {
  cl_int result = kSuccess;
  void* at = api_->enqueue_map(queue_, memory, 1, kMapRead | kMapWrite, 0, bytes, 0, nullptr, nullptr, &result);
  if (result != kSuccess) throw failed(name_, "clEnqueueMapBuffer", result, bytes);
  return static_cast<std::byte*>(at);
}

void Queue::unmap(cl_mem memory, std::byte* mapped) noexcept {
  api_->enqueue_unmap(queue_, memory, mapped, 0, nullptr, nullptr);
  api_->finish(queue_);
}

void Queue::finish() {
  const cl_int result = api_->finish(queue_);
  if (result != kSuccess) throw failed(name_, "clFinish", result, 0);
}

}  // namespace headrace::device::opencl
