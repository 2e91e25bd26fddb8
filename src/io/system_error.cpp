#include "io/system_error.hpp"

#include <cerrno>
#include <system_error>

namespace headrace::io {

Error system_error(int number, const std::string& what, const std::string& file, std::optional<std::uint64_t> offset) {
  ErrorCode code = ErrorCode::io;
  std::string hint;
  switch (number) {
    case ENOSPC:
    case EDQUOT:
      code = ErrorCode::no_space;
      hint = "free some space or write elsewhere";
      break;
    case EFBIG:
      code = ErrorCode::no_space;
      hint = "this file system or a limit (ulimit -f) doesn't allow files that large";
      break;
    case EEXIST:
      code = ErrorCode::conflict;
      hint = "use --force to replace it";
      break;
    case EMFILE:
    case ENFILE: hint = "raise the limit of open files (ulimit -n)"; break;
    default: break;
  }
  return {code,
          "can't " + what + ": " + std::generic_category().message(number),
          {.file = file, .offset = offset, .hint = hint, .system = number}};
}

}  // namespace headrace::io
