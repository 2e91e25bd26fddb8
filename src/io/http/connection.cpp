#include "io/http/connection.hpp"

#include "io/http/quiet_pipe.hpp"
#include "io/http/url.hpp"

#include <headrace/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

namespace headrace::io::http {
namespace {

constexpr long kBuffer = 256L << 10;  // fewer calls; beyond, nothing is gained
constexpr int kLongestWait = 1000;    // ms, between two looks at the clock

// Once, and never undone: other threads may be using libcurl, ours or the host program's.
void start_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw Error(ErrorCode::io, fmt::format("libcurl doesn't start: {}", curl_easy_strerror(code)));
}

template <class T>
void set(CURL* easy, CURLoption option, T value) {
  const CURLcode code = curl_easy_setopt(easy, option, value);
  if (code == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
  if (code != CURLE_OK)
    throw Error(ErrorCode::internal,
                fmt::format("libcurl refuses option {}: {}", static_cast<int>(option), curl_easy_strerror(code)));
}

// The variables that the curl command knows; the library alone doesn't look at them.
void set_certificates(CURL* easy) {
  const auto given = [](const char* name) -> const char* {
    const char* value = std::getenv(name);
    return value && *value ? value : nullptr;
  };
  const char* file = given("CURL_CA_BUNDLE");
  if (!file) file = given("SSL_CERT_FILE");
  if (file) set(easy, CURLOPT_CAINFO, file);
  if (const char* folder = given("SSL_CERT_DIR")) set(easy, CURLOPT_CAPATH, folder);
}

// Trouble that another attempt won't cure.
bool is_lasting(CURLcode code) {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_NOT_BUILT_IN:
    case CURLE_OUT_OF_MEMORY:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_LOGIN_DENIED:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_WEIRD_SERVER_REPLY: return true;
    default: return false;
  }
}

}  // namespace

Connection::Connection(const Patience& patience) : patience_(patience) {
  start_curl();
  multi_.reset(curl_multi_init());
  if (!multi_) throw std::bad_alloc();
  curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS, 1L);
}

Connection::~Connection() {
  const QuietPipe quiet;
  drop();
  easy_.reset();
  multi_.reset();
}

void Connection::wake() noexcept { curl_multi_wakeup(multi_.get()); }

void Connection::drop() noexcept {
  if (!active_) return;
  // A name that is still being looked up isn't waited for.
  curl_easy_setopt(easy_.get(), CURLOPT_QUICK_EXIT, 1L);
  curl_multi_remove_handle(multi_.get(), easy_.get());
  active_ = false;
}

void Connection::add_header(const std::string& line) {
  curl_slist* longer = curl_slist_append(headers_.get(), line.c_str());
  if (!longer) throw std::bad_alloc();
  static_cast<void>(headers_.release());
  headers_.reset(longer);
}

void Connection::set_up(const Request& request) {
  // A new one each time, for old ones keep their buffers and refuse to change them; connections stay with multi_.
  easy_.reset(curl_easy_init());
  if (!easy_) throw std::bad_alloc();
  CURL* easy = easy_.get();
  headers_.reset();
  text_.front() = '\0';
  set(easy, CURLOPT_ERRORBUFFER, text_.data());
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_URL, request.url.c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);  // see Remote: credentials must not follow
  // Ranges side by side want connections side by side; HTTP/2 would put them into one.
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set_certificates(easy);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(patience_.connect.count()));
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy, CURLOPT_BUFFERSIZE, kBuffer);
  set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(easy, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  set(easy, CURLOPT_USERAGENT, "headrace/" HEADRACE_VERSION);
  if (!request.user.empty() || !request.password.empty()) {
    set(easy, CURLOPT_USERNAME, request.user.c_str());
    set(easy, CURLOPT_PASSWORD, request.password.c_str());
  }
  add_header("Accept-Encoding: identity");  // offsets count the file's own bytes
  for (const std::string& line : request.headers) add_header(line);
  if (request.range) add_header(fmt::format("Range: bytes={}-{}", request.range->first, request.range->last));
  if (!request.if_range.empty()) add_header("If-Range: " + request.if_range);
  set(easy, CURLOPT_HTTPHEADER, headers_.get());
  set(easy, CURLOPT_HEADERFUNCTION, &Connection::on_header);
  set(easy, CURLOPT_HEADERDATA, this);
  set(easy, CURLOPT_WRITEFUNCTION, &Connection::on_body);
  set(easy, CURLOPT_WRITEDATA, this);
}

