// Url: a web address in its parts, and what of it may be shown.
#pragma once

#include <string>
#include <string_view>

namespace headrace::io::http {

/// An http:// or https:// URL as a server is asked for it: without credentials and fragment, which are kept apart.
/// A value; copies are independent.
class Url {
 public:
  /// Odd characters are percent-encoded. Throws Error(invalid_argument); `name` is what the error calls it.
  Url(const std::string& text, const std::string& name);

  /// Where a Location header leads from here. Credentials in it are ignored: only the caller's are ever sent.
  /// Throws Error(io) when it makes no sense or isn't HTTP.
  Url follow(const std::string& reference, const std::string& name) const;

  const std::string& text() const noexcept { return text_; }
  /// Scheme, host and port, in one spelling: credentials belong to one origin.
  const std::string& origin() const noexcept { return origin_; }
  bool secure() const noexcept { return origin_.starts_with("https:"); }
  const std::string& user() const noexcept { return user_; }
  const std::string& password() const noexcept { return password_; }
  /// For people: without the query, which may hold a signature.
  std::string shown() const;

 private:
  Url() = default;

  std::string text_, origin_, user_, password_;
};

/// Text from a server, cut short, with everything but printable ASCII escaped.
std::string plain(std::string_view text);

}  // namespace headrace::io::http
