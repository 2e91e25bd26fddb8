// Any bytes as a GGUF file, with its magic put right.
#include "fuzz_support.hpp"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.size() >= 4) bytes.replace(0, 4, "GGUF");
  headrace::fuzz::check_header(bytes);
  return 0;
}
