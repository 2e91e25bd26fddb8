#include "io/http/credentials.hpp"

#include "io/location.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

namespace headrace::io::http {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  return first == text.npos ? std::string() : text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

// RFC 9110's "token".
bool is_name_character(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kMarks.find(c) != kMarks.npos;
}

bool same_name(const std::string& a, const char* b) { return ::strcasecmp(a.c_str(), b) == 0; }

// Headers with which requests wouldn't be what they have to be.
bool is_reserved(const std::string& name) {
  constexpr std::array kOurs = {"Range",      "If-Range",          "If-Match",       "If-None-Match",
                                "Connection", "Transfer-Encoding", "Content-Length", "Accept-Encoding",
                                "Expect",     "If-Modified-Since", "Upgrade",        "If-Unmodified-Since"};
  return std::ranges::any_of(kOurs, [&](const char* ours) { return same_name(name, ours); });
}

struct Header {
  std::string name, value;

  // libcurl takes "Name:" for "leave this header out", and "Name;" for one without a value.
  std::string line() const { return value.empty() ? name + ";" : name + ": " + value; }
};

Header parse_header(const std::string& text) {
  const std::size_t colon = text.find(':');
  Header header;
  header.name = text.substr(0, colon);
  const auto refuse = [](std::string problem, std::string found) {
    return Error(ErrorCode::invalid_argument, std::move(problem),
                 {.expected = "Name: value", .found = std::move(found)});
  };
  if (colon == text.npos) throw refuse("a header has no colon", {});  // it may be all secret: not shown
  if (header.name.empty() || !std::ranges::all_of(header.name, is_name_character))
    throw refuse("this is no name of a header", plain(header.name));
  if (is_reserved(header.name)) throw refuse("Headrace sets this header itself", header.name);
  header.value = text.substr(colon + 1);
  header.value.erase(0, std::min(header.value.find_first_not_of(" \t"), header.value.size()));
  if (std::ranges::any_of(header.value, is_control))
    throw refuse(fmt::format("the value of header {} has a line break or a control character", header.name), {});
  return header;
}

std::filesystem::path token_file() {
  if (const std::string path = variable("HF_TOKEN_PATH"); !path.empty()) return path;
  if (const std::string home = variable("HF_HOME"); !home.empty()) return std::filesystem::path(home) / "token";
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty())
    return std::filesystem::path(cache) / "huggingface" / "token";
  const std::string home = variable("HOME");
  return home.empty() ? std::filesystem::path() : std::filesystem::path(home) / ".cache" / "huggingface" / "token";
}

bool is_on(const std::string& value) {
  constexpr std::array kOn = {"1", "on", "yes", "true"};
  return std::ranges::any_of(kOn, [&](const char* on) { return ::strcasecmp(value.c_str(), on) == 0; });
}

// HF_ENDPOINT may be nonsense without harm to those who don't use it.
bool is_hub(const Url& url) {
  try {
    return Url(hub_endpoint(), "HF_ENDPOINT").origin() == url.origin();
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::string hub_token() {
  std::string token = trimmed(variable("HF_TOKEN"));
  const char* from = "HF_TOKEN";
  if (token.empty() && !is_on(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
    from = "the file with the hub's token";
    std::string text(4096, '\0');
    std::ifstream file(token_file(), std::ios::binary);
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
    token = trimmed(text);
  }
  if (std::ranges::any_of(token, [](char c) { return is_control(c) || c == '\t' || c == ' '; }))
    throw Error(ErrorCode::invalid_argument, fmt::format("{} doesn't hold a token", from), {.hint = "one word, hf_…"});
  return token;
}

Credentials credentials_for(const Url& url, const SourceOptions& options) {
  Credentials credentials;
  credentials.user = url.user();
  credentials.password = url.password();
  bool authorized = !url.user().empty() || !url.password().empty();
  for (const std::string& text : options.headers) {
    const Header header = parse_header(text);
    authorized = authorized || same_name(header.name, "Authorization");
    credentials.headers.push_back(header.line());
  }
  credentials.for_hub = is_hub(url);
  if (!credentials.for_hub || authorized) return credentials;
  if (const std::string token = hub_token(); !token.empty()) {
    credentials.headers.push_back("Authorization: Bearer " + token);
    credentials.has_token = true;
  }
  return credentials;
}

}  // namespace headrace::io::http
