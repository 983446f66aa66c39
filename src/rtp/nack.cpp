#include "rtp/nack.h"

#include <algorithm>

namespace satsuma::rtp {

NackGenerator::NackGenerator(std::size_t capacity, Duration repeat_after, unsigned max_requests)
    : capacity_(capacity), repeat_after_(repeat_after), max_requests_(max_requests) {}

NackGenerator::Outcome NackGenerator::on_packet(ExtendedSequence sequence) {
  if (highest_ < 0) {
    missing_.reserve(capacity_);
    highest_ = sequence;
    return Outcome::fine;
  }
  if (sequence <= highest_) {
    const auto found = std::lower_bound(missing_.begin(), missing_.end(), sequence,
                                        [](const Missing& m, ExtendedSequence s) { return m.sequence < s; });
    if (found != missing_.end() && found->sequence == sequence) missing_.erase(found);
    return Outcome::fine;
  }
  const auto gap = static_cast<std::size_t>(sequence - highest_ - 1);
  if (missing_.size() + gap > capacity_) {
    missing_.clear();
    highest_ = sequence;
    return Outcome::given_up;
  }
  for (ExtendedSequence s = highest_ + 1; s < sequence; ++s) missing_.push_back({s, {}, 0});
  highest_ = sequence;
  return Outcome::fine;
}

void NackGenerator::forget_before(ExtendedSequence sequence) {
  const auto end = std::lower_bound(missing_.begin(), missing_.end(), sequence,
                                    [](const Missing& m, ExtendedSequence s) { return m.sequence < s; });
  missing_.erase(missing_.begin(), end);
}

std::size_t NackGenerator::poll(TimePoint now, std::span<std::uint16_t> out) {
  std::size_t count = 0;
  std::erase_if(missing_, [&](Missing& m) {
    if (m.requests > 0 && now - m.asked_at < repeat_after_) return false;
    if (m.requests >= max_requests_) return true;
    if (count == out.size()) return false;
    out[count++] = wire(m.sequence);
    m.asked_at = now;
    ++m.requests;
    return false;
  });
  return count;
}

void NackGenerator::reset() {
  missing_.clear();
  highest_ = -1;
}

void NackGenerator::rest() {
  reset();
  std::vector<Missing>().swap(missing_); // shrink_to_fit does nothing in a library without exceptions
}

} // namespace satsuma::rtp
