#pragma once

#include <cstdint>

#include "base/time.h"
#include "rtp/rtcp.h"
#include "rtp/sequence.h"

namespace satsuma::rtp {

/// Loss and jitter of one incoming stream, for its report blocks (RFC 3550 s.6.4, appendices A.3 and A.8).
class ReceiveStatistics {
 public:
  explicit ReceiveStatistics(std::uint32_t clock_rate) : clock_rate_(clock_rate) {}

  void on_packet(TimePoint now, ExtendedSequence sequence, std::uint32_t timestamp);
  void on_sender_report(TimePoint now, const SenderInfo& info);
  bool started() const { return first_ >= 0; }
  /// The block for `ssrc`; the fraction counts from the previous call on.
  ReportBlock report(TimePoint now, std::uint32_t ssrc);

 private:
  std::uint32_t clock_rate_;
  ExtendedSequence first_ = -1;
  ExtendedSequence highest_ = -1;
  std::int64_t received_ = 0;
  std::int64_t expected_before_ = 0;
  std::int64_t received_before_ = 0;
  std::int64_t last_transit_ = 0;
  std::uint32_t last_timestamp_ = 0;
  std::int64_t jitter_16_ = 0; ///< sixteen times the jitter
  std::uint32_t last_report_ = 0;
  TimePoint last_report_at_{};
};

} // namespace satsuma::rtp
