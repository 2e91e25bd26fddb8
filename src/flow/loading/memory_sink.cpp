#include "flow/loading/memory_sink.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace headrace::flow {
namespace {

// What lies in a slot as it lies in its page of the file is read past the system's cache without a copy.
constexpr std::uint64_t kPage = 4096;

// Memory that the processor fills in place; empty for a device's own.
std::span<std::byte> in_place(const Destinations::Destination& to) { return to.buffer.host_bytes(); }

}  // namespace

bool MemorySink::copy_from(const io::File& file, std::uint64_t at, std::uint32_t tensor, std::uint64_t first,
                           std::uint64_t bytes) {
  Destination& to = destinations_.of(tensor);
  if (to.mapped != nullptr) {
    auto room = brought(file, at, bytes);
    arrivals_.push({.parts = {{tensor, bytes}}, .holder = std::move(room)});
    return true;
  }
  const bool sent = in_place(to).empty();
  const std::uint64_t most = sent ? ring_->slot_bytes() - kPage : bytes;
  for (std::uint64_t done = 0; done < bytes;) {
    const std::size_t size = std::min(most, bytes - done);
    Place where = sent ? staged(size, (at + done) % kPage) : place(tensor, first + done, size);
    files_.read(file, at + done, where.bytes);
    const std::span<const std::byte> made = where.bytes;
    put(tensor, first + done, made, std::move(where));
    done += size;
  }
  return true;
}

// Of small tensors that are all pages of the file, none is read and copied.
bool MemorySink::copy_run_from(const io::File& file, std::uint64_t at, std::uint64_t bytes,
                               std::span<const std::uint32_t> tensors) {
  Arrival arrival;
  arrival.parts.reserve(tensors.size());
  for (const std::uint32_t tensor : tensors) {
    const std::uint64_t size = plan_.tensors[tensor].bytes;
    if (destinations_.of(tensor).mapped == nullptr && size > 0) return false;
    arrival.parts.push_back({tensor, size});
  }
  arrival.holder = brought(file, at, bytes);
  arrivals_.push(std::move(arrival));
  return true;
}

// Pages of a mapped file that are wanted in memory, and the room that they take until they have arrived.
std::shared_ptr<void> MemorySink::brought(const io::File& file, std::uint64_t at, std::uint64_t bytes) const {
  if (!files_.populates(file)) return nullptr;
  auto room = arrivals_.reserve(bytes);
  files_.populate(file, at, bytes);
  return room;
}

Sink::Place MemorySink::place(std::uint32_t tensor, std::uint64_t first, std::size_t bytes) {
  const std::span<std::byte> memory = in_place(destinations_.of(tensor));
  if (memory.empty()) return staged(bytes);
  return {memory.subspan(first, bytes), arrivals_.reserve(bytes)};
}

// Of a run, tensors that stay on the host are copied from wherever the run was made.
Sink::Place MemorySink::place_run(std::span<const std::uint32_t> tensors, std::size_t bytes) {
  const bool sent = std::ranges::any_of(tensors, [&](std::uint32_t tensor) {
    return plan_.tensors[tensor].bytes > 0 && in_place(destinations_.of(tensor)).empty();
  });
  return sent ? staged(bytes) : Place{{}, arrivals_.reserve(bytes)};
}

Sink::Place MemorySink::staged(std::size_t bytes, std::size_t shift) {
  auto slot = ring_->acquire();
  const auto room = slot->bytes().subspan(shift, bytes);
  return {room, std::move(slot)};
}

void MemorySink::put(std::uint32_t tensor, std::uint64_t first, std::span<const std::byte> bytes, Place place) {
  Arrival arrival{.parts = {{tensor, bytes.size()}}, .holder = std::move(place.holder)};
  send(destinations_.of(tensor), first, bytes, arrival);
  arrivals_.push(std::move(arrival));
}

void MemorySink::put_run(std::span<const std::uint32_t> tensors, std::span<const std::byte> bytes, Place place) {
  Arrival arrival{.parts = {}, .holder = std::move(place.holder)};
  arrival.parts.reserve(tensors.size());
  const std::uint64_t begin = plan_.tensors[tensors.front()].offset;
  for (const std::uint32_t tensor : tensors) {
    const TensorInfo& info = plan_.tensors[tensor];
    arrival.parts.push_back({tensor, info.bytes});
    send(destinations_.of(tensor), 0, bytes.subspan(info.offset - begin, info.bytes), arrival);
  }
  arrivals_.push(std::move(arrival));
}

void MemorySink::put_empty(std::uint32_t tensor) {
  destinations_.of(tensor);
  arrivals_.push({.parts = {{tensor, 0}}});
}

// To where it goes, unless it was made there.
void MemorySink::send(Destination& to, std::uint64_t first, std::span<const std::byte> bytes, Arrival& arrival) {
  if (bytes.empty() || to.mapped != nullptr) return;
  const auto copy = [&](std::span<std::byte> memory) {
    if (memory.data() + first != bytes.data()) std::memcpy(memory.data() + first, bytes.data(), bytes.size());
  };
  const std::span<std::byte> memory = in_place(to);
  if (!memory.empty()) return copy(memory);
  if (const auto kept = to.host_copy.host_bytes(); !kept.empty()) copy(kept);
  arrival.uploads.push_back(to.buffer.device()->upload(to.buffer, first, bytes));
}

}  // namespace headrace::flow
