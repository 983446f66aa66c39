#include "participant/media_sender.h"

#include <algorithm>

namespace satsuma::participant {

namespace {

constexpr Duration report_interval = std::chrono::seconds(1);
constexpr std::size_t history_packets = 512;
/// Of sound, a power of two: who asks later than this has no use for it any more.
constexpr std::size_t kept_sound = 32;
constexpr Duration max_sound_age = std::chrono::milliseconds(300);
/// Whoever asks again sooner than a round trip takes has not seen the first repetition yet.
constexpr Duration least_repeat_interval = std::chrono::milliseconds(20);
constexpr std::size_t max_outputs = 64;
constexpr std::string_view cname = "satsuma";
constexpr std::size_t descriptor_size = 4;

/// Pictures leave faster than they come in the mean, since key frames are several times as large as others; not much, or each would be a queue in the path. While a queue is there, a little slower than it drains.
constexpr std::int64_t pacing_percent = 125, draining_percent = 90;
constexpr std::int64_t least_pace = 100'000;
constexpr Duration pacing_interval = std::chrono::milliseconds(5);
constexpr Duration estimator_interval = std::chrono::milliseconds(20);
constexpr Duration sound_interval = std::chrono::milliseconds(500);
constexpr std::size_t probe_padding = 250;
constexpr std::size_t below_rtp = 28; // IPv4 and UDP

std::uint64_t ntp_of(TimePoint now) {
  // Only differences matter: the clock's start is as good as 1900.
  const auto us = static_cast<std::uint64_t>(now.time_since_epoch().count());
  return us / 1'000'000 << 32 | (us % 1'000'000 << 32) / 1'000'000;
}

} // namespace

MediaSender::MediaSender(TimePoint now, const dtls::Context& context, ice::Credentials local, RandomSource& random, std::size_t max_payload, bool adapts)
    : transport_(now, context, std::move(local), random), random_(random), max_payload_(std::min(max_payload, rtp::PacketHistory::max_payload)), adapts_(adapts) {}

void MediaSender::set_streams(std::vector<OutgoingStream> streams, const Extensions& extensions) {
  extensions_ = extensions;
  if (streams.size() > max_streams) streams.resize(max_streams);
  for (OutgoingStream& description : streams) {
    if (find(description.ssrc) != nullptr) continue; // it goes on
    Stream& stream = streams_.emplace_back();
    const std::uint64_t start = random_.u64();
    stream.sequence = static_cast<std::uint16_t>(start & 0x7fff);
    stream.rtx_sequence = static_cast<std::uint16_t>(start >> 16 & 0x7fff);
    stream.picture_id = static_cast<std::uint16_t>(start >> 32 & 0x7fff);
    if (description.video && description.rtx_payload_type) stream.history = std::make_unique<rtp::PacketHistory>(history_packets);
    stream.description = std::move(description);
  }
}

MediaSender::Stream* MediaSender::find(std::uint32_t ssrc) {
  for (Stream& stream : streams_)
    if (stream.description.ssrc == ssrc) return &stream;
  return nullptr;
}

bool MediaSender::send_packet(TimePoint now, Stream& stream, const rtp::Header& header, ByteView prefix, ByteView payload, std::optional<std::uint8_t> level,
                              std::size_t padding, std::uint16_t probe) {
  const std::uint16_t number = transport_sequence_++;
  const std::uint8_t number_bytes[2] = {static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)};
  // RFC 6464 s.3: the upper bit says that it is speech, which a sender that has no detector may say always.
  const std::uint8_t level_byte[1] = {static_cast<std::uint8_t>(0x80 | std::min<std::uint8_t>(level.value_or(127), 127))};
  std::array<rtp::HeaderExtension, 4> elements;
  std::size_t count = 0;
  if (extensions_.mid) elements[count++] = {*extensions_.mid, as_bytes(stream.description.mid)};
  if (extensions_.transport_cc) elements[count++] = {*extensions_.transport_cc, number_bytes};
  if (extensions_.audio_level && level) elements[count++] = {*extensions_.audio_level, level_byte};
  // On every packet: the server may have forgotten the numbers that it learned.
  const auto& rid = header.ssrc == stream.description.ssrc ? extensions_.rid : extensions_.repaired_rid;
  if (rid && !stream.description.rid.empty()) elements[count++] = {*rid, as_bytes(stream.description.rid)};
  constexpr std::size_t max_header = rtp::fixed_header_size + 4 + 40;
  const MutableByteView space = queue_.reserve(max_header + prefix.size() + payload.size() + padding + srtp::max_rtp_overhead);
  if (space.empty()) return false;
  const auto written = rtp::write_header(header, std::span(elements).first(count), space.first(max_header));
  if (!written) {
    queue_.abandon();
    return false;
  }
  const std::size_t header_size = written->size();
  const MutableByteView body = space.subspan(header_size, prefix.size() + payload.size() + padding);
  std::copy(prefix.begin(), prefix.end(), body.begin());
  std::copy(payload.begin(), payload.end(), body.begin() + static_cast<std::ptrdiff_t>(prefix.size()));
  if (padding > 0) { // RFC 3550 s.5.1: P, and the last byte counts
    space[0] |= 0x20;
    std::fill(body.end() - static_cast<std::ptrdiff_t>(padding), body.end(), std::uint8_t{0});
    body.back() = static_cast<std::uint8_t>(padding);
  }
  const auto sealed = transport_.protect_rtp(space.first(header_size), body, space);
  if (!sealed) {
    queue_.abandon();
    return false;
  }
  if (!stream.description.video) {
    if (stream.sound.empty()) stream.sound.resize(kept_sound);
    SentSound& kept = stream.sound[header.sequence & (kept_sound - 1)];
    kept.datagram.assign(sealed->begin(), sealed->end());
    kept.sequence = header.sequence;
    kept.transport_sequence = number;
    kept.at = *stream.last_sent;
    kept.repeated_at = {};
    sound_bytes_ += sealed->size() + below_rtp;
  }
  if (adapts_) {
    budget_.count(now, sealed->size() + below_rtp);
    if (extensions_.transport_cc) estimator_.on_sent(now, number, sealed->size() + below_rtp, probe);
  }
  queue_.commit(*transport_.path(), sealed->size());
  ++counters_.packets;
  counters_.bytes += body.size() - padding;
  return true;
}

