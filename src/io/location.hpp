// Location: where something is, as people write it, and how it is opened.
#pragma once

#include "io/byte_source.hpp"

#include <headrace/source.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace headrace::io {

enum class Place : std::uint8_t {
  path,
  url,
  standard_input,
  fetched,  ///< wherever the caller's Fetch finds it
};

/// Who opens what is at a location: Headrace, or the caller's Fetch, to whom any text may mean something.
enum class Opener : std::uint8_t { own, fetch };

/// A path, an http:// or https:// URL, hf://owner/repo/file[@revision], or "-".
class Location {
 public:
  /// Throws Error(invalid_argument) for an hf:// location that names no file, for an HF_ENDPOINT that is no address,
  /// or, for Headrace itself, another scheme.
  explicit Location(std::string text, Opener opener = Opener::own);

  Place place() const noexcept { return place_; }
  /// For people: as it was given, without the credentials and the query that a URL may hold.
  const std::string& text() const noexcept { return text_; }
  /// For a path.
  std::filesystem::path path() const { return address_; }
  /// For a URL: what is asked of the server; hf:// resolved against HF_ENDPOINT.
  const std::string& url() const noexcept { return address_; }
  /// For a caller's Fetch: as it was given, all of it.
  const std::string& given() const noexcept { return kind_ == Kind::hub ? text_ : address_; }
  /// The last part: "model.safetensors".
  std::string leaf() const;

  /// `relative` seen from the folder this lies in: "sub/part.bin". It must stay inside (see stays_inside). In a URL,
  /// what has to be percent-encoded will be; what is so already stays.
  Location beside(std::string_view relative) const;

 private:
  enum class Kind : std::uint8_t { path, url, hub };

  Place place_ = Place::path;
  Kind kind_ = Kind::path;
  std::string text_, address_;
  std::string revision_;  // hf://…@revision: what text_ ends in
};

/// `relative` in the folder or at the URL `prefix`, with a '/' between where there is none. What has to be
/// percent-encoded of `relative` in a URL will be; `prefix` stays as it is.
Location below(std::string_view prefix, std::string_view relative, Opener opener);

/// Who opens what these options are given for.
Opener opener_of(const SourceOptions& options) noexcept;

/// Where the model hub is: HF_ENDPOINT, or https://huggingface.co. It doesn't end with a slash.
/// Throws Error(invalid_argument) for what isn't http:// or https://.
std::string hub_endpoint();

/// True for a relative path with forward slashes that can't leave its folder: not absolute, no "..", no scheme. Dots
/// count when they are percent-encoded too, as servers decode them.
bool stays_inside(std::string_view relative) noexcept;

/// Opens a regular file, a URL, the standard input or what `options.fetch` makes of the location; waits end when
/// `options.cancel` is cancelled. Throws Error: io, cancelled, unsupported for a URL in a build without libcurl; and
/// what the caller's code throws.
std::shared_ptr<const ByteSource> open(const Location& location, const SourceOptions& options);

}  // namespace headrace::io
