#include "io/uring.hpp"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <thread>
#include <utility>

namespace headrace::io {
namespace {

// The same on all architectures but alpha.
#ifdef SYS_io_uring_setup
constexpr long kSetup = SYS_io_uring_setup, kEnter = SYS_io_uring_enter;
#else
constexpr long kSetup = 425, kEnter = 426;
#endif

// Both rings in one mapping, no completion lost, and (as old as IORING_OP_READ) offsets that may be the file's own.
constexpr unsigned kNeeds = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS;

// What is done, or an errno number below zero.
int enter(int ring, unsigned submit, unsigned complete) noexcept {
  const unsigned flags = complete > 0 ? IORING_ENTER_GETEVENTS : 0U;
  const long done = ::syscall(kEnter, ring, submit, complete, flags, nullptr, 0UL);
  return done < 0 ? -errno : static_cast<int>(done);
}

std::span<std::byte> map(int ring, std::size_t size, off_t what) noexcept {
  void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what);
  if (at == MAP_FAILED) return {};
  // Two processes must not share one ring, whose users count on knowing what is in flight.
  ::madvise(at, size, MADV_DONTFORK);
  return {static_cast<std::byte*>(at), size};
}

unsigned* number_at(std::byte* rings, unsigned offset) noexcept { return reinterpret_cast<unsigned*>(rings + offset); }

}  // namespace

Ring::Shared::~Shared() {
  if (at != nullptr) ::munmap(at, size);
}

std::unique_ptr<Ring> Ring::make(unsigned entries) noexcept {
  io_uring_params about{};
  const long fd = ::syscall(kSetup, entries, &about);
  if (fd < 0) return nullptr;
  Descriptor owned(static_cast<int>(fd));
  if ((about.features & kNeeds) != kNeeds) return nullptr;
  std::unique_ptr<Ring> ring(new (std::nothrow) Ring);
  if (!ring) return nullptr;
  ring->fd_ = std::move(owned);

  const std::size_t submit_size = about.sq_off.array + about.sq_entries * sizeof(unsigned);
  const std::size_t complete_size = about.cq_off.cqes + about.cq_entries * sizeof(io_uring_cqe);
  const auto rings = map(ring->fd_.get(), std::max(submit_size, complete_size), IORING_OFF_SQ_RING);
  ring->rings_.at = rings.data();
  ring->rings_.size = rings.size();
  const auto sqes = map(ring->fd_.get(), about.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES);
  ring->entries_.at = sqes.data();
  ring->entries_.size = sqes.size();
  if (rings.empty() || sqes.empty()) return nullptr;

  ring->submit_tail_ = number_at(rings.data(), about.sq_off.tail);
  ring->submit_array_ = number_at(rings.data(), about.sq_off.array);
  ring->submit_mask_ = *number_at(rings.data(), about.sq_off.ring_mask);
  ring->complete_head_ = number_at(rings.data(), about.cq_off.head);
  ring->complete_tail_ = number_at(rings.data(), about.cq_off.tail);
  ring->complete_mask_ = *number_at(rings.data(), about.cq_off.ring_mask);
  ring->completions_ = rings.data() + about.cq_off.cqes;
  ring->capacity_ = std::min(entries, about.sq_entries);
  return ring;
}

Ring::~Ring() {
  while (in_flight_ > 0) wait();
}

bool Ring::start(int descriptor, std::uint64_t offset, std::span<std::byte> out, std::uint64_t tag) noexcept {
  if (in_flight_ == capacity_) return false;
  const unsigned tail = *submit_tail_;  // only this side writes it
  const unsigned slot = tail & submit_mask_;
  io_uring_sqe entry{};
  entry.opcode = IORING_OP_READ;
  entry.fd = descriptor;
  entry.off = offset;
  entry.addr = reinterpret_cast<std::uintptr_t>(out.data());
  entry.len = static_cast<unsigned>(out.size());
  entry.user_data = tag;
  reinterpret_cast<io_uring_sqe*>(entries_.at)[slot] = entry;
  submit_array_[slot] = slot;
  __atomic_store_n(submit_tail_, tail + 1, __ATOMIC_RELEASE);
  int done = 0;
  do {
    done = enter(fd_.get(), 1, 0);
  } while (done == -EINTR);
  if (done != 1) {
    // Nothing was taken: the kernel looks at the ring within that call alone, so the entry can be withdrawn.
    __atomic_store_n(submit_tail_, tail, __ATOMIC_RELEASE);
    return false;
  }
  ++in_flight_;
  return true;
}

Ring::Completion Ring::wait() noexcept {
  const unsigned head = *complete_head_;  // only this side writes it
  while (__atomic_load_n(complete_tail_, __ATOMIC_ACQUIRE) == head) {
    const int done = enter(fd_.get(), 0, 1);
    // Whatever the reason, the memory can't be given back before the read is over.
    if (done < 0 && done != -EINTR) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto& entry = reinterpret_cast<const io_uring_cqe*>(completions_)[head & complete_mask_];
  const Completion completion{entry.user_data, entry.res};
  __atomic_store_n(complete_head_, head + 1, __ATOMIC_RELEASE);
  --in_flight_;
  return completion;
}

}  // namespace headrace::io
