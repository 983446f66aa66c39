#include "rtp/receive_statistics.h"

#include <algorithm>

namespace satsuma::rtp {

void ReceiveStatistics::on_packet(TimePoint now, ExtendedSequence sequence, std::uint32_t timestamp) {
  ++received_;
  // A.8, with the arrival in units of the stream's clock.
  const std::int64_t transit = now.time_since_epoch().count() * clock_rate_ / 1'000'000 - timestamp;
  if (first_ < 0) {
    first_ = highest_ = sequence;
    last_transit_ = transit;
    last_timestamp_ = timestamp;
    return;
  }
  first_ = std::min(first_, sequence);
  highest_ = std::max(highest_, sequence);
  if (timestamp == last_timestamp_) return; // packets of one frame leave together
  // Compared on the circle of 2^32, so that a wrap of the timestamp is no jump.
  const std::int64_t difference = static_cast<std::int32_t>(static_cast<std::uint32_t>(transit - last_transit_));
  last_transit_ = transit;
  last_timestamp_ = timestamp;
  const std::int64_t magnitude = std::min<std::int64_t>(difference < 0 ? -difference : difference, std::int64_t{clock_rate_} * 10);
  jitter_16_ += magnitude - ((jitter_16_ + 8) >> 4);
}

void ReceiveStatistics::on_sender_report(TimePoint now, const SenderInfo& info) {
  last_report_ = compact_ntp(info.ntp);
  last_report_at_ = now;
}

ReportBlock ReceiveStatistics::report(TimePoint now, std::uint32_t ssrc) {
  ReportBlock block;
  block.ssrc = ssrc;
  const std::int64_t expected = first_ < 0 ? 0 : highest_ - first_ + 1;
  block.cumulative_lost = static_cast<std::int32_t>(std::clamp<std::int64_t>(expected - received_, -0x800000, 0x7fffff));
  block.highest_sequence = static_cast<std::uint32_t>(highest_ < 0 ? 0 : highest_);
  const std::int64_t expected_interval = expected - expected_before_;
  const std::int64_t lost_interval = expected_interval - (received_ - received_before_);
  expected_before_ = expected;
  received_before_ = received_;
  if (expected_interval > 0 && lost_interval > 0)
    block.fraction_lost = static_cast<std::uint8_t>(std::min<std::int64_t>(255, lost_interval * 256 / expected_interval));
  block.jitter = static_cast<std::uint32_t>(jitter_16_ >> 4);
  if (last_report_ != 0) {
    block.last_sender_report = last_report_;
    const std::int64_t delay = (now - last_report_at_).count();
    block.delay_since_last_sender_report = static_cast<std::uint32_t>(std::min<std::int64_t>(delay * 65536 / 1'000'000, 0xffffffff));
  }
  return block;
}

} // namespace satsuma::rtp
