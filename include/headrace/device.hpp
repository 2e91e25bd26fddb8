// Devices: memory that tensors are moved to. The host's own, OpenCL's and CUDA's behind one interface.
//
// Drivers are loaded when a device is first asked for, and need not be there when Headrace is built: one binary runs
// with and without them.
// Thread-safety: every member of Device from any thread at any time; of the others, const members from any threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headrace {

enum class DeviceKind : std::uint8_t { host, opencl, cuda };

/// "host", "opencl", "cuda". Static storage.
const char* to_string(DeviceKind kind) noexcept;

/// Bytes of a device's memory.
struct DeviceMemory {
  std::uint64_t total = 0;
  std::optional<std::uint64_t> free = {};  ///< nothing where the driver can't say (OpenCL)
  std::uint64_t largest = 0;               ///< what one buffer may have at most
};

struct DeviceInfo {
  std::string name;  ///< "host", "opencl:0", "cuda:0"
  DeviceKind kind = DeviceKind::host;
  std::string description;  ///< "NVIDIA H100 80GB HBM3", as the driver says it
  DeviceMemory memory = {};
};

/// How DLPack says where memory is: kDLCPU is 1, kDLCUDA 2, kDLCUDAHost 3, kDLOpenCL 4, kDLCUDAManaged 13.
struct DLPackDevice {
  int type = 1;
  int id = 0;
};

/// What implements a buffer, a piece of staging memory and an upload; of interest to who writes a Device.
struct DeviceBlock;
class DeviceTransfer;
class Device;

/// Memory on a device: freed there when the buffer goes, unless it wraps memory of the caller's, which it only names.
/// It may go while uploads to it are under way. Keeps its device open. Movable, not copyable; a default-constructed or
/// moved-from buffer has no device and 0 bytes.
class Buffer {
 public:
  Buffer() noexcept;
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  std::size_t bytes() const noexcept;
  /// What the driver knows it by: an address (host), a CUdeviceptr, a cl_mem. 0 when it has 0 bytes.
  std::uintptr_t handle() const noexcept;
  /// Where its bytes begin, from `handle` on: not 0 only for part of a caller's cl_mem.
  std::size_t offset() const noexcept;
  /// The bytes themselves where the processor may read and write them in place, as on the host: a loader reads straight
  /// into them. Empty elsewhere.
  std::span<std::byte> host_bytes() const noexcept;
  /// False when it wraps the caller's memory and doesn't keep it.
  bool owned() const noexcept;
  const std::shared_ptr<Device>& device() const noexcept { return device_; }

 private:
  friend class Device;
  Buffer(std::shared_ptr<Device> device, std::unique_ptr<DeviceBlock> block) noexcept;
  std::shared_ptr<Device> device_;  // before the block, so that it goes after it
  std::unique_ptr<DeviceBlock> block_;
};

/// Host memory, aligned to a page, from which uploads to its device are fastest (CUDA: page-locked, so that they are
/// asynchronous at all). Costly to make: make few and use them again. Must outlive the uploads from it. Movable.
class Staging {
 public:
  Staging() noexcept;
  ~Staging();
  Staging(Staging&& other) noexcept;
  Staging& operator=(Staging&& other) noexcept;

  std::span<std::byte> bytes() const noexcept;

 private:
  friend class Device;
  Staging(std::shared_ptr<Device> device, std::unique_ptr<DeviceBlock> block) noexcept;
  std::shared_ptr<Device> device_;
  std::unique_ptr<DeviceBlock> block_;
};

/// An upload under way. Its source must stay as it is until `done` says true or `wait` returns. Who drops it waits for
/// it: in a ring of staging memory, declare it after the memory. Movable; a default-constructed one is done.
class [[nodiscard]] Upload {
 public:
  Upload() noexcept;
  ~Upload();
  Upload(Upload&& other) noexcept;
  Upload& operator=(Upload&& other) noexcept;  ///< waits for the one it replaces

  /// Whether the bytes have arrived; never waits. Throws Error as `wait` does.
  bool done() const;
  /// Returns when the bytes have arrived. Throws Error: io (the driver says they won't), no_space (a driver that finds
  /// memory only now has none).
  void wait() const;

 private:
  friend class Device;
  Upload(std::shared_ptr<Device> device, std::unique_ptr<DeviceTransfer> transfer) noexcept;
  void settle() noexcept;
  std::shared_ptr<Device> device_;
  std::unique_ptr<DeviceTransfer> transfer_;
};

