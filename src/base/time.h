#pragma once

#include <chrono>
#include <cstdint>

namespace satsuma {

/// Time is a value that comes in as an argument; no code below `io` reads a clock.
struct MonotonicClock {
  using duration = std::chrono::microseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;
};

using Duration = MonotonicClock::duration;
/// Microseconds since a start that the caller chose; never goes back.
using TimePoint = MonotonicClock::time_point;

/// Seconds since 1970 by the calendar clock, for lifetimes in key packages (RFC 9420 s.7.2).
using UnixSeconds = std::uint64_t;

} // namespace satsuma
