#include "sfu/key_frame_requests.h"

#include <algorithm>

namespace satsuma::sfu {

namespace {

/// A newcomer need not wait for the whole interval if the key frame before has come; but each costs the publisher, and joins come in crowds.
constexpr Duration urgent_interval = std::chrono::milliseconds(100);
/// A publisher that sends nothing is asked less often.
constexpr Duration silent_interval = std::chrono::seconds(2);
/// So long after one that it heard a publisher listens again, with a margin for what the path takes more or less.
constexpr Duration deafness = std::chrono::milliseconds(320);
constexpr Duration least_patience = std::chrono::milliseconds(150);
/// Of encoders, beyond what the answer took the last time.
constexpr Duration margin = std::chrono::milliseconds(50);
/// So many times it is asked without being wanted again.
constexpr unsigned max_unanswered = 6;

} // namespace

void KeyFrameRequests::handle_key_frame(TimePoint now) {
  if (unanswered_ > 0) {
    // Of several nobody knows which it was. Who sent nothing when it was asked had more to do than to answer.
    const Duration took = std::min(now - (unanswered_ == 1 ? *asked_at_ : first_asked_at_ + (*asked_at_ - first_asked_at_) / 2), interval_);
    if (!asked_in_silence_) answer_ = !answer_ || took > *answer_ ? took : (*answer_ + took) / 2;
    heard_at_ = asked_at_;
  }
  forget();
}

void KeyFrameRequests::handle_outage() {
  asked_at_.reset();
  unanswered_ = 0;
}

Duration KeyFrameRequests::patience() const { return answer_ ? std::clamp(*answer_ * 3 / 2 + margin, least_patience, interval_) : std::min(deafness, interval_); }

TimePoint KeyFrameRequests::due(bool silent) const {
  Duration wait = urgent_ ? std::min(urgent_interval, interval_) : interval_;
  if (unanswered_ > 0) wait = std::min(patience() * (1 << std::min(unanswered_ - 1, 8U)), interval_);
  if (silent) wait = std::max(wait, silent_interval);
  TimePoint at = *asked_at_ + wait;
  if (silent || unanswered_ == 0) return at;
  // If the publisher heard one before the latest, it did not hear that: the next comes when it listens again.
  const auto wait_for_ears = [&](TimePoint heard) {
    if (*asked_at_ < heard + deafness) at = std::max(heard + deafness, *asked_at_ + urgent_interval);
  };
  if (heard_at_) wait_for_ears(*heard_at_);
  if (unanswered_ > 1) wait_for_ears(first_asked_at_);
  return at;
}

bool KeyFrameRequests::poll(TimePoint now, bool silent) {
  if (!wanted_ && (unanswered_ == 0 || unanswered_ >= max_unanswered)) return false;
  if (asked_at_ && now < due(silent)) return false;
  if (unanswered_++ == 0) {
    first_asked_at_ = now;
    asked_in_silence_ = silent;
  }
  asked_at_ = now;
  wanted_ = urgent_ = false;
  return true;
}

} // namespace satsuma::sfu