Result<void> MediaSender::send_frame(TimePoint now, std::size_t index, ByteView bytes, std::uint32_t timestamp, std::optional<std::uint8_t> level, bool dependent) {
  if (index >= streams_.size()) return media_unknown_stream;
  if (!transport_.connected() || !transport_.path()) return media_not_connected;
  Stream& stream = streams_[index];
  const bool video = stream.description.video;
  const std::size_t room = max_payload_ - (video ? descriptor_size : 0);
  const std::size_t packets = std::max<std::size_t>(1, (bytes.size() + room - 1) / room);
  if (!video && packets > 1) return media_frame_too_large;
  if (packets > history_packets) return media_frame_too_large;
  const bool paced = adapts_ && video;
  if (paced) {
    if (waiting_bytes_ + bytes.size() > max_waiting_bytes) drop_waiting(stream, false);
    if (!dependent) {
      // Nobody waits for what is older.
      drop_waiting(stream, false);
      std::erase_if(repetitions_, [index](const Repetition& r) { return r.stream == index; });
      stream.needs_key_frame = false;
      release(now);
    } else {
      release(now); // first: it may drop what this frame builds on
      if (stream.needs_key_frame) {
        ++counters_.frames_dropped;
        return media_needs_key_frame;
      }
    }
  }
  ++counters_.frames;
  Waiting frame{{}, 0, packets, timestamp, stream.picture_id, dependent, now};
  stream.picture_id = static_cast<std::uint16_t>((stream.picture_id + 1) & 0x7fff);
  stream.last_timestamp = timestamp;
  stream.last_sent = now;
  while (frame.packets > 0 && (!paced || (!anything_waits() && budget_.ready(now)))) send_part(now, stream, frame, bytes, level);
  if (frame.packets == 0) return {};
  frame.bytes = to_bytes(bytes);
  waiting_bytes_ += bytes.size() - frame.begin;
  stream.waiting.push_back(std::move(frame));
  return {};
}

