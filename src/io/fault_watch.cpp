#include "io/fault_watch.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace headrace::io {

// What the handler reads, which takes no lock. A slot with no `begin` is free.
struct FaultWatch::Slot {
  std::atomic<std::uintptr_t> begin{0}, end{0};
  std::atomic<bool> broken{false};
};

namespace {

// Slots stay where they are, and stay for good: the handler may be among them at any moment.
struct Chunk {
  std::array<FaultWatch::Slot, 256> slots;
  Chunk* next = nullptr;
};

std::atomic<Chunk*> g_chunks{nullptr};
struct sigaction g_before;

// The system's call itself: what a sanitizer puts before mmap isn't made for handlers.
bool put_zeros(std::uintptr_t at, std::uintptr_t end) noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t first = at / page * page;
  return ::syscall(SYS_mmap, first, end - first, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0L) != -1;
}

bool mended(std::uintptr_t at) noexcept {
  for (Chunk* chunk = g_chunks.load(); chunk != nullptr; chunk = chunk->next) {
    for (FaultWatch::Slot& slot : chunk->slots) {
      const std::uintptr_t begin = slot.begin.load(), end = slot.end.load();
      if (begin == 0 || at < begin || at >= end || slot.begin.load() != begin) continue;
      slot.broken = true;
      return put_zeros(at, end);
    }
  }
  return false;
}

void on_sigbus(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  const bool done = mended(reinterpret_cast<std::uintptr_t>(info->si_addr));
  errno = error;
  if (done) return;
  if ((g_before.sa_flags & SA_SIGINFO) != 0) return g_before.sa_sigaction(signal, info, context);
  if (g_before.sa_handler != SIG_DFL && g_before.sa_handler != SIG_IGN) return g_before.sa_handler(signal);
  ::signal(SIGBUS, SIG_DFL);  // what was looked at is looked at again, and ends the program as it always did
}

void handle_sigbus() {
  struct sigaction action = {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &g_before);
}

// The slots that nobody uses.
class FreeSlots {
 public:
  FaultWatch::Slot* take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) grow();
    FaultWatch::Slot* const slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give_back(FaultWatch::Slot* slot) noexcept {
    const std::lock_guard lock(mutex_);
    free_.push_back(slot);  // there is room: `grow` made it
  }

 private:
  void grow() {
    auto chunk = std::make_unique<Chunk>();
    free_.reserve(total_ + chunk->slots.size());
    if (total_ == 0) handle_sigbus();  // once, as nothing fails from here on
    total_ += chunk->slots.size();
    for (FaultWatch::Slot& slot : chunk->slots) free_.push_back(&slot);
    chunk->next = g_chunks.load();
    g_chunks = chunk.release();
  }

  std::mutex mutex_;
  std::vector<FaultWatch::Slot*> free_;
  std::size_t total_ = 0;
};

// Never destroyed: buffers of static lifetime may outlive everything.
FreeSlots& free_slots() {
  static FreeSlots& slots = *new FreeSlots;
  return slots;
}

}  // namespace

FaultWatch::FaultWatch(std::span<std::byte> pages) : slot_(free_slots().take()) {
  const auto begin = reinterpret_cast<std::uintptr_t>(pages.data());
  slot_->broken = false;
  slot_->end = begin + pages.size();
  slot_->begin = begin;
}

FaultWatch::~FaultWatch() {
  slot_->begin = 0;
  free_slots().give_back(slot_);
}

bool FaultWatch::broken() const noexcept { return slot_->broken; }

}  // namespace headrace::io
