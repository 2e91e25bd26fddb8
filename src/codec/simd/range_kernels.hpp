// The check: is there a number that the target can't represent? One vector pass that only says yes or no, since the
// answer is nearly always no.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/kernel.hpp"

namespace headrace::codec::kernels {

/// True when any of `n` float32 numbers is one of `range`'s.
bool any_in_range(const float* numbers, std::size_t n, BadRange range);

/// True when any of `n` float64 numbers (unaligned) is finite but would be infinite as float32.
bool any_overflows_f32(const std::byte* numbers, std::size_t n);

/// The same questions about one number.
bool in_range(float number, BadRange range) noexcept;
bool overflows_f32(double number) noexcept;

}  // namespace headrace::codec::kernels
