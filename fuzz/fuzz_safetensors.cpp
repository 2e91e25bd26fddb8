// Any bytes as a safetensors file: once as they are, and once with the length of the header put right, so that a change
// to the JSON doesn't stop at its length.
#include "fuzz_support.hpp"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  headrace::fuzz::check_header(bytes);
  if (const std::size_t end = bytes.rfind('}'); end != std::string::npos && end >= 8) {
    const std::uint64_t length = end + 1 - 8;
    bytes.replace(0, 8, headrace::test::raw(length));
    headrace::fuzz::check_header(bytes);
  }
  return 0;
}
