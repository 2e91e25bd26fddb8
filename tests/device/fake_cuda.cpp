// A CUDA driver without CUDA: two devices made of host memory, to run all that Headrace does with the real one.
//
// It is stricter than a GPU. Copies are put off until somebody waits for them, so that a source used again too soon is
// seen. An address of a device leads nowhere. What is wrong to do (a call without a context, memory freed while a copy
// needs it) is counted besides being refused. Any call, and the copies themselves, can be made to fail.
//
//   HEADRACE_FAKE_CUDA_MEMORY=n   bytes of each device (256 MiB)
//   HEADRACE_FAKE_CUDA_INIT=n     what cuInit gives
//   HEADRACE_FAKE_CUDA_MUTE=n     the device that says neither its name nor its size
//
// Thread-safe: one lock around everything.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using CUresult = int;
constexpr CUresult kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNoDevice = 100, kInvalidContext = 201,
                   kInvalidHandle = 400, kNotReady = 600, kIllegalAddress = 700, kLaunchFailed = 719;
constexpr int kDevices = 2;
constexpr int kHost = -1;
// Set in every address of a device: no processor can follow it.
constexpr std::uint64_t kOnDevice = std::uint64_t{1} << 62;

struct Context {
  int device = 0;
  int references = 0;
};

struct Event {
  bool reached = true;
  CUresult result = kSuccess;
};

// A copy, or the mark of an event.
struct Operation {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  std::size_t bytes = 0;
  Event* event = nullptr;
};

struct Stream {
  int device = 0;
  CUresult failed = kSuccess;
  std::deque<Operation> pending;
};

struct Allocation {
  std::unique_ptr<std::byte, decltype(&std::free)> at;
  std::size_t bytes = 0;
  int device = kHost;
};

struct Fake {
  std::mutex mutex;
  std::array<Context, kDevices> contexts{Context{0, 0}, Context{1, 0}};
  std::map<const std::byte*, Allocation> allocations;
  std::set<Stream*> streams;
  std::set<Event*> events;
  long violations = 0;
  std::string failing;
  int failing_after = 0;
  CUresult failing_with = kSuccess;

  CUresult violation(CUresult result) {
    ++violations;
    return result;
  }

  bool fails(const std::string& what) { return failing_after != 0 && what == failing && --failing_after == 0; }

  std::size_t total() const {
    const char* text = std::getenv("HEADRACE_FAKE_CUDA_MEMORY");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : std::size_t{256} << 20;
  }
  std::size_t used(int device) const {
    std::size_t bytes = 0;
    for (const auto& [at, allocation] : allocations) bytes += allocation.device == device ? allocation.bytes : 0;
    return bytes;
  }

  // What holds all of the range.
  const Allocation* find(const std::byte* at, std::size_t bytes) const {
    auto after = allocations.upper_bound(at);
    if (after == allocations.begin()) return nullptr;
    const auto& [first, allocation] = *--after;
    const auto offset = static_cast<std::size_t>(at - first);
    return offset < allocation.bytes && bytes <= allocation.bytes - offset ? &allocation : nullptr;
  }

  CUresult allocate(int device, std::size_t bytes, std::byte** out) {
    if (bytes == 0) return violation(kInvalidValue);
    if (device != kHost && bytes > total() - used(device)) return kOutOfMemory;
    void* at = nullptr;
    if (::posix_memalign(&at, 4096, bytes) != 0) return kOutOfMemory;
    *out = static_cast<std::byte*>(at);
    allocations.emplace(*out, Allocation{{*out, &std::free}, bytes, device});
    return kSuccess;
  }

  CUresult release(const std::byte* at, bool on_host) {
    const auto found = allocations.find(at);
    if (found == allocations.end() || (found->second.device == kHost) != on_host) return violation(kInvalidValue);
    for (const Stream* stream : streams) {
      for (const Operation& copy : stream->pending) {
        const std::byte* end = at + found->second.bytes;
        const bool needed = (copy.to >= at && copy.to < end) || (copy.from >= at && copy.from < end);
        if (copy.event == nullptr && needed) return violation(kInvalidValue);
      }
    }
    allocations.erase(found);
    return kSuccess;
  }

