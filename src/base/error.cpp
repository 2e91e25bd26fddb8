#include <headrace/error.hpp>

#include <utility>

namespace headrace {
namespace {

std::string compose(const std::string& problem, const ErrorDetail& detail) {
  std::string text;
  if (!detail.file.empty()) text += detail.file + ": ";
  if (!detail.tensor.empty()) text += "tensor '" + detail.tensor + "': ";
  if (detail.offset) text += "at byte " + std::to_string(*detail.offset) + ": ";
  text += problem;
  if (!detail.expected.empty() || !detail.found.empty()) {
    text += " (";
    if (!detail.expected.empty()) text += "expected " + detail.expected;
    if (!detail.expected.empty() && !detail.found.empty()) text += ", ";
    if (!detail.found.empty()) text += "found " + detail.found;
    text += ")";
  }
  if (!detail.hint.empty()) text += "; " + detail.hint;
  return text;
}

}  // namespace

const char* to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::io: return "io";
    case ErrorCode::format: return "format";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::conflict: return "conflict";
    case ErrorCode::no_space: return "no_space";
    case ErrorCode::budget: return "budget";
    case ErrorCode::value: return "value";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::internal: return "internal";
  }
  return "unknown";
}

Error::Error(ErrorCode code, std::string problem, ErrorDetail detail)
    : code_(code), problem_(std::move(problem)), detail_(std::move(detail)), message_(compose(problem_, detail_)) {}

}  // namespace headrace
