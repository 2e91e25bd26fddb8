// Credentials: what goes along with requests, and to whom.
#pragma once

#include "io/http/url.hpp"

#include <headrace/source.hpp>

#include <string>
#include <vector>

namespace headrace::io::http {

/// The token for the hub: HF_TOKEN, or what `huggingface-cli login` has left in HF_HOME/token or
/// ~/.cache/huggingface/token unless HF_HUB_DISABLE_IMPLICIT_TOKEN is set. Empty when there is none.
/// Throws Error(invalid_argument) for one that can't be sent.
std::string hub_token();

/// What one location's own origin gets, and no other.
struct Credentials {
  std::vector<std::string> headers;  // "Name: value", as libcurl takes them
  std::string user, password;
  bool for_hub = false;  // the origin is the hub's
  bool has_token = false;
};

/// Throws Error(invalid_argument) for a header that breaks the rules or belongs to Headrace; its value isn't shown.
Credentials credentials_for(const Url& url, const SourceOptions& options);

}  // namespace headrace::io::http