  CUresult copy(Stream* stream, std::byte* to, const std::byte* from, std::size_t bytes, const std::byte* on_device) {
    if (!streams.contains(stream)) return violation(kInvalidHandle);
    const Allocation* allocation = find(on_device, bytes);
    if (allocation == nullptr || allocation->device != stream->device) return violation(kIllegalAddress);
    stream->pending.push_back({to, from, bytes, nullptr});
    return kSuccess;
  }

  void run_first(Stream& stream) {
    const Operation operation = stream.pending.front();
    stream.pending.pop_front();
    if (operation.event != nullptr) {
      operation.event->reached = true;
      operation.event->result = std::exchange(stream.failed, kSuccess);
    } else if (fails("copy")) {
      stream.failed = failing_with;
    } else {
      std::memcpy(operation.to, operation.from, operation.bytes);
    }
  }

  Stream* holder_of(const Event* event) {
    for (Stream* stream : streams) {
      for (const Operation& operation : stream->pending) {
        if (operation.event == event) return stream;
      }
    }
    return nullptr;
  }
};

Fake& fake() {
  static Fake instance;
  return instance;
}

thread_local std::vector<Context*> stack;

Context* current() {
  Context* context = stack.empty() ? nullptr : stack.back();
  return context != nullptr && context->references > 0 ? context : nullptr;
}

// One call: under the lock, made to fail if that was asked for.
template <class Body>
CUresult call(const char* function, Body&& body) {
  Fake& state = fake();
  const std::lock_guard lock(state.mutex);
  if (state.fails(function)) return state.failing_with;
  return body(state);
}

// One that needs a context.
template <class Body>
CUresult call_in_context(const char* function, Body&& body) {
  return call(function, [&](Fake& state) {
    Context* context = current();
    return context == nullptr ? state.violation(kInvalidContext) : body(state, *context);
  });
}

bool is_mute(int device) {
  const char* mute = std::getenv("HEADRACE_FAKE_CUDA_MUTE");
  return mute != nullptr && std::atoi(mute) == device;
}

std::byte* address(std::uint64_t pointer) { return reinterpret_cast<std::byte*>(pointer & ~kOnDevice); }

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// For the tests: the n-th call of `function` from now on gives `result`; 1 is the next. "copy" is what a copy does when
// its turn comes.
void fake_cuda_fail(const char* function, int n, CUresult result) {
  const std::lock_guard lock(fake().mutex);
  fake().failing = function;
  fake().failing_after = n;
  fake().failing_with = result;
}

// For the tests: how many there are of "memory", "pinned", "streams", "events", "contexts", "pending", "violations".
long fake_cuda_count(const char* what) {
  const std::lock_guard lock(fake().mutex);
  long memory = 0, pinned = 0, pending = 0;
  for (const auto& [at, allocation] : fake().allocations) ++(allocation.device == kHost ? pinned : memory);
  for (const Stream* stream : fake().streams) pending += static_cast<long>(stream->pending.size());
  const std::map<std::string, long> counts{
      {"memory", memory},
      {"pinned", pinned},
      {"pending", pending},
      {"streams", static_cast<long>(fake().streams.size())},
      {"events", static_cast<long>(fake().events.size())},
      {"contexts", fake().contexts[0].references + fake().contexts[1].references},
      {"violations", fake().violations},
  };
  return counts.at(what);
}

CUresult cuInit(unsigned) {
  const char* result = std::getenv("HEADRACE_FAKE_CUDA_INIT");
  return call("cuInit", [&](Fake&) { return result != nullptr ? std::atoi(result) : kSuccess; });
}

