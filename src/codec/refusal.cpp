#include "codec/refusal.hpp"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <utility>

#include "codec/codec.hpp"

namespace headrace::codec {

void require_pair(DType from, DType to, ErrorDetail where) {
  if (from == to) return;
  if (!can_decode(from)) {
    where.hint = "it can only be had as it is";
    throw Error(ErrorCode::invalid_argument, "the numbers of " + std::string(name(from)) + " can't be read",
                std::move(where));
  }
  if (can_encode(to)) return;
  throw Error(ErrorCode::invalid_argument, "numbers can't be turned into " + std::string(name(to)), std::move(where));
}

void refuse_value(std::uint64_t element, double value, DType to, ErrorDetail where) {
  const bool too_large = std::isfinite(value) && (value > 0 || to != DType::F8_E8M0);  // which has no zero and no sign
  const char* problem = too_large ? "is too large for" : "can't be represented in";
  where.found = fmt::format("{}", value);
  throw Error(ErrorCode::value, fmt::format("element {} {} {}", element, problem, name(to)), std::move(where));
}

}  // namespace headrace::codec