void MediaSender::send_part(TimePoint now, Stream& stream, Waiting& frame, ByteView bytes, std::optional<std::uint8_t> level) {
  const bool video = stream.description.video;
  // X, then I with 15 bits of picture id; S on a frame's first packet.
  const std::array<std::uint8_t, descriptor_size> descriptor{static_cast<std::uint8_t>(frame.begin == 0 ? 0x90 : 0x80), 0x80,
                                                             static_cast<std::uint8_t>(0x80 | frame.picture_id >> 8), static_cast<std::uint8_t>(frame.picture_id)};
  // Of nearly the same size: a run of equal packets is cheaper to forward (RFC 3550 has nothing against it).
  const std::size_t size = (bytes.size() - frame.begin + frame.packets - 1) / frame.packets;
  const ByteView part = bytes.subspan(frame.begin, size);
  frame.begin += size;
  --frame.packets;
  rtp::Header header;
  header.marker = video && frame.packets == 0;
  header.payload_type = stream.description.payload_type;
  header.sequence = stream.sequence++;
  header.timestamp = frame.timestamp;
  header.ssrc = stream.description.ssrc;
  const ByteView prefix = video ? ByteView(descriptor) : ByteView();
  if (stream.history) {
    std::array<std::uint8_t, rtp::PacketHistory::max_payload> whole;
    std::copy(prefix.begin(), prefix.end(), whole.begin());
    std::copy(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(prefix.size()));
    stream.history->store(stream.unwrapper.unwrap(header.sequence), frame.timestamp, header.marker, ByteView(whole).first(prefix.size() + part.size()));
  }
  send_packet(now, stream, header, prefix, part, level);
  ++stream.packets;
  stream.octets += static_cast<std::uint32_t>(prefix.size() + part.size());
}

// ---- what waits for its time

void MediaSender::release(TimePoint now) {
  drop_old(now);
  released_at_ = now;
  while (anything_waits() && budget_.ready(now)) {
    if (!transport_.connected() || !transport_.path()) return;
    if (!repetitions_.empty()) {
      const Repetition next = repetitions_.front();
      repetitions_.pop_front();
      resend_picture(now, streams_[next.stream], next.sequence);
      continue;
    }
    Stream* oldest = nullptr;
    for (Stream& stream : streams_)
      if (!stream.waiting.empty() && (oldest == nullptr || stream.waiting.front().since < oldest->waiting.front().since)) oldest = &stream;
    if (oldest == nullptr) return;
    Waiting& frame = oldest->waiting.front();
    const std::size_t before = frame.begin;
    send_part(now, *oldest, frame, frame.bytes, std::nullopt);
    waiting_bytes_ -= frame.begin - before;
    if (frame.packets > 0) continue;
    if (!frame.dependent) oldest->key_frame_left = now;
    oldest->waiting.pop_front();
  }
}

void MediaSender::drop_waiting(Stream& stream, bool begun) {
  // What has begun is finished, unless nobody waits for it: a frame that ends in its middle is of no use, and all behind it waits for the rest.
  const std::size_t kept = !begun && !stream.waiting.empty() && stream.waiting.front().begin > 0 ? 1 : 0;
  while (stream.waiting.size() > kept) {
    waiting_bytes_ -= stream.waiting.back().bytes.size() - stream.waiting.back().begin;
    stream.waiting.pop_back();
    ++counters_.frames_dropped;
    stream.needs_key_frame = true;
  }
}

void MediaSender::drop_old(TimePoint now) {
  while (!repetitions_.empty() && now - repetitions_.front().since > max_repetition_wait) repetitions_.pop_front();
  for (Stream& stream : streams_) {
    if (stream.waiting.empty()) continue;
    const Waiting& first = stream.waiting.front();
    // A key frame takes as long as it takes. It would not be quicker a second time, and those behind it have their time from its end on.
    if (!first.dependent) continue;
    if (now - std::max(first.since, stream.key_frame_left) > max_waiting_time) drop_waiting(stream, false);
  }
}

