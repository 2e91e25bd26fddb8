#include "io/location.hpp"

#include "io/fetched_source.hpp"
#include "io/file.hpp"
#include "io/http/http_source.hpp"
#include "io/pipe.hpp"

#include <headrace/error.hpp>

#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace headrace::io {
namespace {

constexpr std::string_view kHub = "hf://";
constexpr std::string_view kSafeInPath = "/!$&'()*+,;=:@";

bool starts_with_any_case(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() && ::strncasecmp(text.data(), lower.data(), lower.size()) == 0;
}

bool is_url(std::string_view text) {
  return starts_with_any_case(text, "https://") || starts_with_any_case(text, "http://");
}

// "https://user:secret@host/x?signature" without "user:secret@" and from the question mark on.
std::string without_secrets(const std::string& url) {
  const std::size_t host = url.find("://") + 3;
  const std::size_t path = std::min(url.find_first_of("/?#", host), url.size());
  const std::size_t at = url.substr(0, path).rfind('@');
  const std::size_t from = at == url.npos || at < host ? host : at + 1;
  return url.substr(0, host) + url.substr(from, std::min(url.find_first_of("?#", from), url.size()) - from);
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

enum class Percent { encode, keep_escapes };

// Letters, digits, RFC 3986's unreserved marks and those of `safe` stay as they are.
std::string encoded(std::string_view text, std::string_view safe, Percent percent) {
  constexpr std::string_view kHex = "0123456789ABCDEF", kUnreserved = "-._~";
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool alphanumeric =
        (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
    const bool escape = percent == Percent::keep_escapes && byte == '%' && i + 2 < text.size() && is_hex(text[i + 1]) &&
                        is_hex(text[i + 2]);
    if (alphanumeric || escape || kUnreserved.find(text[i]) != kUnreserved.npos || safe.find(text[i]) != safe.npos) {
      out += text[i];
    } else {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

struct HubFile {
  std::string path;      // owner/repo/file
  std::string revision;  // empty: none was named
  bool last = false;     // it was named after the file, not after the repository
};

// owner/repo/file@revision or owner/repo@revision/file. After the file, a revision may have slashes; after the
// repository, the file may have an @.
HubFile parse_hub_file(std::string rest) {
  HubFile file;
  const std::size_t first = rest.find('@');
  if (first == rest.npos) return {std::move(rest), {}, false};
  const auto slashes = std::count(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(first), '/');
  if (slashes == 1) {
    const std::size_t end = std::min(rest.find('/', first), rest.size());
    return {rest.substr(0, first) + rest.substr(end), rest.substr(first + 1, end - first - 1), false};
  }
  return {rest.substr(0, first), rest.substr(first + 1), true};
}

bool has_plain_parts(std::string_view path) {
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return true;
}

// On the server that HF_ENDPOINT names. `revision`: what the location ends in, from the @ on.
std::string hub_url(const std::string& text, std::string& revision) {
  const HubFile file = parse_hub_file(text.substr(kHub.size()));
  const std::size_t owner = file.path.find('/');
  const std::size_t repo = owner == file.path.npos ? owner : file.path.find('/', owner + 1);
  const bool named = file.revision.empty() == (text.find('@') == text.npos);
  if (repo == file.path.npos || !named || !has_plain_parts(file.path)) {
    throw Error(ErrorCode::invalid_argument, "this names no file on a model hub",
                {.file = text, .expected = "hf://owner/repo/file or hf://owner/repo/file@revision"});
  }
  if (file.last) revision = "@" + file.revision;
  const std::string version = encoded(file.revision.empty() ? "main" : file.revision, "", Percent::encode);
  return hub_endpoint() + "/" + encoded(file.path.substr(0, repo), "/", Percent::encode) + "/resolve/" + version +
         encoded(file.path.substr(repo), "/", Percent::encode);
}

}  // namespace

std::string hub_endpoint() {
  const char* given = std::getenv("HF_ENDPOINT");
  std::string endpoint = given && *given ? given : "https://huggingface.co";
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (!is_url(endpoint)) {
    throw Error(ErrorCode::invalid_argument, "HF_ENDPOINT isn't the address of a model hub",
                {.expected = "https://host"});
  }
  return endpoint;
}

Location::Location(std::string text, Opener opener) : text_(std::move(text)), address_(text_) {
  const std::size_t scheme = text_.find("://");
  if (text_.starts_with(kHub)) {
    kind_ = Kind::hub;
    address_ = hub_url(text_, revision_);
  } else if (is_url(text_) || (opener == Opener::fetch && scheme != text_.npos && !text_.starts_with('/'))) {
    kind_ = Kind::url;
    text_ = without_secrets(text_);
  }
  if (opener == Opener::fetch) {
    place_ = Place::fetched;
  } else if (text_ == "-") {
    place_ = Place::standard_input;
    text_ = "standard input";
  } else if (kind_ != Kind::path) {
    place_ = Place::url;
  } else if (scheme != text_.npos && !text_.starts_with('/')) {
    if (std::filesystem::exists(address_)) return;
    throw Error(ErrorCode::invalid_argument, "Headrace doesn't know this kind of address",
                {.file = text_, .expected = "a path, https://…, http://… or hf://…"});
  }
}

std::string Location::leaf() const {
  if (kind_ == Kind::path) return std::filesystem::path(address_).filename().string();
  const std::string path = address_.substr(0, address_.find_first_of("?#"));
  return path.substr(path.rfind('/') + 1);
}

// What follows "?" belongs to the one file it was given for.
Location Location::beside(std::string_view relative) const {
  Location other = *this;
  if (kind_ == Kind::path) {
    other.text_ = other.address_ = (path().parent_path() / relative).string();
    return other;
  }
  std::string& url = other.address_;
  url.erase(std::min(url.find_first_of("?#"), url.size()));
  url.erase(url.rfind('/') + 1);
  url += encoded(relative, kSafeInPath, Percent::keep_escapes);
  std::string& text_of = other.text_;
  text_of.erase(text_of.size() - revision_.size());
  text_of.erase(text_of.rfind('/') + 1);
  text_of.append(relative).append(revision_);
  return other;
}

Location below(std::string_view prefix, std::string_view relative, Opener opener) {
  std::string text(prefix);
  if (!text.ends_with('/')) text += '/';
  const bool is_address = text.find("://") != text.npos && !text.starts_with('/') && !text.starts_with(kHub);
  text += is_address ? encoded(relative, kSafeInPath, Percent::keep_escapes) : std::string(relative);
  return Location(std::move(text), opener);
}

Opener opener_of(const SourceOptions& options) noexcept { return options.fetch ? Opener::fetch : Opener::own; }

bool stays_inside(std::string_view relative) noexcept {
  if (relative.empty() || relative.front() == '/' || relative.find('\\') != relative.npos) return false;
  if (relative.find(':') != relative.npos || relative.find('\0') != relative.npos) return false;
  for (std::size_t at = relative.find('%'); at != relative.npos; at = relative.find('%', at + 1)) {
    const std::string_view escape = relative.substr(at);  // a server may take it for what it stands for
    if (starts_with_any_case(escape, "%2f") || starts_with_any_case(escape, "%5c")) return false;
  }
  while (!relative.empty()) {
    const std::size_t end = std::min(relative.find('/'), relative.size());
    std::string_view part = relative.substr(0, end);
    int dots = 0;
    while (!part.empty()) {
      const std::size_t dot = part.front() == '.' ? 1 : starts_with_any_case(part, "%2e") ? 3 : 0;
      if (dot == 0) break;
      part.remove_prefix(dot);
      ++dots;
    }
    if (part.empty() && dots == 2) return false;
    relative.remove_prefix(std::min(end + 1, relative.size()));
  }
  return true;
}

std::shared_ptr<const ByteSource> open(const Location& location, const SourceOptions& options) {
  options.cancel.throw_if_cancelled();
  switch (location.place()) {
    case Place::fetched: return open_fetched(location, options);
    case Place::path: break;
    case Place::url: return open_url(location, options);
    case Place::standard_input: return std::make_shared<Pipe>(STDIN_FILENO, location.text(), options.cancel);
  }
  return std::make_shared<File>(File::open(location.path()));
}

}  // namespace headrace::io
