// Errors: the one exception type that leaves the library.
//
// Every failure names what a person needs to find it: the file, the tensor, the byte offset in that file,
// what was expected and what was found, and where possible what to do about it.
// Thread-safety: an Error is a value; copies are independent.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>

namespace headrace {

/// What kind of failure it was, for programs; the message is for people.
enum class ErrorCode : std::uint8_t {
  io,                ///< the system refused a read, a write, a flush or a rename
  format,            ///< a file's bytes break the rules of its format
  unsupported,       ///< valid, but this build or the target format can't do it
  invalid_argument,  ///< the caller asked for something that makes no sense
  conflict,          ///< an output exists, or is one of the inputs
  no_space,          ///< the file system can't hold the output
  budget,            ///< the memory budget is too small for the job
  value,             ///< a number in a tensor can't be represented in the type asked for
  cancelled,         ///< the caller's CancelToken fired
  internal,          ///< a bug in Headrace
};

/// The code's name in lower case, as `--json` prints it ("format", "no_space", …). Static storage.
const char* to_string(ErrorCode code) noexcept;

/// Where an error happened and what would have been right. Empty fields are left out of the message.
struct ErrorDetail {
  std::string file = {};                     ///< path as the caller gave it
  std::string tensor = {};                   ///< tensor name
  std::optional<std::uint64_t> offset = {};  ///< byte offset in `file`
  std::string expected = {};
  std::string found = {};
  std::string hint = {};  ///< what the reader of the message can do about it
  int system = 0;         ///< the system's number for it (errno), where the system refused something
};

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string problem, ErrorDetail detail = {});

  /// "FILE: tensor 'NAME': at byte N: PROBLEM (expected X, found Y); HINT".
  const char* what() const noexcept override { return message_.c_str(); }
  ErrorCode code() const noexcept { return code_; }
  const std::string& problem() const noexcept { return problem_; }
  const ErrorDetail& detail() const noexcept { return detail_; }

 private:
  ErrorCode code_;
  std::string problem_;
  ErrorDetail detail_;
  std::string message_;
};

}  // namespace headrace
