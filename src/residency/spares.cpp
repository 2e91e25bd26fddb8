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

Spares::Spares(std::shared_ptr<Device> device, std::optional<std::uint64_t> limit, std::optional<std::uint64_t> reserve)
    : device_(std::move(device)),
      limit_(limit.value_or(std::numeric_limits<std::uint64_t>::max())),
      reserve_(reserve) {}

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
      given_ += bytes;
      return found;
    }
    make_room(limit_ - std::min(limit_, in_use_));
    leave_reserve(bytes);
  }
  try {
    Buffer made = allocate_anew(static_cast<std::size_t>(bytes));
    given_ += bytes;
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

std::uint64_t Spares::free(std::vector<Form> forms) noexcept {
  std::uint64_t bytes = 0;
  for (const Form& form : forms) bytes += bytes_in(form);
  forms.clear();
  const std::lock_guard lock(mutex_);
  in_use_ -= bytes;
  return bytes;
}

std::uint64_t Spares::keep(std::vector<Form> forms) noexcept {
  const std::lock_guard lock(mutex_);
  std::uint64_t all = 0;
  for (Form& form : forms) {
    const std::uint64_t bytes = bytes_in(form);
    largest_ = std::max(largest_, bytes);
    for (LoadedTensor& tensor : form) keep(std::move(tensor.buffer));
    all += bytes;
  }
  in_use_ -= all;
  make_room(closed_ ? 0 : 2 * largest_);
  leave_reserve(0);
  return all;
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

void Spares::clear(bool closed) noexcept {
  const std::lock_guard lock(mutex_);
  closed_ = closed_ || closed;
  make_room(0);
}

// In this order, so that what stops being a spare meanwhile counts less rather than twice.
std::optional<std::uint64_t> Spares::available() const {
  const auto free = device_->memory().free;
  return free ? std::optional(*free + spare_) : std::nullopt;
}

// Of what others want to be left free, no spares take anything.
void Spares::leave_reserve(std::uint64_t beside) noexcept {
  if (!reserve_ || spares_.empty()) return;
  const auto free = device_->memory().free;
  if (free && *free < beside + *reserve_) make_room(0);
}

void Spares::make_room(std::uint64_t most) noexcept {
  while (spare_ > most) {
    spare_ -= spares_.front().bytes();
    spares_.pop_front();
  }
}

}  // namespace headrace::residency
