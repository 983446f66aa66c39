#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/time.h"
#include "rtp/sequence.h"
#include "rtp/transport_feedback.h"

namespace satsuma::congestion {

/// How much the path to one receiver carries, from its transport-wide feedback: Google's congestion control as
/// draft-ietf-rmcat-gcc-02 describes it (delay gradient by a trend line, an adaptive threshold, additive-multiplicative rate control, and
/// loss), and probes, without which a sender that forwards what others produce would never learn that there is room for more.
///
/// Bits per second throughout, with the headers below RTP counted. While no feedback has ever come there is no limit: the receiver may not
/// know the extension.
class BandwidthEstimator {
 public:
  static constexpr std::int64_t min_bitrate = 30'000;
  static constexpr std::int64_t start_bitrate = 600'000;
  static constexpr std::int64_t max_bitrate = 50'000'000;
  /// Packets on their way that are remembered: two seconds at 15 Mbit/s. Space grows up to it, and only then is taken.
  static constexpr std::size_t max_in_flight = 4096;

  enum class Usage : std::uint8_t { normal, over, under };
  /// What bounds the estimate now.
  enum class LimitedBy : std::uint8_t { nothing, delay, loss };

  /// Extra packets to be sent now, in a row, at `bitrate` for at least `bytes`.
  struct Probe {
    std::uint16_t cluster = 0;
    std::int64_t bitrate = 0;
    std::size_t bytes = 0;
  };

  /// `repeated`: it is sent several times, and nobody can say which of them arrived: it tells of loss, and nothing of delay.
  void on_sent(TimePoint now, std::uint16_t sequence, std::size_t size, std::uint16_t probe_cluster = 0, bool repeated = false);
  void on_feedback(TimePoint now, std::span<const rtp::PacketStatus> statuses);
  /// Whether to probe now. `wanted`: what could be used; nothing is probed for that is not.
  std::optional<Probe> poll_probe(TimePoint now, std::int64_t wanted);
  /// Every 20 ms or so: silence of the receiver is a sign as well.
  void handle_timeout(TimePoint now);
  /// The path is another one: begins anew.
  void reset();

  bool started() const { return feedback_at_.has_value(); }
  std::int64_t bitrate() const;
  std::int64_t acknowledged_bitrate() const { return acknowledged_; }
  double loss() const { return loss_; } ///< of the last half second that had enough packets, 0 to 1
  Duration round_trip() const { return round_trip_; }
  /// How long packets wait in the path's queue: by how much they take longer than the quickest did, of the way there and of the way there and back the less.
  /// The former holds what two clocks do to each other, the latter how long the receiver takes to tell and what waits on its way back.
  Duration queue() const { return queue_; }
  Usage usage() const { return usage_; }
  /// A queue is there, or was a moment ago, and is to drain.
  bool draining(TimePoint now) const {
    return usage_ == Usage::over || (decreased_at_ && now - *decreased_at_ < std::chrono::milliseconds(800));
  }
  LimitedBy limited_by() const;
  /// Whether the path ever was seen to carry no more: until then the estimate is no more than what was sent.
  bool has_been_full() const { return decreased_at_.has_value() || loss_decreased_at_.has_value(); }

  /// What on_sent() needs for the next few besides this object itself: base/prefetch.h.
  void prefetch(std::size_t packets) const;

 private:
  struct Sent {
    rtp::ExtendedSequence sequence = -1;
    TimePoint at{};
    std::uint32_t size = 0;
    std::uint16_t probe = 0;
    bool told = false;     ///< its arrival is known
    bool counted = false;  ///< in the loss statistics
    bool repeated = false;
  };
  /// Packets that left within 5 ms, or arrived in one go (draft s.5.2: pre-filtering).
  struct Group {
    bool used = false;
    std::int64_t first_sent_us = 0, last_sent_us = 0;
    std::int64_t first_arrival_us = 0, last_arrival_us = 0;
  };
  struct ProbeResult {
    std::uint16_t cluster = 0;
    std::int64_t target = 0;
    std::size_t expected_bytes = 0;
    std::int64_t first_sent_us = 0, last_sent_us = 0, first_arrival_us = 0, last_arrival_us = 0;
    std::size_t bytes = 0, first_size = 0, last_size = 0;
    unsigned packets = 0;
    bool done = true;
  };

