// Everything a program needs from Headrace.
#pragma once

#include <headrace/access.hpp>      // IWYU pragma: export
#include <headrace/bytes.hpp>       // IWYU pragma: export
#include <headrace/cancel.hpp>      // IWYU pragma: export
#include <headrace/checkpoint.hpp>  // IWYU pragma: export
#include <headrace/components.hpp>  // IWYU pragma: export
#include <headrace/convert.hpp>     // IWYU pragma: export
#include <headrace/device.hpp>      // IWYU pragma: export
#include <headrace/disk_map.hpp>    // IWYU pragma: export
#include <headrace/dtype.hpp>       // IWYU pragma: export
#include <headrace/error.hpp>       // IWYU pragma: export
#include <headrace/fetch.hpp>       // IWYU pragma: export
#include <headrace/load.hpp>        // IWYU pragma: export
#include <headrace/mapping.hpp>     // IWYU pragma: export
#include <headrace/metadata.hpp>    // IWYU pragma: export
#include <headrace/nonfinite.hpp>   // IWYU pragma: export
#include <headrace/page_cache.hpp>  // IWYU pragma: export
#include <headrace/plan.hpp>        // IWYU pragma: export
#include <headrace/progress.hpp>    // IWYU pragma: export
#include <headrace/residency.hpp>   // IWYU pragma: export
#include <headrace/retype.hpp>      // IWYU pragma: export
#include <headrace/slice.hpp>       // IWYU pragma: export
#include <headrace/targets.hpp>     // IWYU pragma: export
#include <headrace/tensor.hpp>      // IWYU pragma: export
#include <headrace/verify.hpp>      // IWYU pragma: export
#include <headrace/version.hpp>     // IWYU pragma: export
#include <headrace/writer.hpp>      // IWYU pragma: export
