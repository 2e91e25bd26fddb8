// What a plan for memory takes from the options of loading and of mapping, which say the same things by the same names.
#pragma once

#include <headrace/plan.hpp>

namespace headrace::plan {

template <class Options>
ConvertOptions conversion_into_memory(const Options& options) {
  ConvertOptions conversion;
  conversion.type = options.type;
  conversion.rules = options.rules;
  conversion.shaping = options.shaping;
  conversion.nonfinite = options.nonfinite;
  conversion.source = options.source;
  conversion.memory = options.memory;
  conversion.threads = options.threads;
  return conversion;
}

}  // namespace headrace::plan
