#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace satsuma::congestion {

/// How much may leave at a pacing rate: a debt that packets make and time pays off.
class PacingBudget {
 public:
  /// `owed`: what is owed is bounded, so that sound and probes do not keep pictures back for longer.
  explicit PacingBudget(Duration owed = std::chrono::milliseconds(100)) : owed_(owed) {}

  /// Bits per second; 0: as fast as they come.
  void set_rate(std::int64_t bitrate) {
    rate_ = bitrate;
    debt_ = std::min(debt_, most()); // made at a higher rate it would take long to pay off
  }
  std::int64_t rate() const { return rate_; }

  bool ready(TimePoint now) {
    if (rate_ == 0) return true;
    refill(now);
    return debt_ <= burst();
  }
  /// When ready() will be true, as things are.
  TimePoint ready_at() const {
    if (rate_ == 0 || debt_ <= burst()) return at_;
    return at_ + Duration((debt_ - burst()) * 8'000'000 / rate_ + 1);
  }
  /// A packet leaves, asked for or not.
  void count(TimePoint now, std::size_t size) {
    if (rate_ == 0) return;
    refill(now);
    debt_ = std::max(debt_, std::min(debt_ + static_cast<std::int64_t>(size), most()));
  }
  /// Nothing leaves for so long.
  void hold(TimePoint now, Duration time) {
    if (rate_ == 0) return;
    refill(now);
    debt_ = std::max(debt_, burst() + bytes_in(std::min(time, Duration(std::chrono::milliseconds(500)))));
  }
  /// Nothing is owed that would keep a packet back.
  void forgive() { debt_ = std::min(debt_, burst()); }

 private:
  /// Ten milliseconds' worth, and never less than two full packets.
  std::int64_t burst() const { return std::max<std::int64_t>(rate_ / 8 / 100, 2'400); }
  std::int64_t most() const { return burst() + bytes_in(owed_); }
  std::int64_t bytes_in(Duration time) const { return rate_ * time.count() / 8'000'000; }
  void refill(TimePoint now) {
    if (now <= at_) return;
    debt_ = std::max<std::int64_t>(0, debt_ - bytes_in(std::min(now - at_, Duration(std::chrono::seconds(1)))));
    at_ = now;
  }

  Duration owed_;
  std::int64_t rate_ = 0;
  std::int64_t debt_ = 0; ///< bytes sent ahead of the rate
  TimePoint at_{};
};

} // namespace satsuma::congestion
