// A tensor that was loaded, as Python holds it.
#pragma once

#include <headrace/load.hpp>

namespace headrace::python {

/// Its memory stays while Python has the object, or a view of it.
struct Loaded {
  LoadedTensor tensor;
};

}  // namespace headrace::python
