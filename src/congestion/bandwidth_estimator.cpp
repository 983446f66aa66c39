#include "congestion/bandwidth_estimator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/prefetch.h"

namespace satsuma::congestion {

namespace {

constexpr std::size_t first_in_flight = 256;
constexpr std::int64_t burst_us = 5'000;
/// Deltas beyond this say that one of the clocks jumped, or that nothing was sent for long.
constexpr std::int64_t max_delta_us = 3'000'000;
constexpr std::int64_t bucket_us = 50'000;

// draft-ietf-rmcat-gcc-02 s.5.3 to s.5.5, with the values of the trend line that browsers use.
constexpr double smoothing = 0.9;
constexpr double threshold_gain = 4.0;
constexpr std::size_t min_trend_points = 10;
constexpr double trend_length_ms = 300;
constexpr unsigned max_deltas = 60;
constexpr double k_up = 0.0087, k_down = 0.039;
constexpr double min_threshold_ms = 6, max_threshold_ms = 600;
constexpr double overuse_time_ms = 10;
constexpr double beta = 0.85;
constexpr double increase_per_second = 1.08;
constexpr Duration short_queue = std::chrono::milliseconds(20);

// s.6: above this loss is taken for congestion; radio links lose less than it without any.
constexpr double high_loss = 0.10;
constexpr Duration loss_interval = std::chrono::milliseconds(500);
constexpr std::uint32_t min_loss_packets = 20;

constexpr Duration probe_interval = std::chrono::seconds(2);
constexpr Duration probe_after_decrease = std::chrono::seconds(1);
constexpr Duration probe_timeout = std::chrono::seconds(1);
/// How long after its beginning a probe may be what fills the queue, besides the round trip.
constexpr Duration probe_echo = std::chrono::milliseconds(300);
constexpr std::int64_t probe_length_us = 20'000;
constexpr std::size_t min_probe_bytes = 1'400;
constexpr unsigned min_probe_packets = 4;

/// Without feedback for so long while packets leave, the path is taken to be congested or gone.
constexpr Duration silence = std::chrono::milliseconds(1'000);

std::int64_t micros(TimePoint at) { return at.time_since_epoch().count(); }
double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

} // namespace

void BandwidthEstimator::reset() {
  std::vector<Sent> space = std::move(sent_);
  const std::uint16_t cluster = next_cluster_;
  *this = BandwidthEstimator();
  std::fill(space.begin(), space.end(), Sent{});
  sent_ = std::move(space);
  next_cluster_ = cluster;
}

std::int64_t BandwidthEstimator::bitrate() const {
  if (!started()) return max_bitrate;
  return std::clamp(std::min(delay_bitrate_, loss_bitrate_), min_bitrate, max_bitrate);
}

BandwidthEstimator::LimitedBy BandwidthEstimator::limited_by() const {
  if (!started()) return LimitedBy::nothing;
  return loss_bitrate_ < delay_bitrate_ ? LimitedBy::loss : LimitedBy::delay;
}

// ---- what leaves

BandwidthEstimator::Sent* BandwidthEstimator::find(rtp::ExtendedSequence sequence) {
  if (sent_.empty() || sequence < 0) return nullptr;
  Sent& entry = sent_[static_cast<std::size_t>(sequence) & (sent_.size() - 1)];
  return entry.sequence == sequence ? &entry : nullptr;
}

void BandwidthEstimator::grow() {
  std::vector<Sent> larger(sent_.empty() ? first_in_flight : 2 * sent_.size());
  for (const Sent& entry : sent_)
    if (entry.sequence >= 0) larger[static_cast<std::size_t>(entry.sequence) & (larger.size() - 1)] = entry;
  sent_ = std::move(larger);
}

void BandwidthEstimator::on_sent(TimePoint now, std::uint16_t sequence, std::size_t size, std::uint16_t probe_cluster, bool repeated) {
  if (sent_.empty()) grow();
  const rtp::ExtendedSequence extended = unwrapper_.unwrap(sequence);
  const auto place = [&]() -> Sent& { return sent_[static_cast<std::size_t>(extended) & (sent_.size() - 1)]; };
  // Overwriting what feedback may still tell of means that the space is too small, if there is feedback at all. Not each is looked at, since it has long left the caches.
  if (started() && extended % 16 == 0) {
    const Sent& before = place();
    if (before.sequence >= 0 && !before.told && now - before.at < std::chrono::seconds(1) && sent_.size() < max_in_flight) grow();
  }
  place() = {extended, now, static_cast<std::uint32_t>(size), probe_cluster, false, false, repeated};
  last_sent_at_ = now;
  if (probe_cluster != 0 && probe_cluster == probe_.cluster && !probe_.done) probe_.expected_bytes += size;
}

void BandwidthEstimator::prefetch(std::size_t packets) const {
  if (!sent_.empty()) satsuma::prefetch(&sent_[static_cast<std::size_t>(unwrapper_.highest().value_or(-1) + 1) & (sent_.size() - 1)], packets * sizeof(Sent));
}

// ---- feedback

void BandwidthEstimator::on_feedback(TimePoint now, std::span<const rtp::PacketStatus> statuses) {
  if (!unwrapper_.highest()) return;
  bool any = false;
  for (const rtp::PacketStatus& status : statuses) {
    Sent* const sent = find(unwrapper_.peek(status.sequence));
    if (!sent) continue; // never sent, or forgotten: says nothing
    any = true;
    if (!sent->counted) {
      sent->counted = true;
      ++loss_expected_;
      if (!status.received) ++loss_lost_;
    } else if (status.received && !sent->told && loss_lost_ > 0) {
      --loss_lost_; // it came late
    }
    if (!status.received || sent->told) continue;
    sent->told = true;
    if (sent->repeated) {
      count_acknowledged(status.arrival_us, sent->size);
      continue;
    }
    round_trip_ = std::clamp(now - sent->at, Duration(std::chrono::milliseconds(1)), Duration(std::chrono::seconds(3)));
    add_transit(now, Duration(status.arrival_us - micros(sent->at)), round_trip_);
    on_arrival(now, *sent, status.arrival_us);
  }
  if (!any) return;
  if (!feedback_at_) {
    delay_bitrate_ = start_bitrate;
    rate_at_ = loss_at_ = now;
  }
  feedback_at_ = now;
  silence_counted_at_.reset();
  update_loss(now);
  watch_queue();
  update_rate(now);
  if (!probe_.done && probe_.packets >= min_probe_packets && probe_.bytes * 10 >= probe_.expected_bytes * 8) finish_probe(now);
}

void BandwidthEstimator::on_arrival(TimePoint now, const Sent& sent, std::int64_t arrival_us) {
  count_acknowledged(arrival_us, sent.size);
  add_to_probe(sent, arrival_us);
  add_to_groups(now, micros(sent.at), arrival_us);
}

void BandwidthEstimator::count_acknowledged(std::int64_t arrival_us, std::size_t size) {
  const std::int64_t bucket = arrival_us / bucket_us;
  const auto span = static_cast<std::int64_t>(arrived_.size());
  if (arrived_bucket_ < 0 || bucket > arrived_bucket_ + 4 * span || bucket < arrived_bucket_ - 4 * span) {
    arrived_ = {};
    arrived_bucket_ = arrived_since_ = bucket;
  }
  for (; arrived_bucket_ < bucket; ++arrived_bucket_) arrived_[static_cast<std::size_t>(arrived_bucket_ + 1) % arrived_.size()] = 0;
  if (bucket <= arrived_bucket_ - span || bucket < 0) return;
  arrived_[static_cast<std::size_t>(bucket) % arrived_.size()] += size;
  // The present bucket is not full yet, so it counts with those before it only.
  std::size_t bytes = 0;
  for (const std::size_t b : arrived_) bytes += b;
  bytes -= arrived_[static_cast<std::size_t>(arrived_bucket_) % arrived_.size()];
  const std::int64_t buckets = std::min(span - 1, arrived_bucket_ - arrived_since_);
  if (buckets >= 3) acknowledged_ = static_cast<std::int64_t>(bytes) * 8 * 1'000'000 / (buckets * bucket_us);
}

std::int64_t BandwidthEstimator::recently_acknowledged(std::int64_t buckets) const {
  const auto span = static_cast<std::int64_t>(arrived_.size());
  if (arrived_bucket_ - arrived_since_ < span) return acknowledged_;
  std::size_t bytes = 0;
  for (std::int64_t i = 1; i <= buckets; ++i) bytes += arrived_[static_cast<std::size_t>(arrived_bucket_ - i) % arrived_.size()];
  return static_cast<std::int64_t>(bytes) * 8 * 1'000'000 / (buckets * bucket_us);
}

void BandwidthEstimator::add_to_groups(TimePoint now, std::int64_t sent_us, std::int64_t arrival_us) {
  if (!present_.used) {
    present_ = {true, sent_us, sent_us, arrival_us, arrival_us};
    return;
  }
  if (sent_us < present_.first_sent_us) return; // reordered: belongs to a group that is over
  const bool same_burst = sent_us - present_.first_sent_us <= burst_us;
  // Came at once although it left later: the path held packets back, which is no queue of ours.
  const bool same_arrival = arrival_us - present_.last_arrival_us <= burst_us && arrival_us - present_.first_arrival_us < 100'000 &&
                            arrival_us - present_.last_arrival_us < sent_us - present_.last_sent_us;
  if (same_burst || same_arrival) {
    present_.last_sent_us = std::max(present_.last_sent_us, sent_us);
    present_.last_arrival_us = std::max(present_.last_arrival_us, arrival_us);
    return;
  }
  if (previous_.used) {
    const std::int64_t send_delta = present_.last_sent_us - previous_.last_sent_us;
    const std::int64_t arrival_delta = present_.last_arrival_us - previous_.last_arrival_us;
    if (arrival_delta - send_delta > max_delta_us || arrival_delta < -max_delta_us) {
      previous_ = present_ = {};
      point_count_ = deltas_ = 0;
      accumulated_ms_ = smoothed_ms_ = 0;
      first_arrival_ms_ = -1;
      return;
    }
    if (arrival_delta >= 0)
      update_trend(now, static_cast<double>(send_delta) / 1000, static_cast<double>(arrival_delta) / 1000,
                   static_cast<double>(present_.last_arrival_us) / 1000);
  }
  previous_ = present_;
  present_ = {true, sent_us, sent_us, arrival_us, arrival_us};
}

void BandwidthEstimator::update_trend(TimePoint now, double send_delta_ms, double arrival_delta_ms, double arrival_ms) {
  deltas_ = std::min(deltas_ + 1, 1000U);
  if (first_arrival_ms_ < 0) first_arrival_ms_ = arrival_ms;
  accumulated_ms_ += arrival_delta_ms - send_delta_ms;
  smoothed_ms_ = smoothing * smoothed_ms_ + (1 - smoothing) * accumulated_ms_;
  const Point point{arrival_ms - first_arrival_ms_, smoothed_ms_};
  if (point_count_ == trend_window)
    std::move(points_.begin() + 1, points_.end(), points_.begin());
  else
    ++point_count_;
  points_[point_count_ - 1] = point;

  double trend = previous_trend_;
  // What we forward leaves in bursts, a frame at a time: twenty of them may be most of a second, so old ones are left out.
  std::size_t first = 0;
  while (point_count_ - first > min_trend_points && point.x - points_[first].x > trend_length_ms) ++first;
  if (point_count_ - first >= min_trend_points) {
    const auto window = std::span<const Point>(points_).subspan(first, point_count_ - first);
    // Least squares: the slope is how many milliseconds of queue each millisecond adds.
    double mean_x = 0, mean_y = 0;
    for (const Point& p : window) mean_x += p.x, mean_y += p.y;
    mean_x /= static_cast<double>(window.size());
    mean_y /= static_cast<double>(window.size());
    double upper = 0, lower = 0;
    for (const Point& p : window) {
      upper += (p.x - mean_x) * (p.y - mean_y);
      lower += (p.x - mean_x) * (p.x - mean_x);
    }
    if (lower > 0) trend = upper / lower;
  }
  detect(now, trend, send_delta_ms);
}

void BandwidthEstimator::detect(TimePoint now, double trend, double send_delta_ms) {
  if (deltas_ < 2) {
    usage_ = Usage::normal;
    return;
  }
  const double modified = std::min(deltas_, max_deltas) * trend * threshold_gain;
  if (modified > threshold_ms_) {
    over_for_ms_ = over_for_ms_ < 0 ? send_delta_ms / 2 : over_for_ms_ + send_delta_ms;
    ++over_count_;
    if (over_for_ms_ > overuse_time_ms && over_count_ > 1 && trend >= previous_trend_) {
      over_for_ms_ = 0;
      over_count_ = 0;
      usage_ = Usage::over;
    }
  } else {
    over_for_ms_ = -1;
    over_count_ = 0;
    usage_ = modified < -threshold_ms_ ? Usage::under : Usage::normal;
  }
  previous_trend_ = trend;

  // s.5.4: the threshold follows slowly, so that a flow that fills queues does not starve ours; a sudden peak does not move it.
  const double magnitude = std::fabs(modified);
  if (threshold_at_ && magnitude <= threshold_ms_ + 15) {
    const double k = magnitude < threshold_ms_ ? k_down : k_up;
    const double elapsed_ms = std::min(seconds(now - *threshold_at_) * 1000, 100.0);
    threshold_ms_ = std::clamp(threshold_ms_ + k * (magnitude - threshold_ms_) * elapsed_ms, min_threshold_ms, max_threshold_ms);
  }
  threshold_at_ = now;
}

// ---- the estimate

void BandwidthEstimator::add_transit(TimePoint now, Duration transit, Duration round_trip) {
  constexpr Duration window = std::chrono::seconds(15);
  // No queue is that long: one of the clocks jumped. And what was measured long ago is not comparable: clocks drift.
  const bool stale = !least_since_ || now - *least_since_ > 2 * window || std::chrono::abs(transit - least_transit_.now) > std::chrono::seconds(10);
  if (stale) {
    least_transit_ = {transit, transit};
    least_round_trip_ = {round_trip, round_trip};
    least_since_ = now;
  } else if (now - *least_since_ > window) {
    least_transit_ = {transit, least_transit_.now};
    least_round_trip_ = {round_trip, least_round_trip_.now};
    least_since_ = now;
  }
  least_transit_.now = std::min(least_transit_.now, transit);
  least_round_trip_.now = std::min(least_round_trip_.now, round_trip);
  queue_ = std::min(transit - least_transit_.least(), round_trip - least_round_trip_.least());
}

void BandwidthEstimator::watch_queue() {
  // A gradient takes many packets to be seen, and when a path collapses few arrive: a queue of this length needs no gradient, and a shorter one
  // none when much less arrives than a moment ago.
  const bool collapsed = recently_acknowledged(5) * 10 < acknowledged_ * 7;
  const bool late = queue() > std::chrono::milliseconds(150) || (collapsed && queue() > std::chrono::milliseconds(70));
  late_feedbacks_ = !late ? 0 : collapsed ? 2 : late_feedbacks_ + 1;
  if (late_feedbacks_ >= 2 && usage_ == Usage::normal) usage_ = Usage::over;
}

void BandwidthEstimator::update_rate(TimePoint now) {
  const double elapsed = rate_at_ ? std::min(seconds(now - *rate_at_), 1.0) : 0;
  rate_at_ = now;
  if (usage_ == Usage::over) {
    // Once for each round trip: what was sent before the last decrease still arrives late.
    if (decreased_at_ && now - *decreased_at_ < std::clamp(round_trip_, Duration(std::chrono::milliseconds(100)), Duration(std::chrono::milliseconds(300)))) return;
    if (acknowledged_ > 0) {
      const double kbps = static_cast<double>(acknowledged_) / 1000;
      const double bound = 3 * std::sqrt(capacity_deviation_ * capacity_);
      if (capacity_ > 0 && kbps < capacity_ - bound) capacity_ = 0;
      if (capacity_ == 0) {
        capacity_ = kbps;
      } else {
        capacity_ = 0.95 * capacity_ + 0.05 * kbps;
        const double norm = std::max(capacity_, 1.0);
        capacity_deviation_ = std::clamp(0.95 * capacity_deviation_ + 0.05 * (capacity_ - kbps) * (capacity_ - kbps) / norm, 0.4, 2.5);
      }
    }
    // Where a feedback was lost nothing seems to have arrived for a moment.
    std::int64_t arrived = acknowledged_;
    for (const std::int64_t buckets : {2, 5})
      if (const std::int64_t recent = recently_acknowledged(buckets); recent > 0 && (buckets > 2 || late_feedbacks_ >= 2)) {
        arrived = std::min(arrived, recent);
        break;
      }
    const auto lower = static_cast<std::int64_t>(beta * static_cast<double>(arrived > 0 ? arrived : delay_bitrate_));
    // A queue just after a probe is the probe's: what the path carried before it, it still does.
    const bool own = probed_at_ && now - *probed_at_ < probe_echo + round_trip_;
    delay_bitrate_ = std::max({std::min(lower, delay_bitrate_), own ? std::min(std::exchange(before_probe_, 0), delay_bitrate_) : 0, min_bitrate});
    decreased_at_ = now;
    rate_state_ = Rate::hold;
    probe_.done = true; // what it measured is the queue
    return;
  }
  // Until the path has once been full, what arrives over it without a queue is what it carries at least: a beginning below that would only make pictures wait.
  if (!decreased_at_ && usage_ == Usage::normal && queue_ < short_queue) delay_bitrate_ = std::max(delay_bitrate_, std::min(acknowledged_, max_bitrate));
  if (usage_ == Usage::under) { // queues drain: wait for it
    rate_state_ = Rate::hold;
    return;
  }
  if (rate_state_ == Rate::hold) {
    rate_state_ = Rate::increase;
    return;
  }
  // Not beyond what could be seen to arrive: a sender that has little to send learns nothing from sending it well.
  const std::int64_t ceiling = acknowledged_ + acknowledged_ / 2 + 10'000;
  if (delay_bitrate_ >= ceiling) return;
  if (capacity_ > 0 && static_cast<double>(acknowledged_) / 1000 > capacity_ + 3 * std::sqrt(capacity_deviation_ * capacity_)) capacity_ = 0;
  double raised = static_cast<double>(delay_bitrate_);
  if (capacity_ > 0) {
    // Near the capacity: about a packet each round trip.
    const double response = seconds(round_trip_) + 0.1;
    raised += std::max(4'000.0, 9'600.0 / response) * elapsed;
  } else {
    raised *= std::pow(increase_per_second, elapsed);
    raised = std::max(raised, static_cast<double>(delay_bitrate_) + 1'000 * elapsed);
  }
  delay_bitrate_ = std::min({static_cast<std::int64_t>(raised), ceiling, max_bitrate});
}

void BandwidthEstimator::update_loss(TimePoint now) {
  if (now - *loss_at_ < loss_interval || loss_expected_ < min_loss_packets) return;
  const double elapsed = std::min(seconds(now - *loss_at_), 2.0);
  loss_ = static_cast<double>(loss_lost_) / loss_expected_;
  loss_at_ = now;
  loss_expected_ = loss_lost_ = 0;
  if (loss_ > high_loss) {
    // What was lost in a queue that overflowed left before that was noticed: once is enough. More arrives still than leaves now.
    if (decreased_at_ && now - *decreased_at_ < round_trip_ + Duration(std::chrono::milliseconds(200)) && bitrate() < acknowledged_) return;
    if (loss_decreased_at_ && now - *loss_decreased_at_ < round_trip_ + Duration(std::chrono::milliseconds(300))) return;
    loss_bitrate_ = std::max(static_cast<std::int64_t>(static_cast<double>(bitrate()) * (1 - 0.5 * loss_)), min_bitrate);
    loss_decreased_at_ = now;
  } else if (loss_bitrate_ < max_bitrate) {
    loss_bitrate_ = static_cast<std::int64_t>(static_cast<double>(loss_bitrate_) * std::pow(increase_per_second, elapsed)) + 1'000;
    // No bound any more once it is well above what delay allows.
    if (loss_bitrate_ > 2 * delay_bitrate_) loss_bitrate_ = max_bitrate;
  }
}

void BandwidthEstimator::handle_timeout(TimePoint now) {
  if (!started() || !last_sent_at_) return;
  // A queue that was seen so long ago is gone or not ours. Whoever stopped sending for want of room learns of no other, and would wait for ever.
  if (now - *feedback_at_ >= silence && now - *last_sent_at_ >= silence && usage_ != Usage::normal) {
    usage_ = Usage::normal;
    over_for_ms_ = -1;
    over_count_ = late_feedbacks_ = 0;
    queue_ = {};
  }
  const TimePoint heard = silence_counted_at_.value_or(*feedback_at_);
  if (now - heard < silence || *last_sent_at_ <= *feedback_at_) return;
  silence_counted_at_ = now;
  delay_bitrate_ = std::max(delay_bitrate_ * 7 / 10, min_bitrate);
}

// ---- probes

std::optional<BandwidthEstimator::Probe> BandwidthEstimator::poll_probe(TimePoint now, std::int64_t wanted) {
  if (!probe_.done) {
    if (now - *probed_at_ < probe_timeout) return std::nullopt;
    probe_.done = true;
  }
  if (!started() || !last_sent_at_) return std::nullopt; // the first feedback says that there is somebody who answers
  if (wanted <= bitrate() || usage_ != Usage::normal) return std::nullopt;
  if (decreased_at_ && now - *decreased_at_ < probe_after_decrease) return std::nullopt;
  // A path that loses this much is not asked for more.
  if (loss_decreased_at_ && now - *loss_decreased_at_ < probe_interval) return std::nullopt;
  std::int64_t target = next_probe_;
  if (target == 0) {
    if (probed_at_ && now - *probed_at_ < probe_interval) return std::nullopt;
    target = 2 * bitrate();
  }
  next_probe_ = 0;
  target = std::min({target, wanted + wanted / 10, max_bitrate});
  if (target <= bitrate()) return std::nullopt;
  probed_at_ = now;
  before_probe_ = bitrate();
  probe_ = {};
  probe_.cluster = next_cluster_;
  probe_.target = target;
  probe_.done = false;
  next_cluster_ = static_cast<std::uint16_t>(next_cluster_ == 0xffff ? 1 : next_cluster_ + 1);
  const auto bytes = static_cast<std::size_t>(target * probe_length_us / 8 / 1'000'000);
  return Probe{probe_.cluster, target, std::max(bytes, min_probe_bytes)};
}

void BandwidthEstimator::add_to_probe(const Sent& sent, std::int64_t arrival_us) {
  if (probe_.done || sent.probe == 0 || sent.probe != probe_.cluster) return;
  const std::int64_t sent_us = micros(sent.at);
  if (probe_.packets == 0) {
    probe_.first_sent_us = probe_.last_sent_us = sent_us;
    probe_.first_arrival_us = probe_.last_arrival_us = arrival_us;
    probe_.first_size = probe_.last_size = sent.size;
  }
  if (sent_us <= probe_.first_sent_us && arrival_us < probe_.first_arrival_us) probe_.first_size = sent.size;
  if (arrival_us >= probe_.last_arrival_us) probe_.last_size = sent.size;
  probe_.first_sent_us = std::min(probe_.first_sent_us, sent_us);
  probe_.last_sent_us = std::max(probe_.last_sent_us, sent_us);
  probe_.first_arrival_us = std::min(probe_.first_arrival_us, arrival_us);
  probe_.last_arrival_us = std::max(probe_.last_arrival_us, arrival_us);
  probe_.bytes += sent.size;
  ++probe_.packets;
}

void BandwidthEstimator::finish_probe(TimePoint now) {
  probe_.done = true;
  // The first packet that arrived began the interval and the last that left ended it: neither counts within.
  const std::int64_t sending = probe_.last_sent_us - probe_.first_sent_us;
  const std::int64_t receiving = probe_.last_arrival_us - probe_.first_arrival_us;
  const auto rate = [](std::size_t bytes, std::int64_t us) { return static_cast<double>(bytes) * 8e6 / static_cast<double>(us); };
  double measured = static_cast<double>(probe_.target);
  if (sending > 0) measured = std::min(measured, 1.05 * rate(probe_.bytes - probe_.last_size, sending));
  if (receiving > 0) {
    const double received = rate(probe_.bytes - probe_.first_size, receiving);
    // Slower than it was sent: the link was full, and some is left for its queue.
    measured = received < 0.9 * measured ? 0.95 * received : std::min(measured, received);
  }
  const auto result = std::min(static_cast<std::int64_t>(measured), max_bitrate);
  if (result <= bitrate() || usage_ == Usage::over) return;
  delay_bitrate_ = std::max(delay_bitrate_, result);
  if (loss_bitrate_ < max_bitrate && loss_ <= high_loss) loss_bitrate_ = std::max(loss_bitrate_, result);
  capacity_ = 0;
  rate_at_ = now;
  // It went well: look further at once.
  if (result * 10 > probe_.target * 7) next_probe_ = 2 * result;
}

} // namespace satsuma::congestion