void MediaSender::stop_stream(std::size_t index) {
  if (index >= streams_.size()) return;
  Stream& stream = streams_[index];
  drop_waiting(stream, true);
  stream.needs_key_frame = true;
  std::erase_if(repetitions_, [index](const Repetition& r) { return r.stream == index; });
}

void MediaSender::choose_pace(TimePoint now) {
  // The first estimate is a guess until it is known what arrives.
  const bool known = estimator_.started() && estimator_.acknowledged_bitrate() > 0;
  budget_.set_rate(known ? std::max(estimator_.bitrate() * (estimator_.draining(now) ? draining_percent : pacing_percent) / 100, std::max(least_pace, least_pace_)) : 0);
}

std::optional<std::int64_t> MediaSender::available() const {
  if (!adapts_ || !extensions_.transport_cc) return std::nullopt;
  return estimator_.started() ? estimator_.bitrate() : congestion::BandwidthEstimator::start_bitrate;
}

void MediaSender::watch_path() {
  if (transport_.path() == path_ || !transport_.path()) return;
  if (path_) estimator_.reset();
  path_ = transport_.path();
  choose_pace({});
}

void MediaSender::probe(TimePoint now) {
  // Padding goes over a retransmission stream, whose receiver throws it away, and which is known once the stream that it repeats is.
  const auto usable = std::find_if(streams_.begin(), streams_.end(), [](const Stream& s) { return s.description.video && s.description.rtx_payload_type && s.packets > 0; });
  // Before the estimator is asked: what it hands out counts as sent, and is not offered again for a while.
  if (usable == streams_.end() || !transport_.connected() || !transport_.path()) {
    probe_.reset();
    return;
  }
  if (!probe_) {
    probe_ = estimator_.poll_probe(now, desired_);
    if (!probe_) return;
    ++counters_.probes;
    probe_at_ = now;
    probe_credit_ = probe_->bitrate * pacing_interval.count() / 8'000'000;
  }
  probe_credit_ += probe_->bitrate * std::min<std::int64_t>((now - probe_at_).count(), 20'000) / 8'000'000;
  probe_at_ = now;
  while (probe_ && probe_credit_ > 0) {
    rtp::Header header;
    header.payload_type = *usable->description.rtx_payload_type;
    header.sequence = usable->rtx_sequence++;
    header.timestamp = usable->last_timestamp;
    header.ssrc = usable->description.rtx_ssrc;
    if (!send_packet(now, *usable, header, {}, {}, std::nullopt, probe_padding, probe_->cluster)) {
      probe_.reset();
      return;
    }
    ++counters_.padding;
    constexpr std::size_t sent = probe_padding + 60;
    probe_credit_ -= static_cast<std::int64_t>(sent);
    if (probe_->bytes <= sent) probe_.reset();
    else probe_->bytes -= sent;
  }
}

// ---- what is sent again

void MediaSender::resend_sound(TimePoint now, Stream& stream, std::uint16_t sequence) {
  if (stream.sound.empty() || !transport_.connected() || !transport_.path()) return;
  SentSound& kept = stream.sound[sequence & (kept_sound - 1)];
  if (kept.datagram.empty() || kept.sequence != sequence || now - kept.at > max_sound_age) return;
  if (now - kept.repeated_at < std::max(least_repeat_interval, round_trip_.value_or(Duration{}))) return;
  kept.repeated_at = now;
  ++counters_.retransmissions;
  if (adapts_) {
    budget_.count(now, kept.datagram.size() + below_rtp);
    // Under its number of the first time: which of the two arrives nobody can tell.
    if (extensions_.transport_cc) estimator_.on_sent(now, kept.transport_sequence, kept.datagram.size() + below_rtp, 0, true);
  }
  queue_.push(*transport_.path(), kept.datagram);
}

void MediaSender::resend(TimePoint now, Stream& stream, std::uint16_t sequence) {
  ++counters_.nacks_received;
  if (!stream.description.video) return resend_sound(now, stream, sequence);
  if (!adapts_) return resend_picture(now, stream, sequence);
  if (stream.needs_key_frame && stream.waiting.empty()) return; // it was stopped
  if (repetitions_.size() >= max_waiting_repetitions) return;
  const auto index = static_cast<std::size_t>(&stream - streams_.data());
  // Who asks again while it waits is answered once.
  if (std::ranges::any_of(repetitions_, [&](const Repetition& r) { return r.stream == index && r.sequence == sequence; })) return;
  repetitions_.push_back({index, sequence, now});
  release(now);
}

void MediaSender::resend_picture(TimePoint now, Stream& stream, std::uint16_t sequence) {
  if (!stream.history || !stream.description.rtx_payload_type) return;
  const auto held = stream.history->find(stream.unwrapper.peek(sequence));
  if (!held) return;
  rtp::Header header;
  header.marker = held->marker;
  header.payload_type = *stream.description.rtx_payload_type;
  header.sequence = stream.rtx_sequence++;
  header.timestamp = held->timestamp;
  header.ssrc = stream.description.rtx_ssrc;
  const std::uint8_t original[2] = {static_cast<std::uint8_t>(sequence >> 8), static_cast<std::uint8_t>(sequence)};
  ++counters_.retransmissions;
  send_packet(now, stream, header, original, held->payload);
}

void MediaSender::handle_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram) {
  const auto received = transport_.handle_packet(now, path, datagram);
  if (!received) {
    ++counters_.invalid;
  } else if (received->kind == Transport::Received::rtcp) {
    handle_rtcp(now, received->packet);
  }
  pump(now);
}

