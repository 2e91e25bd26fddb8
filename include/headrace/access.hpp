// Access: in which order bytes can be had.
#pragma once

#include <cstdint>

namespace headrace {

enum class Access : std::uint8_t {
  random,   ///< any bytes at any time, from many threads
  forward,  ///< once, from the first byte to the last: a pipe, a server without ranges
};

}  // namespace headrace
