#include "sfu/publication.h"

#include <algorithm>

#include "rtp/key_frame.h"
#include "rtp/vp9.h"

namespace satsuma::sfu {

namespace {

/// A newcomer need not wait for the whole interval if the key frame before has come; but each costs the publisher, and joins come in crowds.
constexpr Duration urgent_key_frame_interval = std::chrono::milliseconds(100);
/// A publisher that sends nothing is asked less often.
constexpr Duration silent_after = std::chrono::seconds(2);
constexpr Duration silent_key_frame_interval = std::chrono::seconds(2);

} // namespace

Publication::Publication(const signaling::PublishedMedia& media, Source source, const Limits& limits)
    : media_(media),
      source_(source),
      key_frame_interval_(limits.key_frame_interval),
      statistics_(signaling::is_audio(source) ? 48000 : 90000),
      rtx_statistics_(90000),
      nacks_(signaling::is_audio(source) || !media.retransmissions() ? 0 : limits.nack_list),
      history_capacity_(limits.video_history_packets) {
  if (media.ssrc) set_stream(*media.ssrc);
  if (media.rtx_ssrc) set_retransmission_stream(*media.rtx_ssrc);
}

void Publication::set_stream(std::uint32_t ssrc) {
  if (ssrc_ == ssrc) return;
  ssrc_ = ssrc;
  ++generation_;
  unwrapper_.reset();
  statistics_ = rtp::ReceiveStatistics(clock_rate());
  nacks_.reset();
  if (history_) history_->clear();
  sender_clock_.reset();
}

void Publication::set_retransmission_stream(std::uint32_t ssrc) {
  if (rtx_ssrc_ == ssrc) return;
  rtx_ssrc_ = ssrc;
  rtx_unwrapper_.reset();
  rtx_statistics_ = rtp::ReceiveStatistics(clock_rate());
}

std::optional<MediaPacket> Publication::handle_media(TimePoint now, signaling::Codec codec, const rtp::Packet& packet, bool wanted) {
  const rtp::ExtendedSequence sequence = unwrapper_.unwrap(packet.sequence);
  statistics_.on_packet(now, sequence, packet.timestamp);
  last_packet_ = now;
  return accept(codec, sequence, packet.timestamp, packet.marker, packet.payload, wanted);
}

std::optional<MediaPacket> Publication::handle_retransmission(TimePoint now, signaling::Codec codec, const rtp::Packet& packet, bool wanted) {
  rtx_statistics_.on_packet(now, rtx_unwrapper_.unwrap(packet.sequence), packet.timestamp);
  const auto original = rtp::parse_retransmission(packet.payload);
  // Before the main stream has begun its cycle is not known.
  if (!original || original->payload.empty() || !unwrapper_.highest()) return std::nullopt;
  const rtp::ExtendedSequence sequence = unwrapper_.peek(original->original_sequence);
  if (sequence > *unwrapper_.highest()) return std::nullopt; // retransmits what was never sent
  return accept(codec, sequence, packet.timestamp, packet.marker, original->payload, wanted);
}

std::optional<MediaPacket> Publication::accept(signaling::Codec codec, rtp::ExtendedSequence sequence, std::uint32_t timestamp,
                                               bool marker, ByteView payload, bool wanted) {
  if (!wanted) {
    nacks_.reset();
    return std::nullopt;
  }
  MediaPacket media{sequence, timestamp, marker, payload, codec, std::nullopt, false};
  if (!video()) return media;
  if (nacks_.on_packet(sequence) == rtp::NackGenerator::Outcome::given_up) request_key_frame(false);
  if (!history_) history_ = std::make_unique<rtp::PacketHistory>(history_capacity_);
  // Browsers send padding as whole retransmissions: what is there already is not forwarded again.
  if (!history_->store(sequence, timestamp, marker, payload, static_cast<std::uint32_t>(codec))) return std::nullopt;
  if (!payload.empty() && !describe(media)) return std::nullopt;
  if (media.starts_key_frame) {
    nacks_.forget_before(sequence);
    key_frame_answered_ = true;
    key_frame_requested_ = key_frame_urgent_ = false;
  }
  return media;
}

bool Publication::describe(MediaPacket& media) {
  switch (media.codec) {
  case signaling::Codec::vp8: {
    const auto descriptor = rtp::parse_vp8_descriptor(media.payload);
    if (!descriptor) return false;
    media.vp8 = *descriptor;
    media.starts_key_frame = rtp::starts_vp8_key_frame(*descriptor, media.payload);
    break;
  }
  case signaling::Codec::vp9: {
    const auto descriptor = rtp::parse_vp9_descriptor(media.payload);
    if (!descriptor) return false;
    media.starts_key_frame = descriptor->starts_key_frame();
    break;
  }
  case signaling::Codec::av1: media.starts_key_frame = rtp::starts_av1_sequence(media.payload); break;
  case signaling::Codec::h264: media.starts_key_frame = rtp::starts_h264_key_frame(media.payload); break;
  case signaling::Codec::opus:
  case signaling::Codec::red: break;
  }
  return true;
}

void Publication::handle_sender_report(TimePoint now, const rtp::SenderInfo& info) {
  if (info.ssrc == rtx_ssrc_) rtx_statistics_.on_sender_report(now, info);
  if (info.ssrc != ssrc_) return;
  statistics_.on_sender_report(now, info);
  sender_clock_ = SenderClock{info.ntp, info.rtp_timestamp, now};
}

std::optional<MediaPacket> Publication::find(rtp::ExtendedSequence sequence) const {
  if (!history_) return std::nullopt;
  const auto entry = history_->find(sequence);
  if (!entry) return std::nullopt;
  MediaPacket media{entry->sequence, entry->timestamp, entry->marker, entry->payload, static_cast<signaling::Codec>(entry->note), std::nullopt, false};
  if (!entry->payload.empty() && !describe(media)) return std::nullopt;
  return media;
}

void Publication::request_key_frame(bool urgent) {
  if (!video()) return;
  key_frame_requested_ = true;
  key_frame_urgent_ = key_frame_urgent_ || urgent;
}

bool Publication::take_key_frame_request(TimePoint now) {
  if (!key_frame_requested_ || !ssrc_) return false;
  if (key_frame_asked_at_) {
    Duration wait = key_frame_interval_;
    if (key_frame_urgent_ && key_frame_answered_) wait = std::min(wait, urgent_key_frame_interval);
    if (!last_packet_ || now - *last_packet_ > silent_after) wait = std::max(wait, silent_key_frame_interval);
    if (now - *key_frame_asked_at_ < wait) return false;
  }
  key_frame_asked_at_ = now;
  key_frame_requested_ = key_frame_urgent_ = key_frame_answered_ = false;
  return true;
}

void Publication::stop_waiting() {
  nacks_.reset();
  key_frame_requested_ = key_frame_urgent_ = false;
}

std::size_t Publication::reports(TimePoint now, std::span<rtp::ReportBlock> out) {
  std::size_t count = 0;
  if (ssrc_ && statistics_.started() && count < out.size()) out[count++] = statistics_.report(now, *ssrc_);
  if (rtx_ssrc_ && rtx_statistics_.started() && count < out.size()) out[count++] = rtx_statistics_.report(now, *rtx_ssrc_);
  return count;
}

} // namespace satsuma::sfu