void MediaSender::handle_rtcp(TimePoint now, ByteView compound) {
  rtp::RtcpReader reader(compound);
  const auto want_key_frame = [this](std::uint32_t ssrc) {
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      if (streams_[i].description.ssrc != ssrc) continue;
      ++counters_.key_frames_wanted;
      if (outputs_.size() < max_outputs) outputs_.push_back(KeyFrameWanted{i});
    }
  };
  while (true) {
    const auto next = reader.next();
    if (!next) {
      ++counters_.invalid;
      return;
    }
    if (!*next) return;
    const rtp::RtcpPacket& packet = **next;
    if (packet.is(rtp::RtcpType::receiver_report)) {
      auto report = rtp::parse_receiver_report(packet);
      if (!report) continue;
      while (const auto block = report->blocks.next()) {
        if (find(block->ssrc) == nullptr) continue;
        reported_loss_ = block->fraction_lost / 256.0;
        if (block->last_sender_report == 0) continue;
        // In 1/65536 s, modulo 2^32; a little below zero is a rounding.
        const auto units = static_cast<std::int32_t>(rtp::compact_ntp(ntp_of(now)) - block->last_sender_report - block->delay_since_last_sender_report);
        if (units >= -64 && units < 65536 * 60) round_trip_ = Duration(std::int64_t{std::max(units, 0)} * 1'000'000 / 65536);
      }
      continue;
    }
    if (!packet.is(rtp::RtcpType::transport_feedback) && !packet.is(rtp::RtcpType::payload_feedback)) continue;
    const auto feedback = rtp::parse_feedback(packet);
    if (!feedback) continue;
    if (packet.is_payload_feedback(rtp::format_pli)) {
      want_key_frame(feedback->media);
    } else if (packet.is_payload_feedback(rtp::format_fir)) {
      rtp::FirTargets targets(feedback->control);
      while (const auto ssrc = targets.next()) want_key_frame(*ssrc);
    } else if (packet.is_transport_feedback(rtp::format_nack)) {
      Stream* const stream = find(feedback->media);
      rtp::NackedSequences sequences(feedback->control);
      while (const auto sequence = sequences.next())
        if (stream) resend(now, *stream, *sequence);
    } else if (packet.is_transport_feedback(rtp::format_transport_wide)) {
      if (statuses_.empty()) statuses_.resize(rtp::max_feedback_statuses);
      const auto parsed = rtp::parse_transport_feedback(feedback->control, statuses_);
      if (!parsed) {
        ++counters_.invalid;
        continue;
      }
      ++counters_.feedback_received;
      for (const rtp::PacketStatus& status : parsed->statuses) ++(status.received ? counters_.reported_received : counters_.reported_lost);
      if (!adapts_ || !extensions_.transport_cc) continue;
      estimator_.on_feedback(now, parsed->statuses);
      choose_pace(now);
    }
  }
}

