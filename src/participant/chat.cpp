#include "participant/chat.h"

#include <algorithm>

namespace satsuma::participant {

signaling::MemberChat Chat::write(TimePoint now, std::string text) {
  written_.push_back({{next_++, std::move(text)}, now});
  if (written_.size() > max_sent_again) written_.pop_front();
  return written_.back().message;
}

void Chat::handle_back(TimePoint now) {
  if (written_.empty()) return;
  if (!again_at_) back_since_ = now;
  again_at_ = std::min(now + again_after, back_since_ + again_at_last);
}

std::vector<signaling::MemberChat> Chat::to_send_again(TimePoint now) {
  if (!again_at_ || now < *again_at_) return {};
  again_at_.reset();
  std::erase_if(written_, [&](const Written& one) { return now - one.at >= sent_again_for || one.copies >= max_copies; });
  std::vector<signaling::MemberChat> again;
  for (Written& one : written_) {
    ++one.copies;
    again.push_back(one.message);
  }
  return again;
}

bool Chat::is_new(const IncarnationId& who, std::uint64_t number) {
  std::deque<std::uint64_t>& numbers = seen_[who];
  if (std::ranges::find(numbers, number) != numbers.end()) return false;
  numbers.push_back(number);
  if (numbers.size() > max_seen) numbers.pop_front();
  return true;
}

} // namespace satsuma::participant
