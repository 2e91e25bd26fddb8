// CUDA's entry points, as NVIDIA documents its driver API: the few that are used, so that no header is needed to build
// and no library to start.
#pragma once

#include "device/dynamic_library.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace headrace::device::cuda {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = std::uint64_t;
using CUcontext = struct ContextOfDriver*;
using CUstream = struct StreamOfDriver*;
using CUevent = struct EventOfDriver*;

// Results.
inline constexpr CUresult kSuccess = 0;
inline constexpr CUresult kOutOfMemory = 2;
inline constexpr CUresult kNotReady = 600;

// What is asked for.
inline constexpr unsigned kHostAllocPortable = 1;   // page-locked for all contexts
inline constexpr unsigned kStreamNonBlocking = 1;   // doesn't wait for the default stream, nor that for it
inline constexpr unsigned kEventBlockingSync = 1;   // who waits sleeps
inline constexpr unsigned kEventDisableTiming = 2;  // cheaper
inline constexpr int kPointerDeviceOrdinal = 9;

struct Api {
  /// Loads `file`. Never throws; see `library.problem()`.
  explicit Api(const std::string& file);

  DynamicLibrary library;
  CUresult (*init)(unsigned flags);
  CUresult (*get_error_name)(CUresult, const char** name);
  CUresult (*device_count)(int* count);
  CUresult (*device_get)(CUdevice*, int index);
  CUresult (*device_name)(char* name, int bytes, CUdevice);
  CUresult (*device_total_memory)(std::size_t* bytes, CUdevice);
  CUresult (*primary_context_retain)(CUcontext*, CUdevice);
  CUresult (*primary_context_release)(CUdevice);
  CUresult (*context_push)(CUcontext);
  CUresult (*context_pop)(CUcontext*);
  CUresult (*memory_info)(std::size_t* free, std::size_t* total);
  CUresult (*memory_allocate)(CUdeviceptr*, std::size_t bytes);
  CUresult (*memory_free)(CUdeviceptr);
  CUresult (*host_allocate)(void**, std::size_t bytes, unsigned flags);
  CUresult (*host_free)(void*);
  CUresult (*pointer_attribute)(void* out, int what, CUdeviceptr);
  CUresult (*copy_to_device)(CUdeviceptr, const void* source, std::size_t bytes, CUstream);
  CUresult (*copy_to_host)(void*, CUdeviceptr source, std::size_t bytes, CUstream);
  CUresult (*stream_create)(CUstream*, unsigned flags);
  CUresult (*stream_destroy)(CUstream);
  CUresult (*stream_synchronize)(CUstream);
  CUresult (*event_create)(CUevent*, unsigned flags);
  CUresult (*event_record)(CUevent, CUstream);
  CUresult (*event_query)(CUevent);
  CUresult (*event_synchronize)(CUevent);
  CUresult (*event_destroy)(CUevent);

  /// "CUDA_ERROR_NO_DEVICE (100)".
  std::string name_of(CUresult result) const;
};

}  // namespace headrace::device::cuda
