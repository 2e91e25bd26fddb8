#include "io/http/remote.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace headrace::io::http {
namespace {

constexpr int kMostRedirects = 10;
constexpr unsigned kMostConnections = 256;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// What a signed address says when its time is over.
bool is_expired(int status) { return status == 401 || status == 403 || status == 410; }

bool is_useful(int status) { return status == 200 || status == 206; }

std::string_view meaning(int status) {
  switch (status) {
    case 400: return " (bad request)";
    case 401: return " (who are you?)";
    case 403: return " (not allowed)";
    case 404: return " (not found)";
    case 407: return " (the proxy wants credentials)";
    case 408: return " (timed out)";
    case 410: return " (gone)";
    case 412: return " (it has changed)";
    case 416: return " (no such range)";
    case 429: return " (too many requests)";
    case 500: return " (internal error)";
    case 502: return " (bad gateway)";
    case 503: return " (not available)";
    case 504: return " (gateway timed out)";
    default: return "";
  }
}

}  // namespace

Remote::Remote(const Location& location, const SourceOptions& options, std::shared_ptr<Pool> pool)
    : name_(location.text()),
      start_(std::make_shared<Target>(Target{Url(location.url(), location.text()), true})),
      credentials_(credentials_for(start_->url, options)),
      pool_(pool ? std::move(pool)
                 : Pool::of(start_->url.origin(), std::clamp(options.connections, 1U, kMostConnections))),
      known_(start_),
      cancel_(options.cancel),
      on_cancel_(cancel_.on_cancel([this] { interrupt(); })) {}

Remote::TargetPtr Remote::known() const {
  const std::lock_guard lock(mutex_);
  return known_;
}

void Remote::remember(TargetPtr target) {
  const std::lock_guard lock(mutex_);
  known_ = std::move(target);
}

void Remote::interrupt() noexcept {
  stop_ = true;
  pool_->wake();
}

Request Remote::request_for(const Target& target, Range range, const std::string& if_range) const {
  Request request{.url = target.url.text(), .range = range, .if_range = if_range};
  if (target.trusted) {
    request.headers = credentials_.headers;
    request.user = credentials_.user;
    request.password = credentials_.password;
  }
  return request;
}

Remote::TargetPtr Remote::follow(const Target& target, const Answer& answer) const {
  if (answer.location.empty()) {
    throw Error(ErrorCode::io, fmt::format("the server answers {} but doesn't say where to go", answer.status),
                {.file = name_, .expected = "a Location header"});
  }
  Url next = target.url.follow(answer.location, name_);
  if (target.url.secure() && !next.secure()) {
    throw Error(ErrorCode::io, "the server redirects from https:// to http://, which isn't safe",
                {.file = name_, .found = next.shown(), .hint = "give the http:// address itself if you trust it"});
  }
  // Once elsewhere, always a stranger: another host shall not choose what is asked of the first with its credentials.
  const bool trusted = target.trusted && next.origin() == start_->url.origin();
  return std::make_shared<Target>(Target{std::move(next), trusted});
}

Reply Remote::get(Connection& connection, Range range, const std::string& if_range, Receiver& receiver) try {
  TargetPtr target = known();
  bool may_have_expired = target != start_;
  for (int redirects = 0;;) {
    Outcome outcome = connection.perform(request_for(*target, range, if_range), receiver, stop_);
    const Answer& answer = connection.answer();
    const bool answered = answer.complete();
    if (answered && may_have_expired && is_expired(answer.status)) {
      may_have_expired = false;
      const TargetPtr newer = known();  // by another thread
      target = newer == target ? start_ : newer;
      continue;
    }
    if (answered && is_redirect(answer.status)) {
      if (++redirects > kMostRedirects) {
        throw Error(ErrorCode::io, fmt::format("more than {} redirects in a row", kMostRedirects),
                    {.file = name_, .found = "the last one leads to " + target->url.shown()});
      }
      target = follow(*target, answer);
      continue;
    }
    if (answered && is_useful(answer.status)) remember(target);
    const std::string where = target->url.origin() == start_->url.origin() ? "" : plain(target->url.origin());
    return {std::move(outcome), answer, where};
  }
} catch (const Error& error) {
  rethrow(error, name_);
}

void Remote::try_again(Retry& retry, const Reply& reply, std::uint64_t bytes, std::optional<std::uint64_t> offset) {
  const bool answered = reply.outcome.end == End::refused || reply.outcome.end == End::complete;
  const bool useful = answered && is_useful(reply.answer.status);  // but less than what was asked for
  const bool passing = reply.outcome.end == End::lost || useful || (answered && is_passing(reply.answer.status));
  if (!passing) throw error(reply, offset, retry.attempts() + 1);
  if (useful && bytes >= Retry::kProgress) return retry.start_over();  // some give no more than so much at a time
  const auto pause = retry.after(bytes, answered ? reply.answer.retry_after : std::nullopt);
  if (!pause) throw error(reply, offset, retry.attempts());
  if (retry.attempts() > 1) remember(start_);  // where it leads to now may be better
  pool_->pause(*pause, stop_);
}

std::string Remote::hint_for(int status) const {
  if (status == 401 || status == 403 || (status == 404 && credentials_.for_hub)) {
    if (!credentials_.for_hub) return "give what the server wants with --header 'Name: value'";
    const char* first = status == 404 ? "check owner, name, file and revision; " : "";
    return first + std::string(credentials_.has_token
                                   ? "does the token belong to someone who may read it, and are its terms accepted?"
                                   : "if it isn't public, set HF_TOKEN to a token that may read it");
  }
  if (status == 404 || status == 410) return "check the address";
  if (status == 429) return "fewer --connections may help";
  return {};
}

Error Remote::error(const Reply& reply, std::optional<std::uint64_t> offset, int attempts) const {
  const int status = reply.answer.status;
  std::string problem, reason = reply.outcome.problem, hint;
  if (reply.outcome.end == End::failed) {
    problem = "the server can't be asked";
  } else if (reply.outcome.end == End::lost) {
    problem = reply.answer.complete() ? "the connection is lost" : "the server doesn't answer";
  } else if (is_useful(status)) {
    problem = "the server sends less than it was asked for";
  } else {
    problem = fmt::format("the server answers {}{}", status, meaning(status));
    hint = hint_for(status);
  }
  if (!reply.where.empty()) problem += " at " + reply.where;
  if (attempts > 1) problem += fmt::format(" after {} attempts", attempts);
  if (!reason.empty()) problem += ": " + reason;
  return {ErrorCode::io, std::move(problem), {.file = name_, .offset = offset, .hint = std::move(hint)}};
}

void rethrow(const Error& error, const std::string& file) {
  if (!error.detail().file.empty()) throw error;
  ErrorDetail detail = error.detail();
  detail.file = file;
  throw Error(error.code(), error.problem(), std::move(detail));
}

}  // namespace headrace::io::http
