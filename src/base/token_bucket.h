#pragma once

#include <algorithm>

#include "base/time.h"

namespace satsuma {

/// Begins full and refills with time; `take` fails, taking nothing, when less than `amount` is left.
class TokenBucket {
 public:
  TokenBucket(double per_second, double burst) : per_second_(per_second), burst_(burst), tokens_(burst) {}

  bool take(TimePoint now, double amount) {
    tokens_ = left(now);
    started_ = true;
    at_ = now;
    if (tokens_ < amount) return false;
    tokens_ -= amount;
    return true;
  }
  void give_back(double amount) { tokens_ = std::min(burst_, tokens_ + amount); }
  /// As good as a new one.
  bool full(TimePoint now) const { return left(now) >= burst_; }

 private:
  double left(TimePoint now) const {
    if (!started_) return tokens_;
    return std::min(burst_, tokens_ + per_second_ * std::chrono::duration<double>(now - at_).count());
  }

  double per_second_;
  double burst_;
  double tokens_;
  TimePoint at_{};
  bool started_ = false;
};

} // namespace satsuma