CUresult cuGetErrorName(CUresult result, const char** name) {
  switch (result) {
    case kInvalidValue: *name = "CUDA_ERROR_INVALID_VALUE"; return kSuccess;
    case kOutOfMemory: *name = "CUDA_ERROR_OUT_OF_MEMORY"; return kSuccess;
    case kNoDevice: *name = "CUDA_ERROR_NO_DEVICE"; return kSuccess;
    case kInvalidContext: *name = "CUDA_ERROR_INVALID_CONTEXT"; return kSuccess;
    case kLaunchFailed: *name = "CUDA_ERROR_LAUNCH_FAILED"; return kSuccess;
    default: *name = nullptr; return kInvalidValue;
  }
}

CUresult cuDeviceGetCount(int* count) {
  *count = kDevices;
  return kSuccess;
}

CUresult cuDeviceGet(int* device, int index) {
  *device = index;
  return index >= 0 && index < kDevices ? kSuccess : kInvalidValue;
}

CUresult cuDeviceGetName(char* name, int bytes, int device) {
  if (is_mute(device)) return kLaunchFailed;
  std::snprintf(name, static_cast<std::size_t>(bytes), "Fake GPU %d", device);
  return kSuccess;
}

CUresult cuDeviceTotalMem_v2(std::size_t* bytes, int device) {
  if (is_mute(device)) return kLaunchFailed;
  *bytes = fake().total();
  return kSuccess;
}

CUresult cuDevicePrimaryCtxRetain(Context** context, int device) {
  return call("cuDevicePrimaryCtxRetain", [&](Fake& state) {
    *context = &state.contexts.at(static_cast<std::size_t>(device));
    ++(*context)->references;
    return kSuccess;
  });
}

CUresult cuDevicePrimaryCtxRelease_v2(int device) {
  return call("cuDevicePrimaryCtxRelease_v2", [&](Fake& state) {
    Context& context = state.contexts.at(static_cast<std::size_t>(device));
    if (context.references == 0) return state.violation(kInvalidContext);
    --context.references;
    return kSuccess;
  });
}

CUresult cuCtxPushCurrent_v2(Context* context) {
  return call("cuCtxPushCurrent_v2", [&](Fake& state) {
    if (context->references == 0) return state.violation(kInvalidContext);
    stack.push_back(context);
    return kSuccess;
  });
}

CUresult cuCtxPopCurrent_v2(Context** context) {
  return call("cuCtxPopCurrent_v2", [&](Fake& state) {
    if (stack.empty()) return state.violation(kInvalidContext);
    *context = stack.back();
    stack.pop_back();
    return kSuccess;
  });
}

CUresult cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  return call_in_context("cuMemGetInfo_v2", [&](Fake& state, const Context& context) {
    *total = state.total();
    *free = *total - state.used(context.device);
    return kSuccess;
  });
}

CUresult cuMemAlloc_v2(std::uint64_t* pointer, std::size_t bytes) {
  return call_in_context("cuMemAlloc_v2", [&](Fake& state, const Context& context) {
    std::byte* at = nullptr;
    const CUresult result = state.allocate(context.device, bytes, &at);
    if (result == kSuccess) *pointer = reinterpret_cast<std::uint64_t>(at) | kOnDevice;
    return result;
  });
}

CUresult cuMemFree_v2(std::uint64_t pointer) {
  return call_in_context("cuMemFree_v2",
                         [&](Fake& state, const Context&) { return state.release(address(pointer), false); });
}

CUresult cuMemHostAlloc(std::byte** out, std::size_t bytes, unsigned) {
  return call_in_context("cuMemHostAlloc",
                         [&](Fake& state, const Context&) { return state.allocate(kHost, bytes, out); });
}

CUresult cuMemFreeHost(std::byte* at) {
  return call_in_context("cuMemFreeHost", [&](Fake& state, const Context&) { return state.release(at, true); });
}

