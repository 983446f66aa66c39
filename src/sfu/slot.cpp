#include "sfu/slot.h"

#include <algorithm>

namespace satsuma::sfu {

namespace {

/// A packet is not sent again more often than this: the subscriber asks before the first repetition can have arrived.
constexpr Duration repeat_interval = std::chrono::milliseconds(20);

} // namespace

Slot::Slot(signaling::OfferedSlot offered, std::size_t history, RandomSource& random) : offered_(std::move(offered)), sent_(history) {
  // RFC 3550 s.5.1: random starts. The sequence begins in the lower half, so that SRTP's first roll-over is not near (RFC 3711 s.3.3.1).
  const std::uint64_t bits = random.u64();
  highest_sent_ = 65536 + static_cast<rtp::ExtendedSequence>(bits & 0x7fff);
  newest_timestamp_ = static_cast<std::uint32_t>(bits >> 15);
  newest_picture_ = static_cast<std::uint16_t>(bits >> 47 & 0x7f);
  newest_tl0_ = static_cast<std::uint8_t>(bits >> 54);
  rtx_sequence_ = static_cast<std::uint16_t>(random.u64() & 0x7fff);
}

void Slot::assign(const PublicationReference& publication) {
  publication_ = publication;
  state_ = State::waiting;
}

void Slot::release() {
  publication_.reset();
  state_ = State::idle;
}

void Slot::restart() {
  if (state_ == State::flowing) state_ = State::waiting;
}

void Slot::start(TimePoint now, std::uint64_t generation, const MediaPacket& packet) {
  generation_ = generation;
  ++starts_;
  first_ = packet.sequence;
  sequence_offset_ = highest_sent_ + 1 - packet.sequence;
  // As much later than the last packet as the clock on the wall says, so that the receiver's jitter buffer sees a pause and no jump.
  std::uint32_t step = 1;
  if (newest_sent_at_) {
    const std::int64_t elapsed = (now - *newest_sent_at_).count();
    const std::int64_t rate = video() ? 90000 : 48000;
    step = static_cast<std::uint32_t>(std::clamp<std::int64_t>(elapsed * rate / 1'000'000, 1, rate * 3600));
  }
  timestamp_offset_ = newest_timestamp_ + step - packet.timestamp;
  if (packet.vp8) {
    picture_offset_ = static_cast<std::uint16_t>(newest_picture_ + 1 - packet.vp8->picture_id.value_or(0));
    tl0_offset_ = static_cast<std::uint8_t>(newest_tl0_ + 1 - packet.vp8->tl0_picture_index.value_or(0));
    newest_picture_ = static_cast<std::uint16_t>((newest_picture_ + 1) & 0x7fff);
    newest_tl0_ = static_cast<std::uint8_t>(newest_tl0_ + 1);
  }
  newest_timestamp_ += step;
  newest_sent_at_ = now;
  state_ = State::flowing;
}

std::optional<Slot::Rewrite> Slot::forward(TimePoint now, std::uint64_t generation, const MediaPacket& packet) {
  if (state_ == State::idle) return std::nullopt;
  if (state_ == State::flowing && generation != generation_) state_ = State::waiting;
  if (state_ == State::waiting) {
    if (video() && !packet.starts_key_frame) return std::nullopt;
    start(now, generation, packet);
  }
  if (packet.sequence < first_) return std::nullopt; // from before the key frame that it began with

  const rtp::ExtendedSequence sequence = packet.sequence + sequence_offset_;
  Rewrite out;
  out.sequence = rtp::wire(sequence);
  highest_sent_ = std::max(highest_sent_, sequence);
  out.timestamp = packet.timestamp + timestamp_offset_;
  if (rtp::newer(out.timestamp, newest_timestamp_)) {
    newest_timestamp_ = out.timestamp;
    newest_sent_at_ = now;
  }
  if (packet.vp8 && packet.vp8->picture_id) {
    out.picture_id = static_cast<std::uint16_t>((*packet.vp8->picture_id + picture_offset_) & 0x7fff);
    if (((out.picture_id - newest_picture_) & 0x7fff) < 0x4000) newest_picture_ = out.picture_id;
  }
  if (packet.vp8 && packet.vp8->tl0_picture_index) {
    out.tl0_picture_index = static_cast<std::uint8_t>(*packet.vp8->tl0_picture_index + tl0_offset_);
    if (static_cast<std::uint8_t>(out.tl0_picture_index - newest_tl0_) < 0x80) newest_tl0_ = out.tl0_picture_index;
  }
  if (!sent_.empty())
    sent_[out.sequence & (sent_.size() - 1)] = {true,          out.sequence, out.picture_id,  out.tl0_picture_index,
                                                out.timestamp, starts_,      packet.sequence, std::nullopt};
  return out;
}

std::optional<Slot::Repeat> Slot::repeat(TimePoint now, std::uint64_t generation, std::uint16_t sequence) {
  if (sent_.empty() || state_ != State::flowing) return std::nullopt;
  Sent& sent = sent_[sequence & (sent_.size() - 1)];
  // Numbers before the slot's last change belong to another publication.
  if (generation != generation_ || !sent.used || sent.sequence != sequence || sent.start != starts_) return std::nullopt;
  if (sent.repeated_at && now - *sent.repeated_at < repeat_interval) return std::nullopt;
  sent.repeated_at = now;
  return Repeat{sent.original, {sent.sequence, sent.timestamp, sent.picture_id, sent.tl0_picture_index}, ++rtx_sequence_};
}

std::optional<rtp::SenderInfo> Slot::sender_info(TimePoint now, const Publication& publication) const {
  if (state_ != State::flowing || generation_ != publication.generation() || !publication.sender_clock()) return std::nullopt;
  const Publication::SenderClock& clock = *publication.sender_clock();
  const std::int64_t elapsed = (now - clock.at).count();
  if (elapsed < 0 || elapsed > 60'000'000) return std::nullopt; // too long ago to count on
  rtp::SenderInfo info;
  info.ssrc = offered_.ssrc;
  // 32.32 fixed point; 60 s of microseconds times 2^32 stay below 2^63.
  info.ntp = clock.ntp + (static_cast<std::uint64_t>(elapsed) << 32) / 1'000'000;
  info.rtp_timestamp = clock.rtp_timestamp + timestamp_offset_ + static_cast<std::uint32_t>(elapsed * publication.clock_rate() / 1'000'000);
  info.packets = packets_;
  info.octets = octets_;
  return info;
}

} // namespace satsuma::sfu
