#include "flow/loading/destinations.hpp"

#include "device/errors.hpp"
#include "device/host/pages.hpp"
#include "format/printable.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <utility>

namespace headrace::flow {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::uint64_t kWorthShifting = std::uint64_t{1} << 20;

// At a multiple of what its elements are, which is what processors and programs want of an address.
bool begins_well(const TensorInfo& tensor, std::uintptr_t at, std::size_t alignment) {
  if (alignment != 0) return at % alignment == 0;
  const std::uint64_t size = info(tensor.dtype).block_bytes;
  const bool scalar = !is_block(tensor.dtype) && (size == 2 || size == 4 || size == 8);
  return !scalar || at % size == 0;
}

}  // namespace

Destinations::Destinations(const Plan::Impl& plan, std::shared_ptr<Device> device, const LoadOptions& options,
                           const HostFiles& files)
    : plan_(plan),
      device_(std::move(device)),
      host_(device_->kind() == DeviceKind::host ? device_ : open_device("host")),
      options_(options),
      files_(files),
      all_(plan.tensors.size()) {}

bool Destinations::stays_on_host(std::uint32_t tensor) const noexcept {
  return !on_host_device() && plan_.tensors[tensor].elements < options_.host_threshold;
}

Destinations::Destination& Destinations::of(std::uint32_t tensor) {
  const std::lock_guard lock(mutex_);
  Destination& destination = all_[tensor];
  if (destination.made) return destination;
  named(tensor, [&] { make(tensor, destination); });
  destination.missing = plan_.tensors[tensor].bytes;
  destination.made = true;
  return destination;
}

void Destinations::make(std::uint32_t tensor, Destination& destination) {
  const bool passes_host = !options_.stream_weights || stays_on_host(tensor);  // it isn't the device that it comes to
  if (!on_host_device() && !passes_host) {
    destination.buffer = on_device(tensor);
    if (options_.keep_host_copy) destination.host_copy = on_host(tensor);
    return;
  }
  if (on_host_device() && options_.allocate) destination.buffer = callers(tensor);
  if (!destination.buffer.device() && !map(tensor, destination)) destination.buffer = on_host(tensor);
}

Buffer Destinations::of_gathered(std::uint32_t tensor) {
  const std::lock_guard lock(mutex_);
  Buffer buffer;
  named(tensor, [&] { buffer = on_device(tensor); });
  return buffer;
}

// A device knows no tensors; its errors learn the name here.
template <class Make>
void Destinations::named(std::uint32_t tensor, const Make& make) const {
  try {
    make();
  } catch (const Error& error) {
    if (!error.detail().tensor.empty()) throw;
    ErrorDetail detail = error.detail();
    detail.tensor = format::printable(plan_.tensors[tensor].name);
    throw Error(error.code(), error.problem(), std::move(detail));
  }
}

// How far into a page a tensor shall begin, so that what is read directly lands in it without a copy.
std::size_t Destinations::shift_of(std::uint32_t tensor, std::size_t alignment) const {
  const TensorInfo& from = plan_.source_of(tensor);
  const io::File* file = plan_.file_of(tensor).file();
  const bool as_it_is = from.encoding == Encoding::plain && from.dtype == plan_.tensors[tensor].dtype;
  if (file == nullptr || !as_it_is || !files_.is_direct(*file) || from.bytes < kWorthShifting) return 0;
  return from.offset % alignment == 0 ? from.offset % kPage : 0;
}

Buffer Destinations::on_host(std::uint32_t tensor) const {
  const std::uint64_t bytes = plan_.tensors[tensor].bytes;
  const std::size_t alignment = std::max(options_.alignment, host_->alignment()), shift = shift_of(tensor, alignment);
  if (bytes == 0 || (shift == 0 && alignment == host_->alignment() && options_.huge_pages))
    return host_->allocate(bytes);
  auto memory =
      device::host::make_memory(bytes + shift, std::max(alignment, shift > 0 ? kPage : 0), options_.huge_pages);
  if (!memory) throw device::out_of_memory(host_->name(), "memory", bytes, host_->memory().free);
  const auto handle = reinterpret_cast<std::uintptr_t>(memory.get()) + shift;
  return host_->wrap(handle, bytes, 0, std::move(memory));
}

