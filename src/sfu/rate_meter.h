#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace satsuma::sfu {

/// Bits per second of a stream, smoothed over a second or two.
class RateMeter {
 public:
  void count(TimePoint now, std::size_t bytes) {
    roll(now);
    bytes_ += bytes;
  }
  /// 0 when nothing was measured yet.
  std::int64_t bitrate(TimePoint now) const {
    RateMeter copy = *this;
    copy.roll(now);
    return copy.rate_;
  }
  bool measured() const { return measured_; }

 private:
  static constexpr std::int64_t window_us = 500'000;

  void roll(TimePoint now) {
    const std::int64_t at = now.time_since_epoch().count();
    if (begin_us_ == 0) begin_us_ = at;
    for (int i = 0; at - begin_us_ >= window_us && i < 8; ++i) {
      const auto rate = static_cast<std::int64_t>(bytes_) * 8 * 1'000'000 / window_us;
      rate_ = measured_ ? (rate_ + rate) / 2 : rate;
      measured_ = true;
      bytes_ = 0;
      begin_us_ += window_us;
    }
    if (at - begin_us_ >= window_us) { // a long pause
      begin_us_ = at;
      rate_ = 0;
      measured_ = false;
    }
  }

  std::int64_t begin_us_ = 0;
  std::int64_t rate_ = 0;
  std::size_t bytes_ = 0;
  bool measured_ = false;
};

} // namespace satsuma::sfu
