// A checkpoint's metadata as a Python dict, and back.
#pragma once

#include <headrace/metadata.hpp>

#include <nanobind/nanobind.h>

namespace headrace::python {

namespace nb = nanobind;

/// str for strings, int, float and bool for numbers, lists for arrays, nested ones too. In the metadata's order.
nb::dict to_dict(const Metadata& metadata);

/// The reverse. Each value gets the type that llama.cpp and its tools give such values, so that they find what they
/// look for:
///   str    string
///   bool   boolean
///   int    u32; i32 when negative; u64 or i64 when it fits neither
///   float  f32, to which it is rounded; f64 only when it is too large for that
///   list   an array (also a tuple): of strings, booleans, arrays, f32 (where one element is a float), or else i32,
///          u32, i64 or u64, the first that holds all; an empty one is an array of no strings
/// numpy's numbers and arrays count as Python's. Throws Error(invalid_argument) for a key that is no str, a value of
/// another type, an integer beyond 64 bits, a list of values that have no type in common.
Metadata from_dict(nb::dict pairs);

}  // namespace headrace::python