Buffer Destinations::on_device(std::uint32_t tensor) const {
  if (options_.allocate) {
    if (Buffer buffer = callers(tensor); buffer.device()) return buffer;
  }
  return device_->allocate(plan_.tensors[tensor].bytes);
}

Buffer Destinations::callers(std::uint32_t tensor) const {
  const TensorInfo& info = plan_.tensors[tensor];
  Buffer buffer = options_.allocate(info);
  if (!buffer.device()) return buffer;
  const bool here = buffer.device() == device_;
  if (here && buffer.bytes() == info.bytes) return buffer;
  throw Error(ErrorCode::invalid_argument, "the caller's buffer doesn't fit its tensor",
              {.file = device_->name(),
               .tensor = format::printable(info.name),
               .expected = std::to_string(info.bytes) + " bytes on " + device_->name(),
               .found = std::to_string(buffer.bytes()) + " bytes on " + buffer.device()->name()});
}

// The file's pages, where a tensor lies there as it shall be; empty where it doesn't.
std::span<std::byte> Destinations::pages_of(std::uint32_t tensor) const {
  const TensorInfo &from = plan_.source_of(tensor), &to = plan_.tensors[tensor];
  const io::File* file = plan_.file_of(tensor).file();
  if (file == nullptr || from.encoding != Encoding::plain || from.dtype != to.dtype || to.bytes == 0) return {};
  const auto mapping = files_.mapping(*file);
  if (!mapping) return {};
  const auto bytes = mapping->bytes().subspan(from.offset, to.bytes);
  return begins_well(to, reinterpret_cast<std::uintptr_t>(bytes.data()), options_.alignment) ? bytes
                                                                                             : std::span<std::byte>();
}

bool Destinations::is_ready(std::uint32_t tensor) const {
  if (!on_host_device() || options_.allocate) return false;
  return plan_.tensors[tensor].bytes == 0 ||
         (!pages_of(tensor).empty() && !files_.populates(*plan_.file_of(tensor).file()));
}

bool Destinations::map(std::uint32_t tensor, Destination& destination) {
  const auto bytes = pages_of(tensor);
  if (bytes.empty()) return false;
  const io::File* file = plan_.file_of(tensor).file();
  // Who drops a tensor wants its memory back, though the mapping stays for the others.
  std::shared_ptr<const void> owner(bytes.data(),
                                    [mapping = files_.mapping(*file), first = plan_.source_of(tensor).offset,
                                     count = bytes.size()](const void*) { mapping->forget(first, count); });
  destination.buffer = host_->wrap(reinterpret_cast<std::uintptr_t>(bytes.data()), bytes.size(), 0, std::move(owner));
  destination.mapped = file;
  mapped_bytes_ += bytes.size();
  return true;
}

bool Destinations::arrived(std::uint32_t tensor, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  return (all_[tensor].missing -= bytes) == 0;
}

void Destinations::clear() noexcept {
  const std::lock_guard lock(mutex_);
  for (Destination& destination : all_) {
    destination.buffer = {};
    destination.host_copy = {};
  }
}

std::uint64_t Destinations::mapped_bytes() const {
  const std::lock_guard lock(mutex_);
  return mapped_bytes_;
}

LoadedTensor Destinations::take(std::uint32_t tensor) {
  const std::lock_guard lock(mutex_);
  const TensorInfo& info = plan_.tensors[tensor];
  return {.name = std::string(info.name),
          .dtype = info.dtype,
          .shape = {info.shape.begin(), info.shape.end()},
          .buffer = std::move(all_[tensor].buffer),
          .host_copy = std::move(all_[tensor].host_copy),
          .index = tensor};
}

}  // namespace headrace::flow
