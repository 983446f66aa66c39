#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "impairment/schedule.h"

namespace satsuma::impairment {

/// Waiting in one link. Beyond it datagrams are dropped, and counted as if the bottleneck's queue were full.
inline constexpr std::size_t max_waiting_datagrams = 16 * 1024;
inline constexpr std::size_t max_waiting_bytes = 32U << 20;

/// One direction of a path. The same seed, schedule and datagrams at the same times give the same outcome.
///
///   Link link(schedule, seed, start);
///   link.handle_datagram(now, bytes);                   // goes in at one end
///   while (auto out = link.poll_output()) deliver(*out);
///   ... at link.next_deadline(): link.handle_timeout(now), poll again
class Link {
 public:
  /// A stream (TCP) loses and reorders nothing: it is delayed and throttled, and waits while there is an outage.
  enum class Kind : std::uint8_t { datagrams, stream };

  struct Counters {
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    std::uint64_t lost = 0;        ///< by chance
    std::uint64_t cut = 0;         ///< by an outage
    std::uint64_t queue_full = 0;
    std::uint64_t duplicated = 0;
    std::uint64_t reordered = 0;
  };

  Link(Schedule schedule, std::uint64_t seed, TimePoint start, Kind kind = Kind::datagrams);

  void handle_datagram(TimePoint now, ByteView datagram);
  void handle_timeout(TimePoint now);
  /// What has arrived at the other end; valid until the next handle_ call.
  std::optional<ByteView> poll_output();
  std::optional<TimePoint> next_deadline() const;

  const Counters& counters() const { return counters_; }
  std::size_t waiting_bytes() const { return waiting_bytes_; }

 private:
  struct Waiting {
    TimePoint at;
    std::uint64_t order = 0;
    Bytes bytes;
  };
  static bool later(const Waiting& a, const Waiting& b);

  double chance(); ///< 0 up to 1
  bool lose(const Conditions& conditions);
  void put(TimePoint at, ByteView datagram);
  std::optional<TimePoint> end_of_outage(TimePoint now) const;
  void recycle();

  Schedule schedule_;
  std::uint64_t random_;
  TimePoint start_;
  Kind kind_;
  bool in_burst_ = false;
  TimePoint free_at_;    ///< the bottleneck has sent everything by then
  TimePoint newest_at_;  ///< latest arrival of what was not reordered
  std::uint64_t order_ = 0;
  std::size_t waiting_bytes_ = 0;
  std::vector<Waiting> waiting_; ///< a heap, earliest on top
  std::vector<Bytes> arrived_;
  std::size_t polled_ = 0;
  std::vector<Bytes> spare_; ///< buffers to use again
  Counters counters_;
};

} // namespace satsuma::impairment
