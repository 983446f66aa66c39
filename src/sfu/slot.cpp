#include "sfu/slot.h"

#include <algorithm>

#include "base/prefetch.h"

namespace satsuma::sfu {

namespace {

/// A packet is not sent again more often than this: the subscriber asks before the first repetition can have arrived.
constexpr Duration repeat_interval = std::chrono::milliseconds(20);
/// After this long a picture is not waited for any more.
constexpr Duration repeat_limit = std::chrono::seconds(2);
/// Packets that are remembered at first; as many more as are needed for that time.
constexpr std::size_t first_history = 64;

} // namespace

Slot::Slot(signaling::OfferedSlot offered, std::size_t history, RandomSource& random) : offered_(std::move(offered)), history_(history) {
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
  key_frame_withheld = false;
  state_ = State::waiting;
  target_ = Layer{0, max_spatial_layers - 1, max_temporal_layers - 1};
  ++assignments_;
  if (sent_.empty()) sent_.resize(std::min(history_, first_history));
  if (offsets_.empty()) offsets_.resize(video() ? max_offsets : 1);
}

void Slot::release() {
  publication_.reset();
  state_ = State::idle;
}

void Slot::restart() {
  if (state_ != State::flowing) return;
  state_ = State::waiting;
  ++assignments_; // nobody has a use for what was sent before, nor for what waits
}

void Slot::set_target(std::optional<Layer> target, bool at_once) {
  target_ = target;
  if (state_ != State::flowing) return;
  if (!target || (at_once && target->encoding < current_.encoding)) state_ = State::waiting;
}

std::optional<std::uint8_t> Slot::key_frame_wanted() const {
  if (!target_ || !video() || state_ == State::idle) return std::nullopt;
  if (state_ == State::waiting || current_.encoding != target_->encoding || current_.spatial < target_->spatial) return target_->encoding;
  return std::nullopt;
}

void Slot::start(TimePoint now, std::uint32_t generation, const MediaPacket& packet) {
  generation_ = generation;
  first_ = packet.sequence;
  // As much later than the last packet as the clock on the wall says, so that the receiver's jitter buffer sees a pause and no jump.
  std::uint32_t step = 1;
  if (newest_sent_at_) {
    const std::int64_t elapsed = (now - *newest_sent_at_).count();
    const std::int64_t rate = video() ? 90000 : 48000;
    step = static_cast<std::uint32_t>(std::clamp<std::int64_t>(elapsed * rate / 1'000'000, 1, rate * 3600));
  }
  timestamp_offset_ = newest_timestamp_ + step - packet.timestamp;
  std::uint16_t picture_offset = 0;
  if (packet.vp8) {
    picture_offset = static_cast<std::uint16_t>(newest_picture_ + 1 - packet.vp8->picture_id.value_or(0));
    tl0_offset_ = static_cast<std::uint8_t>(newest_tl0_ + 1 - packet.vp8->tl0_picture_index.value_or(0));
    newest_picture_ = static_cast<std::uint16_t>((newest_picture_ + 1) & 0x7fff);
    newest_tl0_ = static_cast<std::uint8_t>(newest_tl0_ + 1);
  }
  if (packet.descriptor) frame_offset_ = static_cast<std::uint16_t>(newest_frame_ + 1 - packet.descriptor->frame_number);
  first_sent_ = rtp::wire(highest_sent_ + 1);
  offset_count_ = 1;
  offsets_[0] = {packet.sequence, highest_sent_ + 1 - packet.sequence, picture_offset};
  left_out_picture_.reset();
  highest_original_ = packet.sequence - 1;
  newest_timestamp_ += step;
  newest_sent_at_ = now;
  state_ = State::flowing;
  // All layers begin with a key frame.
  current_ = {packet.layer.encoding, max_spatial_layers - 1, max_temporal_layers - 1};
  if (target_ && current_.encoding == target_->encoding) current_ = *target_;
}

bool Slot::choose(const MediaPacket& packet) {
  if (target_->encoding == current_.encoding) {
    if (packet.starts_key_frame) {
      current_ = *target_;
    } else if (packet.starts_frame) {
      if (packet.layer.spatial == 0) {
        current_.spatial = std::min(current_.spatial, target_->spatial);
        current_.temporal = std::min(current_.temporal, target_->temporal);
      }
      if (packet.switching_point && packet.layer.temporal > current_.temporal && packet.layer.temporal <= target_->temporal)
        current_.temporal = packet.layer.temporal;
    }
  }
  return packet.layer.spatial <= highest_spatial(packet) && packet.layer.temporal <= current_.temporal;
}

void Slot::leave_out(const MediaPacket& packet) {
  const bool new_picture = packet.vp8 && packet.vp8->picture_id && packet.vp8->picture_id != left_out_picture_;
  if (packet.vp8) left_out_picture_ = packet.vp8->picture_id;
  Offset next = newest_offset();
  next.from = packet.sequence + 1;
  --next.sequence;
  if (new_picture) --next.picture;
  // Nothing went out since the last change: it moves along.
  if (newest_offset().from == packet.sequence && offset_count_ > 1)
    newest_offset() = next;
  else
    offsets_[offset_count_++ & (max_offsets - 1)] = next;
}

const Slot::Offset* Slot::offset_of(rtp::ExtendedSequence original) const {
  const std::size_t oldest = offset_count_ > offsets_.size() ? offset_count_ - offsets_.size() : 0;
  for (std::size_t i = offset_count_; i-- > oldest;)
    if (const Offset& o = offsets_[i & (offsets_.size() - 1)]; o.from <= original) return &o;
  return nullptr;
}

std::optional<Slot::Rewrite> Slot::forward(TimePoint now, std::uint32_t generation, const MediaPacket& packet) {
  if (state_ == State::idle || !target_ || !codecs.contains(packet.codec)) return std::nullopt;
  const bool same = packet.layer.encoding == current_.encoding;
  if (state_ == State::flowing && same && generation != generation_) state_ = State::waiting;
  if (state_ == State::waiting) {
    // A lower encoding than the one aimed at is better than nothing.
    if (video() && (!packet.starts_key_frame || packet.layer.encoding > target_->encoding)) return std::nullopt;
    start(now, generation, packet);
  } else if (!same) {
    if (packet.layer.encoding != target_->encoding || !packet.starts_key_frame) return std::nullopt;
    start(now, generation, packet);
  }
  if (packet.sequence < first_) return std::nullopt; // from before the key frame that it began with

  Rewrite out;
  const Offset* offset = nullptr;
  if (!video()) {
    offset = &offsets_[0];
  } else if (packet.sequence > highest_original_) {
    if (!choose(packet) && !packet.payload.empty()) {
      // Lost ones before it keep their numbers: they may belong to what is wanted.
      leave_out(packet);
      highest_original_ = packet.sequence;
      return std::nullopt;
    }
    highest_original_ = packet.sequence;
    offset = &newest_offset();
  } else {
    offset = offset_of(packet.sequence);
    if (!offset) return std::nullopt; // too late to know
    out.padding = packet.layer.spatial > highest_spatial(packet) || packet.layer.temporal > current_.temporal;
  }

  const rtp::ExtendedSequence sequence = packet.sequence + offset->sequence;
  out.sequence = rtp::wire(sequence);
  highest_sent_ = std::max(highest_sent_, sequence);
  out.timestamp = packet.timestamp + timestamp_offset_;
  // The last packet of the highest layer that goes out ends the picture for this subscriber.
  out.marker = packet.marker || (packet.ends_frame && packet.layer.spatial == highest_spatial(packet) && packet.codec != signaling::Codec::vp8);
  if (rtp::newer(out.timestamp, newest_timestamp_)) {
    newest_timestamp_ = out.timestamp;
    newest_sent_at_ = now;
  }
  if (packet.vp8 && packet.vp8->picture_id) {
    out.picture_id = static_cast<std::uint16_t>((*packet.vp8->picture_id + offset->picture) & 0x7fff);
    if (((out.picture_id - newest_picture_) & 0x7fff) < 0x4000) newest_picture_ = out.picture_id;
  }
  if (packet.vp8 && packet.vp8->tl0_picture_index) {
    out.tl0_picture_index = static_cast<std::uint8_t>(*packet.vp8->tl0_picture_index + tl0_offset_);
    if (static_cast<std::uint8_t>(out.tl0_picture_index - newest_tl0_) < 0x80) newest_tl0_ = out.tl0_picture_index;
  }
  if (packet.descriptor) {
    out.picture_id = static_cast<std::uint16_t>(packet.descriptor->frame_number + frame_offset_);
    if (rtp::newer(out.picture_id, newest_frame_)) newest_frame_ = out.picture_id;
  }
  if (!sent_.empty() && !out.padding) {
    // By the clock and not by what would be overwritten: that has long left the caches. Twice the time, so that a key frame does not push out what came before it.
    if (sent_count_ == sent_.size()) {
      if (now - sent_since_ < 2 * repeat_limit && sent_.size() < history_)
        grow(now);
      else
        sent_count_ = 0;
    }
    if (sent_count_++ == 0) sent_since_ = now;
    sent_[out.sequence & (sent_.size() - 1)] = {assignments_, generation_, out.timestamp, out.sequence, out.picture_id, packet.sequence,
                                                now, {}, packet.layer.encoding, out.tl0_picture_index, out.marker};
  }
  return out;
}

void Slot::prefetch(std::size_t packets) const {
  if (!offsets_.empty()) satsuma::prefetch(&offsets_[(offset_count_ - 1) & (offsets_.size() - 1)], sizeof(Offset));
  if (!sent_.empty()) satsuma::prefetch(&sent_[static_cast<std::size_t>(highest_sent_ + 1) & (sent_.size() - 1)], packets * sizeof(Sent));
}

void Slot::grow(TimePoint now) {
  std::vector<Sent> larger(2 * sent_.size());
  for (const Sent& sent : sent_)
    if (now - sent.sent_at <= repeat_limit) larger[sent.sequence & (larger.size() - 1)] = sent;
  sent_ = std::move(larger);
}

std::expected<Slot::Repeat, Slot::Missed> Slot::repeat(TimePoint now, std::uint16_t sequence) {
  if (sent_.empty() || state_ == State::idle) return std::unexpected(Missed::not_held);
  Sent& sent = sent_[sequence & (sent_.size() - 1)];
  if (sent.sequence != sequence || now - sent.sent_at > repeat_limit) return std::unexpected(Missed::not_held);
  // Numbers from before the last assignment belong to another publication, or to what was not worth waiting for.
  if (sent.assignment != assignments_) return std::unexpected(Missed::given_up);
  // Of an encoding that was given up for a lower one nothing is needed any more, and the path has no room for it.
  if (target_ && sent.encoding > target_->encoding) return std::unexpected(Missed::given_up);
  if (now - sent.repeated_at < repeat_interval) return std::unexpected(Missed::too_soon);
  sent.repeated_at = now;
  return Repeat{sent.encoding, sent.generation, sent.original,
                {sent.sequence, sent.timestamp, sent.picture_id, sent.tl0_picture_index, sent.marker, false}, next_rtx_sequence()};
}

std::optional<TimePoint> Slot::sent_at(std::uint16_t sequence) const {
  if (sent_.empty() || state_ != State::flowing || rtp::newer(first_sent_, sequence)) return std::nullopt;
  const Sent& sent = sent_[sequence & (sent_.size() - 1)];
  return sent.assignment == assignments_ && sent.sequence == sequence ? std::optional(sent.sent_at) : std::nullopt;
}

void Slot::forget(std::uint16_t sequence) {
  if (sent_.empty()) return;
  if (Sent& sent = sent_[sequence & (sent_.size() - 1)]; sent.sequence == sequence) sent.assignment = 0;
}

std::optional<rtp::SenderInfo> Slot::sender_info(TimePoint now, const Publication& publication) const {
  if (state_ != State::flowing) return std::nullopt;
  const Encoding& encoding = publication.encoding(current_.encoding);
  if (generation_ != encoding.generation() || !encoding.sender_clock()) return std::nullopt;
  const Encoding::SenderClock& clock = *encoding.sender_clock();
  const std::int64_t elapsed = (now - clock.at).count();
  if (elapsed < 0 || elapsed > 60'000'000) return std::nullopt; // too long ago to count on
  rtp::SenderInfo info;
  info.ssrc = offered_.ssrc;
  // 32.32 fixed point; 60 s of microseconds times 2^32 stay below 2^63.
  info.ntp = clock.ntp + (static_cast<std::uint64_t>(elapsed) << 32) / 1'000'000;
  info.rtp_timestamp = clock.rtp_timestamp + timestamp_offset_ + static_cast<std::uint32_t>(elapsed * encoding.clock_rate() / 1'000'000);
  info.packets = packets_;
  info.octets = octets_;
  return info;
}

} // namespace satsuma::sfu
