#include "residency/spares.hpp"

#include <headrace/error.hpp>

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

namespace headrace::residency {

std::uint64_t bytes_in(const Form& form) noexcept {
  std::uint64_t bytes = 0;
  for (const LoadedTensor& tensor : form) bytes += tensor.bytes();
  return bytes;
}

Spares::Spares(std::shared_ptr<Device> device, std::optional<std::uint64_t> limit)
    : device_(std::move(device)), limit_(limit.value_or(std::numeric_limits<std::uint64_t>::max())) {}

// What is promised is in use or about to be, and within the limit: without spares it fits.
Buffer Spares::allocate(std::uint64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    in_use_ += bytes;
    const auto spare = std::ranges::find(spares_, bytes, &Buffer::bytes);
    if (spare != spares_.end()) {
      Buffer found = std::move(*spare);
      spares_.erase(spare);
      spare_ -= bytes;
      there_ += bytes;
      return found;
    }
    make_room(limit_ - std::min(limit_, in_use_));
  }
  try {
    Buffer made = allocate_anew(static_cast<std::size_t>(bytes));
    const std::lock_guard lock(mutex_);
    there_ += bytes;
    return made;
  } catch (...) {
    const std::lock_guard lock(mutex_);
    in_use_ -= bytes;
    throw;
  }
}

Buffer Spares::allocate_anew(std::size_t bytes) {
  try {
    return device_->allocate(bytes);
  } catch (const Error&) {
    const std::lock_guard lock(mutex_);
    if (spares_.empty()) throw;
    make_room(0);
  }
  return device_->allocate(bytes);
}

void Spares::free(std::vector<Form> forms) noexcept {
  std::uint64_t bytes = 0;
  for (const Form& form : forms) bytes += bytes_in(form);
  forms.clear();
  const std::lock_guard lock(mutex_);
  in_use_ -= bytes;
  there_ -= bytes;
}

void Spares::keep(std::vector<Form> forms) noexcept {
  const std::lock_guard lock(mutex_);
  for (Form& form : forms) {
    const std::uint64_t bytes = bytes_in(form);
    largest_ = std::max(largest_, bytes);
    for (LoadedTensor& tensor : form) keep(std::move(tensor.buffer));
    in_use_ -= bytes;
    there_ -= bytes;
  }
  make_room(2 * largest_);
}

void Spares::keep(Buffer buffer) noexcept {
  const std::uint64_t bytes = buffer.bytes();
  if (bytes == 0) return;
  try {
    spares_.push_back(std::move(buffer));
    spare_ += bytes;
  } catch (const std::bad_alloc&) {  // then the device has it
  }
}

void Spares::clear() noexcept {
  const std::lock_guard lock(mutex_);
  make_room(0);
}

std::uint64_t Spares::there() const {
  const std::lock_guard lock(mutex_);
  return there_;
}

std::optional<std::uint64_t> Spares::available() const {
  const std::lock_guard lock(mutex_);
  const auto free = device_->memory().free;
  return free ? std::optional(*free + spare_) : std::nullopt;
}

void Spares::make_room(std::uint64_t most) noexcept {
  while (spare_ > most) {
    spare_ -= spares_.front().bytes();
    spares_.pop_front();
  }
}

}  // namespace headrace::residency
