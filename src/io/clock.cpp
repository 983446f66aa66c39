#include "io/clock.h"

#include <ctime>

#include "base/result.h"

namespace satsuma::io {

TimePoint monotonic_now() {
  timespec now{};
  SATSUMA_CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
  return TimePoint(Duration(static_cast<Duration::rep>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1'000));
}

UnixSeconds unix_now() {
  timespec now{};
  SATSUMA_CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
  return static_cast<UnixSeconds>(now.tv_sec);
}

} // namespace satsuma::io
