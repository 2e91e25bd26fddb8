// The keywords of plan() and convert() as ConvertOptions, those of load() and stream() as LoadOptions.
#pragma once

#include <headrace/load.hpp>
#include <headrace/plan.hpp>
#include <headrace/source.hpp>

#include <nanobind/nanobind.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace headrace::python {

namespace nb = nanobind;

/// `given` holds what was given, as _options.py has made it plain: str, int, bool, lists of str.
/// Throws Error(invalid_argument), naming the keyword.
ConvertOptions convert_options(const nb::dict& given);

/// The same of load() and stream(), without what is called back. Throws as convert_options.
LoadOptions load_options(const nb::dict& given);

/// fetch, weight_path_prefix and weight_url_converter, which say where files are.
void set_places(const nb::dict& given, SourceOptions& source);

/// Those, and torch_key, variant, headers and connections.
SourceOptions source_options(const nb::dict& given);

/// memory, or the default; threads, or 0.
std::uint64_t memory_of(const nb::dict& given);
unsigned threads_of(const nb::dict& given);

/// Pairs of location and prefix.
std::vector<Input> inputs_of(const nb::list& given);

}  // namespace headrace::python
