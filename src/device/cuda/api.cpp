#include "device/cuda/api.hpp"

namespace headrace::device::cuda {

// The suffixes are part of the names: what CUDA's own header makes of cuMemAlloc.
Api::Api(const std::string& file) : library(file) {
  library.bind(init, "cuInit");
  library.bind(get_error_name, "cuGetErrorName");
  library.bind(device_count, "cuDeviceGetCount");
  library.bind(device_get, "cuDeviceGet");
  library.bind(device_name, "cuDeviceGetName");
  library.bind(device_total_memory, "cuDeviceTotalMem_v2");
  library.bind(primary_context_retain, "cuDevicePrimaryCtxRetain");
  library.bind(primary_context_release, "cuDevicePrimaryCtxRelease_v2");
  library.bind(context_push, "cuCtxPushCurrent_v2");
  library.bind(context_pop, "cuCtxPopCurrent_v2");
  library.bind(memory_info, "cuMemGetInfo_v2");
  library.bind(memory_allocate, "cuMemAlloc_v2");
  library.bind(memory_free, "cuMemFree_v2");
  library.bind(host_allocate, "cuMemHostAlloc");
  library.bind(host_free, "cuMemFreeHost");
  library.bind(pointer_attribute, "cuPointerGetAttribute");
  library.bind(copy_to_device, "cuMemcpyHtoDAsync_v2");
  library.bind(copy_to_host, "cuMemcpyDtoHAsync_v2");
  library.bind(stream_create, "cuStreamCreate");
  library.bind(stream_destroy, "cuStreamDestroy_v2");
  library.bind(stream_synchronize, "cuStreamSynchronize");
  library.bind(event_create, "cuEventCreate");
  library.bind(event_record, "cuEventRecord");
  library.bind(event_query, "cuEventQuery");
  library.bind(event_synchronize, "cuEventSynchronize");
  library.bind(event_destroy, "cuEventDestroy_v2");
}

std::string Api::name_of(CUresult result) const {
  const char* name = nullptr;
  if (get_error_name(result, &name) != kSuccess || name == nullptr) name = "CUDA error";
  return std::string(name) + " (" + std::to_string(result) + ")";
}

}  // namespace headrace::device::cuda
