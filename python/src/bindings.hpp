// What each file of bindings adds to the module.
#pragma once

#include <nanobind/nanobind.h>

namespace headrace::python {

namespace nb = nanobind;

void bind_checkpoint(nb::module_& module);  // Checkpoint and its tensors
void bind_errors(nb::module_& module);      // headrace::Error becomes headrace.Error
void bind_interrupts(nb::module_& module);  // CancelToken
void bind_metadata(nb::module_& module);    // encode_metadata

void bind_writer(nb::module_& module);   // CheckpointWriter
void bind_dtypes(nb::module_& module);   // parse_dtype, components
void bind_plan(nb::module_& module);     // Plan, PlannedTensor, DroppedTensor, Input
void bind_convert(nb::module_& module);  // plan, measure, convert, ConvertReport
void bind_verify(nb::module_& module);   // verify, VerifyReport

void bind_devices(nb::module_& module);  // devices, DeviceInfo
void bind_loaded(nb::module_& module);   // LoadedTensor
void bind_stream(nb::module_& module);   // open_stream, WeightStream, LoadReport

void bind_disk_map(nb::module_& module);  // open_disk_map, DiskMap, DiskMapStatistics

}  // namespace headrace::python