Outcome Connection::perform(const Request& request, Receiver& receiver, const std::atomic<bool>& stop) {
  const QuietPipe quiet;
  drop();
  set_up(request);
  answer_ = Answer();
  receiver_ = &receiver;
  refused_ = handed_over_ = paused_ = false;
  resumed_ = CURLE_OK;
  fault_ = nullptr;
  last_byte_ = std::chrono::steady_clock::now();
  if (curl_multi_add_handle(multi_.get(), easy_.get()) != CURLM_OK) throw std::bad_alloc();
  active_ = true;
  for (;;) {
    if (auto outcome = step(stop)) return std::move(*outcome);
    if (handed_over_) return {End::handed_over};
    wait();
  }
}

std::optional<Outcome> Connection::step(const std::atomic<bool>& stop) {
  int running = 0;
  const CURLMcode code = curl_multi_perform(multi_.get(), &running);
  if (fault_) {
    drop();
    std::rethrow_exception(std::exchange(fault_, nullptr));
  }
  if (code != CURLM_OK) {
    drop();
    return Outcome{End::failed, curl_multi_strerror(code)};
  }
  if (resumed_ != CURLE_OK) {
    drop();
    return outcome_of(resumed_);
  }
  if (running == 0) return ended();
  if (stop) {
    drop();
    throw Error(ErrorCode::cancelled, "cancelled");
  }
  if (!paused_ && patience_left().count() <= 0) {
    drop();
    return Outcome{End::lost,
                   fmt::format("not a byte came for {:g} s", static_cast<double>(patience_.stall.count()) / 1e3)};
  }
  return std::nullopt;
}

void Connection::wait() noexcept {
  const auto most = std::clamp<std::int64_t>(patience_left().count(), 0, kLongestWait);
  curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(most), nullptr);
}

void Connection::resume() noexcept {
  last_byte_ = std::chrono::steady_clock::now();
  if (!std::exchange(paused_, false)) return;
  resumed_ = curl_easy_pause(easy_.get(), CURLPAUSE_CONT);  // may call on_body
}

std::chrono::milliseconds Connection::patience_left() const noexcept {
  return std::chrono::ceil<std::chrono::milliseconds>(last_byte_ + patience_.stall - std::chrono::steady_clock::now());
}

std::optional<Outcome> Connection::ended() {
  CURLcode code = CURLE_OK;
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg == CURLMSG_DONE) code = message->data.result;
  }
  curl_multi_remove_handle(multi_.get(), easy_.get());
  active_ = false;
  return outcome_of(code);
}

Outcome Connection::outcome_of(CURLcode code) const {
  if (refused_) return {End::refused};
  if (code == CURLE_OK && !answer_.complete()) return {End::lost, "the answer breaks off in its header"};
  if (code == CURLE_OK) return {End::complete};
  const std::string_view said = text_.data();
  return {is_lasting(code) ? End::failed : End::lost, plain(said.empty() ? curl_easy_strerror(code) : said)};
}

// False when the transfer shall end here.
bool Connection::take_line(std::string_view line) {
  if (answer_.complete()) return true;  // a trailer
  if (!answer_.add(line)) {
    throw Error(ErrorCode::io, "the server's answer has an endless header");
  }
  if (!answer_.complete()) return true;
  switch (receiver_->begin(answer_)) {
    case Receiver::Body::take: return true;
    case Receiver::Body::hand_over: handed_over_ = true; return true;
    case Receiver::Body::refuse: break;
  }
  refused_ = true;
  return answer_.content_length == 0;  // nothing to refuse: the connection can be kept
}

std::size_t Connection::on_header(char* data, std::size_t size, std::size_t count, void* self) noexcept {
  auto& connection = *static_cast<Connection*>(self);
  connection.last_byte_ = std::chrono::steady_clock::now();
  try {
    return connection.take_line({data, size * count}) ? size * count : 0;
  } catch (...) {
    connection.fault_ = std::current_exception();
    return 0;
  }
}

std::size_t Connection::on_body(char* data, std::size_t size, std::size_t count, void* self) noexcept {
  auto& connection = *static_cast<Connection*>(self);
  connection.last_byte_ = std::chrono::steady_clock::now();
  try {
    switch (connection.receiver_->take(std::as_bytes(std::span(data, size * count)))) {
      case Receiver::Taken::all: return size * count;
      case Receiver::Taken::later: connection.paused_ = true; return CURL_WRITEFUNC_PAUSE;
      case Receiver::Taken::refused: connection.refused_ = true; return 0;
    }
  } catch (...) {
    connection.fault_ = std::current_exception();
  }
  return 0;
}

}  // namespace headrace::io::http
