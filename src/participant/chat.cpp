#include "participant/chat.h"

#include <algorithm>

namespace satsuma::participant {

void Chat::add(TimePoint now, signaling::MemberChat message) {
  next_ = message.number + 1;
  written_.push_back({std::move(message), now});
  if (written_.size() > max_sent_again) written_.pop_front();
}

void Chat::handle_back(TimePoint now) {
  if (written_.empty()) return;
  if (!again_at_) back_since_ = now;
  again_at_ = std::min(now + again_after, back_since_ + again_at_last);
}

bool Chat::is_new(const IncarnationId& who, std::uint64_t number) {
  std::deque<std::uint64_t>& numbers = seen_[who];
  if (std::ranges::find(numbers, number) != numbers.end()) return false;
  numbers.push_back(number);
  if (numbers.size() > max_seen) numbers.pop_front();
  return true;
}

} // namespace satsuma::participant