  Sent* find(rtp::ExtendedSequence sequence);
  void grow();
  void on_arrival(TimePoint now, const Sent& sent, std::int64_t arrival_us);
  void add_to_groups(TimePoint now, std::int64_t sent_us, std::int64_t arrival_us);
  void update_trend(TimePoint now, double send_delta_ms, double arrival_delta_ms, double arrival_ms);
  void detect(TimePoint now, double trend, double send_delta_ms);
  void count_acknowledged(std::int64_t arrival_us, std::size_t size);
  /// Over the last `buckets` of 50 ms only; after a drop the whole window still remembers the time before it.
  std::int64_t recently_acknowledged(std::int64_t buckets) const;
  void add_to_probe(const Sent& sent, std::int64_t arrival_us);
  void finish_probe(TimePoint now);
  /// How long it took by two clocks of which only the difference to others counts.
  void add_transit(TimePoint now, Duration transit, Duration round_trip);
  void watch_queue();
  void update_rate(TimePoint now);
  void update_loss(TimePoint now);

  // What is on its way.
  std::vector<Sent> sent_;
  rtp::SequenceUnwrapper unwrapper_;

  // Arrivals.
  std::optional<TimePoint> feedback_at_;
  std::optional<TimePoint> last_sent_at_;
  std::optional<TimePoint> silence_counted_at_;
  Duration round_trip_{std::chrono::milliseconds(100)};
  /// The least of this and of the last quarter of a minute: what the path takes without a queue.
  struct Least {
    Duration now{}, before{};
    Duration least() const { return std::min(now, before); }
  };
  Least least_transit_, least_round_trip_;
  std::optional<TimePoint> least_since_;
  Duration queue_{};
  unsigned late_feedbacks_ = 0;
  std::array<std::size_t, 10> arrived_{}; ///< bytes in each 50 ms of the receiver's clock
  std::int64_t arrived_bucket_ = -1;
  std::int64_t arrived_since_ = -1;
  std::int64_t acknowledged_ = 0;

  // The delay gradient.
  Group present_, previous_;
  struct Point {
    double x = 0, y = 0;
  };
  static constexpr std::size_t trend_window = 20;
  std::array<Point, trend_window> points_{};
  std::size_t point_count_ = 0;
  double first_arrival_ms_ = -1;
  double accumulated_ms_ = 0, smoothed_ms_ = 0;
  unsigned deltas_ = 0;
  double threshold_ms_ = 12.5;
  double previous_trend_ = 0;
  double over_for_ms_ = -1;
  unsigned over_count_ = 0;
  std::optional<TimePoint> threshold_at_;
  Usage usage_ = Usage::normal;

  // Rate control.
  enum class Rate : std::uint8_t { increase, hold };
  Rate rate_state_ = Rate::increase;
  std::int64_t delay_bitrate_ = start_bitrate;
  std::optional<TimePoint> rate_at_;
  std::optional<TimePoint> decreased_at_;
  double capacity_ = 0;           ///< mean of what was acknowledged at decreases, kbit/s; 0: not known
  double capacity_deviation_ = 0.4;

  // Loss.
  std::int64_t loss_bitrate_ = max_bitrate;
  double loss_ = 0;
  std::uint32_t loss_expected_ = 0, loss_lost_ = 0;
  std::optional<TimePoint> loss_at_;
  std::optional<TimePoint> loss_decreased_at_;

  // Probes.
  std::uint16_t next_cluster_ = 1;
  ProbeResult probe_;
  std::optional<TimePoint> probed_at_;
  std::int64_t before_probe_ = 0; ///< the estimate then; 0 once it has been returned to
  std::int64_t next_probe_ = 3 * start_bitrate; ///< the first are sent at once
};

} // namespace satsuma::congestion
