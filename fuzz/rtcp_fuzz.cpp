// Compound RTCP packets as anybody may send them, with everything that the forwarding unit reads in them.

#include <vector>

#include "rtp/rtcp.h"
#include "rtp/transport_feedback.h"

using namespace satsuma;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static std::vector<rtp::PacketStatus> statuses(rtp::max_feedback_statuses);
  rtp::RtcpReader reader(ByteView(data, size));
  while (true) {
    const auto packet = reader.next();
    if (!packet || !*packet) break;
    if (auto report = rtp::parse_sender_report(**packet)) {
      int blocks = 0;
      while (report->blocks.next()) ++blocks;
      SATSUMA_CHECK(blocks == (*packet)->count);
    }
    if (auto report = rtp::parse_receiver_report(**packet))
      while (report->blocks.next()) {
      }
    if (const auto feedback = rtp::parse_feedback(**packet)) {
      std::size_t count = 0;
      rtp::NackedSequences sequences(feedback->control);
      while (sequences.next()) ++count;
      SATSUMA_CHECK(count <= feedback->control.size() / 4 * 17);
      rtp::FirTargets targets(feedback->control);
      while (targets.next()) {
      }
      if (const auto parsed = rtp::parse_transport_feedback(feedback->control, statuses)) {
        std::uint16_t expected = parsed->statuses.front().sequence;
        for (const auto& status : parsed->statuses) SATSUMA_CHECK(status.sequence == expected++);
      }
    }
  }
  return 0;
}
