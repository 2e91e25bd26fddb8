#include "device/errors.hpp"

namespace headrace::device {

Error out_of_memory(const std::string& device, const std::string& what, std::uint64_t bytes,
                    const std::optional<std::uint64_t>& free) {
  return {ErrorCode::no_space,
          "not enough " + what,
          {.file = device,
           .expected = bytes != 0 ? std::to_string(bytes) + " bytes" : "",
           .found = free ? std::to_string(*free) + " bytes free" : ""}};
}

Error call_failed(const std::string& device, const std::string& call, const std::string& code) {
  return {ErrorCode::io, call + " failed: " + code, {.file = device}};
}

Error not_usable(const std::string& device, const std::string& problem, const std::string& hint) {
  return {ErrorCode::unsupported, problem, {.file = device, .hint = hint}};
}

}  // namespace headrace::device
