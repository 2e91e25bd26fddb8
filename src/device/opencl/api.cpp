#include "device/opencl/api.hpp"

#include <array>
#include <utility>

namespace headrace::device::opencl {

Api::Api() : library(library_file("HEADRACE_OPENCL_LIBRARY", "libOpenCL.so.1")) {
  library.bind(get_platforms, "clGetPlatformIDs");
  library.bind(get_devices, "clGetDeviceIDs");
  library.bind(get_device_info, "clGetDeviceInfo");
  library.bind(create_context, "clCreateContext");
  library.bind(retain_context, "clRetainContext");
  library.bind(release_context, "clReleaseContext");
  library.bind(get_context_info, "clGetContextInfo");
  library.bind(create_queue, "clCreateCommandQueue");  // of 1.0, which every loader and driver still has
  library.bind(release_queue, "clReleaseCommandQueue");
  library.bind(create_buffer, "clCreateBuffer");
  library.bind(retain_memory, "clRetainMemObject");
  library.bind(release_memory, "clReleaseMemObject");
  library.bind(get_memory_info, "clGetMemObjectInfo");
  library.bind(enqueue_write, "clEnqueueWriteBuffer");
  library.bind(enqueue_read, "clEnqueueReadBuffer");
  library.bind(enqueue_map, "clEnqueueMapBuffer");
  library.bind(enqueue_unmap, "clEnqueueUnmapMemObject");
  library.bind(flush, "clFlush");
  library.bind(finish, "clFinish");
  library.bind(wait_for_events, "clWaitForEvents");
  library.bind(get_event_info, "clGetEventInfo");
  library.bind(release_event, "clReleaseEvent");
}

std::string name_of_result(cl_int result) {
  static constexpr std::array<std::pair<cl_int, const char*>, 16> kNames{{{-1, "CL_DEVICE_NOT_FOUND"},
                                                                          {-2, "CL_DEVICE_NOT_AVAILABLE"},
                                                                          {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
                                                                          {-5, "CL_OUT_OF_RESOURCES"},
                                                                          {-6, "CL_OUT_OF_HOST_MEMORY"},
                                                                          {-12, "CL_MAP_FAILURE"},
                                                                          {-14, "CL_EXEC_STATUS_ERROR_FOR_EVENTS"},
                                                                          {-30, "CL_INVALID_VALUE"},
                                                                          {-33, "CL_INVALID_DEVICE"},
                                                                          {-34, "CL_INVALID_CONTEXT"},
                                                                          {-36, "CL_INVALID_COMMAND_QUEUE"},
                                                                          {-38, "CL_INVALID_MEM_OBJECT"},
                                                                          {-58, "CL_INVALID_EVENT"},
                                                                          {-59, "CL_INVALID_OPERATION"},
                                                                          {-61, "CL_INVALID_BUFFER_SIZE"},
                                                                          {-1001, "CL_PLATFORM_NOT_FOUND_KHR"}}};
  const std::string number = std::to_string(result);
  for (const auto& [code, name] : kNames) {
    if (code == result) return std::string(name) + " (" + number + ")";
  }
  return number;
}

}  // namespace headrace::device::opencl
