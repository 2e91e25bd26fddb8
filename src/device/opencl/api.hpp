// OpenCL's entry points, as Khronos' OpenCL 1.2 specification declares them: the few that are used, so that no header
// is needed to build and no library to start.
#pragma once

#include "device/dynamic_library.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace headrace::device::opencl {

using cl_int = std::int32_t;
using cl_uint = std::uint32_t;
using cl_ulong = std::uint64_t;
using cl_bool = cl_uint;
using cl_bitfield = cl_ulong;
using cl_platform_id = struct PlatformOfDriver*;
using cl_device_id = struct DeviceOfDriver*;
using cl_context = struct ContextOfDriver*;
using cl_command_queue = struct QueueOfDriver*;
using cl_mem = struct MemoryOfDriver*;
using cl_event = struct EventOfDriver*;

// Results.
inline constexpr cl_int kSuccess = 0;
inline constexpr cl_int kMemObjectAllocationFailure = -4;
inline constexpr cl_int kOutOfResources = -5;
inline constexpr cl_int kOutOfHostMemory = -6;
inline constexpr cl_int kExecStatusError = -14;  // of events that were waited for
inline constexpr cl_int kInvalidBufferSize = -61;

// What is asked for.
inline constexpr cl_bitfield kDeviceTypeAll = 0xFFFFFFFF;
inline constexpr cl_uint kDeviceMaxMemAllocSize = 0x1010;
inline constexpr cl_uint kDeviceMemBaseAddrAlign = 0x1019;  // in bits
inline constexpr cl_uint kDeviceGlobalMemSize = 0x101F;
inline constexpr cl_uint kDeviceAvailable = 0x1027;
inline constexpr cl_uint kDeviceName = 0x102B;
inline constexpr cl_uint kContextDevices = 0x1081;
inline constexpr cl_bitfield kMemReadWrite = 1 << 0;
inline constexpr cl_bitfield kMemAllocHostPtr = 1 << 4;
inline constexpr cl_uint kMemSize = 0x1102;
inline constexpr cl_uint kMemContext = 0x1106;
inline constexpr cl_bitfield kMapRead = 1 << 0;
inline constexpr cl_bitfield kMapWrite = 1 << 1;
inline constexpr cl_uint kEventCommandExecutionStatus = 0x11D3;
inline constexpr cl_int kComplete = 0;  // below: the command has failed

struct Api {
  /// Loads libOpenCL.so.1, the ICD loader. Never throws; see `library.problem()`.
  Api();

  DynamicLibrary library;
  cl_int (*get_platforms)(cl_uint count, cl_platform_id* out, cl_uint* found);
  cl_int (*get_devices)(cl_platform_id, cl_bitfield type, cl_uint count, cl_device_id* out, cl_uint* found);
  cl_int (*get_device_info)(cl_device_id, cl_uint what, std::size_t bytes, void* out, std::size_t* needed);
  cl_context (*create_context)(const std::intptr_t* properties, cl_uint count, const cl_device_id*,
                               void (*notify)(const char*, const void*, std::size_t, void*), void* user, cl_int*);
  cl_int (*retain_context)(cl_context);
  cl_int (*release_context)(cl_context);
  cl_int (*get_context_info)(cl_context, cl_uint what, std::size_t bytes, void* out, std::size_t* needed);
  cl_command_queue (*create_queue)(cl_context, cl_device_id, cl_bitfield properties, cl_int*);
  cl_int (*release_queue)(cl_command_queue);
  cl_mem (*create_buffer)(cl_context, cl_bitfield flags, std::size_t bytes, void* host, cl_int*);
  cl_int (*retain_memory)(cl_mem);
  cl_int (*release_memory)(cl_mem);
  cl_int (*get_memory_info)(cl_mem, cl_uint what, std::size_t bytes, void* out, std::size_t* needed);
  cl_int (*enqueue_write)(cl_command_queue, cl_mem, cl_bool blocking, std::size_t offset, std::size_t bytes,
                          const void* source, cl_uint waits, const cl_event*, cl_event* out);
  cl_int (*enqueue_read)(cl_command_queue, cl_mem, cl_bool blocking, std::size_t offset, std::size_t bytes, void* out,
                         cl_uint waits, const cl_event*, cl_event* event);
  void* (*enqueue_map)(cl_command_queue, cl_mem, cl_bool blocking, cl_bitfield flags, std::size_t offset,
                       std::size_t bytes, cl_uint waits, const cl_event*, cl_event*, cl_int*);
  cl_int (*enqueue_unmap)(cl_command_queue, cl_mem, void* mapped, cl_uint waits, const cl_event*, cl_event*);
  cl_int (*flush)(cl_command_queue);
  cl_int (*finish)(cl_command_queue);
  cl_int (*wait_for_events)(cl_uint count, const cl_event*);
  cl_int (*get_event_info)(cl_event, cl_uint what, std::size_t bytes, void* out, std::size_t* needed);
  cl_int (*release_event)(cl_event);
};

/// "CL_OUT_OF_RESOURCES (-5)"; only the number for those that aren't met here.
std::string name_of_result(cl_int result);

}  // namespace headrace::device::opencl
