// What all devices do alike: check what is asked for, and look after what they hand out.
#include <headrace/device.hpp>
#include <headrace/error.hpp>

namespace headrace {

const char* to_string(DeviceKind kind) noexcept {
  switch (kind) {
    case DeviceKind::host: return "host";
    case DeviceKind::opencl: return "opencl";
    case DeviceKind::cuda: return "cuda";
  }
  return "unknown";
}

DeviceBlock::~DeviceBlock() = default;
DeviceTransfer::~DeviceTransfer() = default;

Buffer::Buffer() noexcept = default;
Buffer::Buffer(std::shared_ptr<Device> device, std::unique_ptr<DeviceBlock> block) noexcept
    : device_(std::move(device)), block_(std::move(block)) {}
Buffer::~Buffer() = default;
Buffer::Buffer(Buffer&& other) noexcept = default;
Buffer& Buffer::operator=(Buffer&& other) noexcept {
  block_ = std::move(other.block_);  // what was here needs its own device to go
  device_ = std::move(other.device_);
  return *this;
}

std::size_t Buffer::bytes() const noexcept { return block_ ? block_->bytes : 0; }
std::uintptr_t Buffer::handle() const noexcept { return block_ ? block_->handle : 0; }
std::size_t Buffer::offset() const noexcept { return block_ ? block_->offset : 0; }
bool Buffer::owned() const noexcept { return !block_ || block_->owned; }
std::span<std::byte> Buffer::host_bytes() const noexcept {
  if (!block_ || block_->host == nullptr) return {};
  return {block_->host, block_->bytes};
}

Staging::Staging() noexcept = default;
Staging::Staging(std::shared_ptr<Device> device, std::unique_ptr<DeviceBlock> block) noexcept
    : device_(std::move(device)), block_(std::move(block)) {}
Staging::~Staging() = default;
Staging::Staging(Staging&& other) noexcept = default;
Staging& Staging::operator=(Staging&& other) noexcept {
  block_ = std::move(other.block_);
  device_ = std::move(other.device_);
  return *this;
}

std::span<std::byte> Staging::bytes() const noexcept {
  if (!block_) return {};
  return {block_->host, block_->bytes};
}

Upload::Upload() noexcept = default;
Upload::Upload(std::shared_ptr<Device> device, std::unique_ptr<DeviceTransfer> transfer) noexcept
    : device_(std::move(device)), transfer_(std::move(transfer)) {}
Upload::~Upload() { settle(); }
Upload::Upload(Upload&& other) noexcept = default;
Upload& Upload::operator=(Upload&& other) noexcept {
  if (this == &other) return *this;
  settle();
  transfer_ = std::move(other.transfer_);
  device_ = std::move(other.device_);
  return *this;
}

// Whoever lets go of an upload without waiting has an error of its own by now, or doesn't want to know.
void Upload::settle() noexcept {
  if (!transfer_) return;
  try {
    transfer_->wait();
  } catch (const std::exception&) {
    // The driver has ended the copy: the source is free, which is all that is promised here.
  }
}

bool Upload::done() const { return !transfer_ || transfer_->done(); }
void Upload::wait() const {
  if (transfer_) transfer_->wait();
}

Device::Device() noexcept = default;
Device::~Device() = default;

Buffer Device::allocate(std::size_t bytes) {
  return {shared_from_this(), bytes == 0 ? std::make_unique<DeviceBlock>() : make_block(bytes)};
}

Buffer Device::wrap(std::uintptr_t handle, std::size_t bytes, std::size_t offset, std::shared_ptr<const void> owner) {
  std::size_t end = 0;
  if (__builtin_add_overflow(offset, bytes, &end)) {
    throw Error(ErrorCode::invalid_argument, "memory to wrap ends beyond the address space", {.file = name()});
  }
  if (bytes == 0) {
    auto nothing = std::make_unique<DeviceBlock>();
    nothing->owned = owner != nullptr;
    nothing->owner = std::move(owner);
    return {shared_from_this(), std::move(nothing)};
  }
  if (handle == 0) throw Error(ErrorCode::invalid_argument, "memory to wrap has no address", {.file = name()});
  auto block = wrap_block(handle, bytes, offset);
  block->owned = owner != nullptr;
  block->owner = std::move(owner);
  return {shared_from_this(), std::move(block)};
}

Buffer Device::wrap(DLPackDevice where, const void* data, std::uint64_t byte_offset, std::size_t bytes) {
  if (!holds(where)) {
    const auto text = [](DLPackDevice device) {
      return "DLPack device type " + std::to_string(device.type) + ", id " + std::to_string(device.id);
    };
    throw Error(ErrorCode::invalid_argument, "the tensor isn't on this device",
                {.file = name(), .expected = text(dlpack()), .found = text(where)});
  }
  return wrap(reinterpret_cast<std::uintptr_t>(data), bytes, byte_offset);
}

bool Device::holds(DLPackDevice where) const noexcept {
  const DLPackDevice here = dlpack();
  return where.type == here.type && where.id == here.id;
}

Staging Device::staging(std::size_t bytes) {
  return {shared_from_this(), bytes == 0 ? std::make_unique<DeviceBlock>() : make_staging(bytes)};
}

void Device::check_range(const Buffer& buffer, std::size_t offset, std::size_t bytes, const char* what) const {
  if (buffer.device_.get() != this) {
    throw Error(ErrorCode::invalid_argument, std::string("a buffer to ") + what + " is of another device",
                {.file = name(), .found = buffer.device_ ? buffer.device_->name() : "none"});
  }
  if (offset <= buffer.bytes() && bytes <= buffer.bytes() - offset) return;
  throw Error(ErrorCode::invalid_argument, std::string("a range to ") + what + " isn't within its buffer",
              {.file = name(),
               .expected = "at most " + std::to_string(buffer.bytes()) + " bytes",
               .found = std::to_string(bytes) + " bytes from " + std::to_string(offset)});
}

Upload Device::upload(Buffer& buffer, std::size_t offset, std::span<const std::byte> source) {
  check_range(buffer, offset, source.size(), "upload to");
  if (source.empty()) return {};
  auto transfer = start_upload(*buffer.block_, offset, source);
  if (!transfer) return {};
  return {shared_from_this(), std::move(transfer)};
}

void Device::download(const Buffer& buffer, std::size_t offset, std::span<std::byte> out) {
  check_range(buffer, offset, out.size(), "download from");
  if (!out.empty()) run_download(*buffer.block_, offset, out);
}

}  // namespace headrace
