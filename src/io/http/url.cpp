#include "io/http/url.hpp"

#include <headrace/error.hpp>

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <new>

namespace headrace::io::http {
namespace {

struct FreeUrl {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
};
using Handle = std::unique_ptr<CURLU, FreeUrl>;

Handle made() {
  Handle url(curl_url());
  if (!url) throw std::bad_alloc();
  return url;
}

// A part; empty when there is none.
std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) return {};
  const std::unique_ptr<char, void (*)(void*)> owner(text, curl_free);
  return text;
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Parses `text`, or resolves it against what `url` holds already. An empty string is all right, else what is wrong.
std::string set(CURLU* url, const std::string& text) {
  if (text.find('\0') != text.npos) return "a NUL byte";
  const CURLUcode code = curl_url_set(url, CURLUPART_URL, text.c_str(), CURLU_URLENCODE | CURLU_NON_SUPPORT_SCHEME);
  if (code != CURLUE_OK) return curl_url_strerror(code);
  const std::string scheme = lower(part(url, CURLUPART_SCHEME));
  return scheme == "http" || scheme == "https" ? std::string() : "an address of the kind " + plain(scheme);
}

// Takes the fragment and the credentials out, and reads the rest.
void clean(CURLU* url, std::string& text, std::string& origin) {
  for (const CURLUPart secret : {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_FRAGMENT})
    curl_url_set(url, secret, nullptr, 0);
  text = part(url, CURLUPART_URL);
  origin = lower(part(url, CURLUPART_SCHEME)) + "://" + lower(part(url, CURLUPART_HOST)) + ":" +
           part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

}  // namespace

Url::Url(const std::string& text, const std::string& name) {
  const Handle url = made();
  if (const std::string wrong = set(url.get(), text); !wrong.empty()) {
    throw Error(ErrorCode::invalid_argument, "this is no address of a file on the web",
                {.file = name, .expected = "https://host/path", .found = wrong});
  }
  user_ = part(url.get(), CURLUPART_USER, CURLU_URLDECODE);
  password_ = part(url.get(), CURLUPART_PASSWORD, CURLU_URLDECODE);
  clean(url.get(), text_, origin_);
}

Url Url::follow(const std::string& reference, const std::string& name) const {
  const Handle url = made();
  std::string wrong = set(url.get(), text_);
  if (wrong.empty()) wrong = set(url.get(), reference);
  if (!wrong.empty()) {
    throw Error(ErrorCode::io, "the server redirects to where Headrace can't go",
                {.file = name, .expected = "an http:// or https:// address", .found = wrong});
  }
  Url next;
  clean(url.get(), next.text_, next.origin_);
  return next;
}

std::string Url::shown() const { return plain(text_.substr(0, text_.find('?'))); }

std::string plain(std::string_view text) {
  constexpr std::size_t kMost = 300;
  std::string out;
  for (const char c : text.substr(0, kMost)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte >= 0x20 && byte < 0x7f ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  return text.size() > kMost ? out + "..." : out;
}

}  // namespace headrace::io::http