CUresult cuPointerGetAttribute(int* out, int, std::uint64_t pointer) {
  return call_in_context("cuPointerGetAttribute", [&](Fake& state, const Context&) {
    const Allocation* allocation = (pointer & kOnDevice) != 0 ? state.find(address(pointer), 1) : nullptr;
    if (allocation == nullptr) return kInvalidValue;
    *out = allocation->device;
    return kSuccess;
  });
}

CUresult cuMemcpyHtoDAsync_v2(std::uint64_t to, const std::byte* from, std::size_t bytes, Stream* stream) {
  return call_in_context("cuMemcpyHtoDAsync_v2", [&](Fake& state, const Context&) {
    return state.copy(stream, address(to), from, bytes, address(to));
  });
}

CUresult cuMemcpyDtoHAsync_v2(std::byte* to, std::uint64_t from, std::size_t bytes, Stream* stream) {
  return call_in_context("cuMemcpyDtoHAsync_v2", [&](Fake& state, const Context&) {
    return state.copy(stream, to, address(from), bytes, address(from));
  });
}

CUresult cuStreamCreate(Stream** stream, unsigned) {
  return call_in_context("cuStreamCreate", [&](Fake& state, const Context& context) {
    *stream = new Stream{context.device, kSuccess, {}};
    state.streams.insert(*stream);
    return kSuccess;
  });
}

CUresult cuStreamDestroy_v2(Stream* stream) {
  return call_in_context("cuStreamDestroy_v2", [&](Fake& state, const Context&) {
    if (state.streams.erase(stream) == 0) return state.violation(kInvalidHandle);
    if (!stream->pending.empty()) state.violation(kInvalidHandle);
    delete stream;
    return kSuccess;
  });
}

CUresult cuStreamSynchronize(Stream* stream) {
  return call_in_context("cuStreamSynchronize", [&](Fake& state, const Context&) {
    if (!state.streams.contains(stream)) return state.violation(kInvalidHandle);
    while (!stream->pending.empty()) state.run_first(*stream);
    return std::exchange(stream->failed, kSuccess);
  });
}

CUresult cuEventCreate(Event** event, unsigned) {
  return call_in_context("cuEventCreate", [&](Fake& state, const Context&) {
    *event = new Event;
    state.events.insert(*event);
    return kSuccess;
  });
}

CUresult cuEventRecord(Event* event, Stream* stream) {
  return call_in_context("cuEventRecord", [&](Fake& state, const Context&) {
    if (!state.events.contains(event) || !state.streams.contains(stream)) return state.violation(kInvalidHandle);
    event->reached = false;
    stream->pending.push_back({nullptr, nullptr, 0, event});
    return kSuccess;
  });
}

// Does a little more of what is pending each time it is asked.
CUresult cuEventQuery(Event* event) {
  return call_in_context("cuEventQuery", [&](Fake& state, const Context&) {
    if (!state.events.contains(event)) return state.violation(kInvalidHandle);
    if (event->reached) return event->result;
    if (Stream* stream = state.holder_of(event)) state.run_first(*stream);
    return kNotReady;
  });
}

CUresult cuEventSynchronize(Event* event) {
  return call_in_context("cuEventSynchronize", [&](Fake& state, const Context&) {
    if (!state.events.contains(event)) return state.violation(kInvalidHandle);
    while (!event->reached) state.run_first(*state.holder_of(event));
    return event->result;
  });
}

CUresult cuEventDestroy_v2(Event* event) {
  return call_in_context("cuEventDestroy_v2", [&](Fake& state, const Context&) {
    if (state.events.erase(event) == 0) return state.violation(kInvalidHandle);
    if (!event->reached) state.violation(kInvalidHandle);  // its mark would be written to memory that is gone
    while (Stream* stream = state.holder_of(event)) state.run_first(*stream);
    delete event;
    return kSuccess;
  });
}

}  // extern "C"
#pragma GCC visibility pop