/// One device. Always owned by shared_ptr: buffers, staging memory and uploads keep it open.
/// Errors: io (the driver failed: its call, its code), no_space (not enough memory; the device is as usable as
/// before), invalid_argument (a range or a handle that isn't there, a buffer of another device); `file` is the device.
class Device : public std::enable_shared_from_this<Device> {
 public:
  virtual ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  virtual const std::string& name() const noexcept = 0;
  virtual const std::string& description() const noexcept = 0;
  virtual DeviceKind kind() const noexcept = 0;
  virtual DLPackDevice dlpack() const noexcept = 0;
  virtual DeviceMemory memory() const = 0;
  /// Every buffer begins at a multiple of this, in bytes; a power of two, at least 64.
  virtual std::size_t alignment() const noexcept = 0;

  /// New memory, whose contents are undefined. OpenCL drivers may find it only when it is first uploaded to.
  Buffer allocate(std::size_t bytes);
  /// Memory that the caller owns, from `offset` bytes after `handle` on: what Buffer::handle says of each kind. It must
  /// outlive the buffer and the uploads to it. Work on it that the owner has queued elsewhere must be over before it is
  /// uploaded to, and may be queued again once the uploads have been waited for. A cl_mem may be of any context that
  /// has this device.
  /// `owner`, if given, is kept as long as the buffer lives.
  Buffer wrap(std::uintptr_t handle, std::size_t bytes, std::size_t offset = 0, std::shared_ptr<const void> owner = {});
  /// The memory of a DLPack tensor: `data` and `byte_offset` are its fields, `bytes` what its elements take, lying
  /// without gaps. Throws Error(invalid_argument) when it isn't on this device.
  Buffer wrap(DLPackDevice where, const void* data, std::uint64_t byte_offset, std::size_t bytes);
  /// Host memory to upload from.
  Staging staging(std::size_t bytes);

  /// Starts to copy `source` (any memory of the host) to `offset` of the buffer. Uploads to parts that overlap arrive
  /// in the order of the calls.
  Upload upload(Buffer& buffer, std::size_t offset, std::span<const std::byte> source);
  /// Copies from `offset` of the buffer to `out`, and returns when that is done. Sees every upload that was started
  /// before it.
  void download(const Buffer& buffer, std::size_t offset, std::span<std::byte> out);
  /// Returns when all that was started before is done. A failed upload is its own to report.
  virtual void synchronize() = 0;

 protected:
  Device() noexcept;
  // What a device has to do; arguments are checked, and never of 0 bytes.
  virtual std::unique_ptr<DeviceBlock> make_block(std::size_t bytes) = 0;
  virtual std::unique_ptr<DeviceBlock> wrap_block(std::uintptr_t handle, std::size_t bytes, std::size_t offset) = 0;
  virtual std::unique_ptr<DeviceBlock> make_staging(std::size_t bytes) = 0;
  /// Null when it is done already.
  virtual std::unique_ptr<DeviceTransfer> start_upload(DeviceBlock& block, std::size_t offset,
                                                       std::span<const std::byte> source) = 0;
  virtual void run_download(DeviceBlock& block, std::size_t offset, std::span<std::byte> out) = 0;
  /// Whether wrap may take what DLPack says is `where`.
  virtual bool holds(DLPackDevice where) const noexcept;

 private:
  void check_range(const Buffer& buffer, std::size_t offset, std::size_t bytes, const char* what) const;
};

/// Memory a device has handed out; the destructor gives it back, or lets it be if it is the caller's.
struct DeviceBlock {
  DeviceBlock() = default;
  virtual ~DeviceBlock();
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;

  std::uintptr_t handle = 0;
  std::size_t bytes = 0;
  std::size_t offset = 0;
  std::byte* host = nullptr;  ///< where the processor finds it, if it can
  bool owned = true;
  std::shared_ptr<const void> owner = {};  ///< of its memory, where something has to be kept for it
};

/// A copy under way.
class DeviceTransfer {
 public:
  DeviceTransfer() = default;
  virtual ~DeviceTransfer();
  DeviceTransfer(const DeviceTransfer&) = delete;
  DeviceTransfer& operator=(const DeviceTransfer&) = delete;

  virtual bool done() const = 0;
  virtual void wait() const = 0;  ///< may be called again
};

/// The devices of this machine: "host" first, then "opencl:0", …, "cuda:0", …. Loads the drivers there are; those that
/// can't be used are left out, and devices that can't say what they are. To learn how much of a CUDA device is free,
/// its context is opened for a moment.
std::vector<DeviceInfo> list_devices();

/// "host" or "cpu"; "opencl:0", …; "cuda:0", …; "opencl" and "cuda" alone mean the first. One that is open already is
/// given again. Throws Error: invalid_argument (no such name: the message lists those there are), unsupported (this
/// machine has no such device, or its driver can't be used: why is in the message), io.
std::shared_ptr<Device> open_device(std::string_view name);

}  // namespace headrace