void MediaSender::send_reports(TimePoint now) {
  if (!transport_.connected()) return;
  for (const Stream& stream : streams_) {
    if (!stream.last_sent) continue;
    const MutableByteView space = queue_.reserve(128 + srtp::max_rtcp_overhead);
    if (space.empty()) return;
    const std::int64_t clock = stream.description.video ? 90 : 48; // in kHz
    const auto since = (now - *stream.last_sent).count() * clock / 1000;
    SpanWriter out(space.first(128));
    rtp::write_sender_report({stream.description.ssrc, ntp_of(now), stream.last_timestamp + static_cast<std::uint32_t>(since), stream.packets, stream.octets}, {}, out);
    rtp::write_cname(stream.description.ssrc, cname, out);
    const auto written = out.written();
    const auto sealed = written ? transport_.protect_rtcp(*written, space) : Result<MutableByteView>(media_not_connected);
    if (sealed) queue_.commit(*transport_.path(), sealed->size());
    else queue_.abandon();
  }
}

void MediaSender::handle_timeout(TimePoint now) {
  transport_.handle_timeout(now);
  if (next_report_ && now >= *next_report_) {
    next_report_ = now + report_interval;
    send_reports(now);
  }
  if (next_tick_ && now >= *next_tick_) {
    next_tick_ = now + estimator_interval;
    estimator_.handle_timeout(now);
    choose_pace(now);
    if (!sound_since_) sound_since_ = now;
    if (now - *sound_since_ >= sound_interval) {
      sound_bitrate_ = static_cast<std::int64_t>(sound_bytes_) * 8'000'000 / (now - *sound_since_).count();
      sound_bytes_ = 0;
      sound_since_ = now;
    }
  }
  if (next_tick_) {
    probe(now);
    release(now);
  }
  pump(now);
}

void MediaSender::close() {
  transport_.close();
  pump({});
}

void MediaSender::pump(TimePoint now) {
  if (adapts_) watch_path();
  while (const auto output = transport_.poll_output()) {
    if (const auto* send = std::get_if<Transport::Send>(&*output)) {
      queue_.push(send->path, send->datagram);
    } else if (std::holds_alternative<Transport::Connected>(*output)) {
      next_report_ = now + std::chrono::milliseconds(200);
      if (adapts_) next_tick_ = now + estimator_interval;
      outputs_.push_back(Connected{});
    } else {
      next_report_.reset();
      next_tick_.reset();
      probe_.reset();
      outputs_.push_back(Disconnected{std::get<Transport::Disconnected>(*output).reason, transport_.closed()});
    }
  }
}

std::optional<MediaSender::Output> MediaSender::poll_output() {
  if (polled_ == outputs_.size()) {
    outputs_.clear();
    polled_ = 0;
    return std::nullopt;
  }
  return outputs_[polled_++];
}

std::optional<TimePoint> MediaSender::next_deadline() const {
  std::optional<TimePoint> deadline = transport_.next_deadline();
  const auto consider = [&deadline](std::optional<TimePoint> other) {
    if (other && (!deadline || *other < *deadline)) deadline = other;
  };
  consider(next_report_);
  consider(next_tick_);
  if (next_tick_ && probe_) consider(probe_at_ + pacing_interval);
  if (next_tick_ && anything_waits()) consider(std::max(budget_.ready_at(), released_at_ + pacing_interval));
  return deadline;
}

} // namespace satsuma::participant
