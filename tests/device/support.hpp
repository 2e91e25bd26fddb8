// The devices that the tests run on, by a name each; those that aren't there are skipped, and say so.
#pragma once

#include "device/fake_cuda.hpp"
#include "support/counting_device.hpp"

#include <headrace/device.hpp>
#include <headrace/error.hpp>

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace headrace::test {

/// A device to test and why there is none, if so.
struct Candidate {
  std::shared_ptr<Device> device;
  std::string absent;
};

inline Candidate open_if_there(const std::string& name) {
  try {
    return {open_device(name), {}};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported) throw;
    return {nullptr, error.what()};
  }
}

#if defined(__SANITIZE_THREAD__)
#define HEADRACE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HEADRACE_TSAN 1
#endif
#endif
#ifdef HEADRACE_TSAN
inline constexpr bool kWatchedForRaces = true;
#else
inline constexpr bool kWatchedForRaces = false;
#endif

/// "host", "counting" (over the host), "opencl" and "cuda" (the first of each), "fake_cuda".
inline Candidate open_candidate(const std::string& which) {
  if (which == "counting") return {std::make_shared<CountingDevice>(open_device("host")), {}};
  if (which == "fake_cuda") return {FakeCuda::instance().open(), {}};
  if ((which == "opencl" || which == "cuda") && kWatchedForRaces)
    return {nullptr, "drivers' own threads can't be watched for races"};
  return open_if_there(which);
}

inline std::vector<std::byte> numbered(std::size_t bytes, unsigned seed = 1) {
  std::vector<std::byte> data(bytes);
  std::uint32_t state = seed * 2654435761U + 1;
  for (std::byte& byte : data) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24);
  }
  return data;
}

inline std::vector<std::byte> contents(Device& device, const Buffer& buffer) {
  std::vector<std::byte> data(buffer.bytes());
  device.download(buffer, 0, data);
  return data;
}

/// The code of the error that `body` throws; internal, and a failed test, when it throws none.
template <class Body>
ErrorCode code_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorCode::internal;
}

}  // namespace headrace::test
