#include <headrace/cancel.hpp>
#include <headrace/error.hpp>

#include <list>
#include <mutex>
#include <utility>

namespace headrace {

struct CancelToken::State {
  std::atomic<bool> cancelled{false};
  std::mutex mutex;  // held while listeners run, so that dropping a handle waits for its listener to return
  std::list<std::function<void()>> listeners;
};

CancelToken::CancelToken() : state_(std::make_shared<State>()) {}

void CancelToken::cancel() const {
  const std::lock_guard lock(state_->mutex);
  if (state_->cancelled.exchange(true)) return;
  for (const auto& wake : state_->listeners) wake();
}

bool CancelToken::cancelled() const noexcept { return state_->cancelled.load(std::memory_order_relaxed); }

void CancelToken::throw_if_cancelled() const {
  if (cancelled()) throw Error(ErrorCode::cancelled, "cancelled");
}

std::shared_ptr<void> CancelToken::on_cancel(std::function<void()> wake) const {
  const std::lock_guard lock(state_->mutex);
  if (state_->cancelled) wake();
  const auto at = state_->listeners.insert(state_->listeners.end(), std::move(wake));
  // The handle's address is unimportant; what matters is the deleter, which forgets the listener.
  return {state_.get(), [state = state_, at](void*) {
            const std::lock_guard relock(state->mutex);
            state->listeners.erase(at);
          }};
}

}  // namespace headrace
