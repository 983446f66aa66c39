#pragma once

#include <array>
#include <cstddef>

#include "base/time.h"

namespace satsuma::io {

/// When a media loop turns to what came. Waking up costs as much as several packets, and a hundred receivers send feedback two thousand times a second: a loop
/// that has turned often lately takes what comes within half a millisecond together. Where less is to do, everything is taken up at once.
class TurnPace {
 public:
  static constexpr Duration interval = std::chrono::microseconds(500);
  /// So many turns, this far apart on average, are often.
  static constexpr std::size_t often = 4;
  static constexpr Duration often_interval = interval * 3 / 2;

  /// The loop has done its work at `now`. How long it leaves alone what comes next, at most `interval`.
  Duration begin(TimePoint now) {
    const TimePoint last = began_[(turns_ + often - 1) % often];
    TimePoint& oldest = began_[turns_++ % often];
    const bool busy = now - oldest < often * often_interval && now - last < interval;
    oldest = busy ? last + interval : now;
    return oldest - now;
  }

 private:
  std::array<TimePoint, often> began_{}; ///< a ring
  std::size_t turns_ = 0;
};

} // namespace satsuma::io
