#include "participant/media_receiver.h"

#include <algorithm>
#include <array>

#include "rtp/vp8.h"

namespace satsuma::participant {

namespace {

constexpr Duration tick_interval = std::chrono::milliseconds(20);
constexpr Duration feedback_interval = std::chrono::milliseconds(60);
constexpr Duration report_interval = std::chrono::seconds(1);
/// A browser that sends does not listen for 300 ms after a request that it heard.
constexpr Duration key_frame_interval = std::chrono::milliseconds(350);
constexpr std::size_t nack_capacity = 256;
constexpr std::size_t many_missing = 8;
/// What is missing before a key frame that is there may take so long to come.
constexpr Duration key_frame_patience = std::chrono::milliseconds(120);
constexpr std::size_t max_rtcp_size = 1200;
constexpr std::string_view cname = "satsuma";

} // namespace

MediaReceiver::MediaReceiver(TimePoint now, const dtls::Context& context, ice::Credentials local, RandomSource& random, const Options& options)
    : transport_(now, context, std::move(local), random),
      options_(options),
      own_ssrc_(static_cast<std::uint32_t>(random.u64()) | 0x100),
      feedback_(std::make_unique<rtp::TransportFeedbackRecorder>()),
      now_(now) {}

void MediaReceiver::set_streams(std::vector<IncomingStream> streams, const Extensions& extensions) {
  extensions_ = extensions;
  if (streams.size() > max_streams) streams.resize(max_streams);
  for (std::size_t i = 0; i < streams.size(); ++i) {
    if (i < streams_.size() && streams_[i].description == streams[i]) continue;
    if (i >= streams_.size()) streams_.emplace_back();
    streams_[i] = Stream{};
    streams_[i].statistics = rtp::ReceiveStatistics(streams[i].video ? 90000 : 48000);
    streams_[i].description = std::move(streams[i]);
  }
  streams_.resize(streams.size());
  by_ssrc_.clear();
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    by_ssrc_[streams_[i].description.ssrc] = {i, false};
    if (streams_[i].description.rtx_payload_type) by_ssrc_[streams_[i].description.rtx_ssrc] = {i, true};
  }
  std::erase_if(ready_, [this](std::size_t index) { return index >= streams_.size(); });
}

void MediaReceiver::handle_packet(TimePoint now, const NetworkPath& path, MutableByteView datagram, std::optional<TimePoint> arrived) {
  now_ = now;
  audio_.reset();
  const auto received = transport_.handle_packet(now, path, datagram);
  if (!received) {
    ++counters_.invalid;
  } else if (received->kind == Transport::Received::rtp) {
    handle_rtp(now, received->packet, arrived.value_or(now));
    return; // the transport has nothing to say to media
  } else if (received->kind == Transport::Received::rtcp) {
    handle_rtcp(now, received->packet);
    return;
  }
  pump(now);
}

void MediaReceiver::handle_rtp(TimePoint now, ByteView datagram, TimePoint arrived) {
  const auto packet = rtp::parse_packet(datagram);
  if (!packet) {
    ++counters_.invalid;
    return;
  }
  ++counters_.packets;
  counters_.bytes += packet->payload.size();
  if (extensions_.transport_cc)
    if (const auto value = packet->extension(*extensions_.transport_cc); value && value->size() == 2)
      feedback_->on_packet(arrived, static_cast<std::uint16_t>((*value)[0] << 8 | (*value)[1]));
  const auto place = by_ssrc_.find(packet->ssrc);
  if (place == by_ssrc_.end()) {
    ++counters_.unknown_streams;
    return;
  }
  Stream& stream = streams_[place->second.stream];
  if (place->second.retransmission) {
    const auto repeated = rtp::parse_retransmission(packet->payload);
    if (!repeated || repeated->payload.empty()) {
      --counters_.packets;
      counters_.bytes -= packet->payload.size();
      ++counters_.probes;
      return;
    }
    ++counters_.retransmissions;
    if (!stream.unwrapper.highest()) return;
    take_video(now, place->second.stream, stream.unwrapper.peek(repeated->original_sequence), packet->timestamp, packet->marker, repeated->payload);
    return;
  }
  const rtp::ExtendedSequence sequence = stream.unwrapper.unwrap(packet->sequence);
  stream.statistics.on_packet(now, sequence, packet->timestamp);
  if (packet->payload.empty()) return;
  if (stream.description.video) {
    if (options_.video_frames) take_video(now, place->second.stream, sequence, packet->timestamp, packet->marker, packet->payload);
  } else if (options_.audio_frames) {
    audio_ = Frame{place->second.stream, packet->timestamp, packet->payload, false};
  }
}

void MediaReceiver::take_video(TimePoint now, std::size_t index, rtp::ExtendedSequence sequence, std::uint32_t timestamp, bool marker, ByteView payload) {
  Stream& stream = streams_[index];
  if (!stream.history) {
    stream.history = std::make_unique<rtp::PacketHistory>(options_.history_packets);
    stream.nacks = std::make_unique<rtp::NackGenerator>(std::min(nack_capacity, options_.history_packets / 2));
  }
  if (stream.nacks->on_packet(sequence) == rtp::NackGenerator::Outcome::given_up) {
    // Too much at once: begin again behind the hole.
    stream.next = sequence;
    stream.gap = true;
    ++counters_.frames_lost;
    request_key_frame(now, index);
  }
  if (!stream.next) stream.next = sequence;
  // Behind a hole as large as this it begins anew with a key frame, without waiting for what nobody may send again.
  if (const auto descriptor = rtp::parse_vp8_descriptor(payload);
      descriptor && sequence > *stream.next && stream.nacks->missing() > many_missing && rtp::starts_vp8_key_frame(*descriptor, payload)) {
    stream.next = sequence;
    stream.nacks->forget_before(sequence);
    stream.stuck_since.reset();
    stream.gap = true;
    ++counters_.frames_lost;
  }
  if (sequence < *stream.next) return;
  if (sequence - *stream.next >= static_cast<rtp::ExtendedSequence>(options_.history_packets)) give_up(now, index);
  if (!stream.history->store(sequence, timestamp, marker, payload)) return;
  if (!stream.ready) {
    stream.ready = true;
    ready_.push_back(index);
  }
}

std::optional<MediaReceiver::Frame> MediaReceiver::assemble(std::size_t index) {
  Stream& stream = streams_[index];
  const auto highest = stream.unwrapper.highest();
  if (!stream.next || !highest || !stream.history) return std::nullopt;
  while (*stream.next <= *highest) {
    const auto first = stream.history->find(*stream.next);
    if (!first) return std::nullopt;
    const auto descriptor = rtp::parse_vp8_descriptor(first->payload);
    if (!descriptor || !descriptor->starts_frame()) {
      // The rest of a frame whose beginning is lost or was before our time.
      stream.gap = true;
      ++*stream.next;
      continue;
    }
    rtp::ExtendedSequence last = *stream.next;
    bool cut = false;
    for (;; ++last) {
      const auto part = last > *highest ? std::nullopt : stream.history->find(last);
      if (!part) return std::nullopt;
      cut = part->timestamp != first->timestamp;
      if (cut || part->marker) break;
    }
    if (cut) { // its sender thought better of it; another begins here
      stream.next = last;
      stream.stuck_since.reset();
      stream.gap = true;
      continue;
    }
    scratch_.clear();
    bool whole = true;
    for (rtp::ExtendedSequence s = *stream.next; s <= last; ++s) {
      const ByteView payload = stream.history->find(s)->payload;
      const auto part = rtp::parse_vp8_descriptor(payload);
      if (!part || (s != *stream.next && part->starts_frame())) {
        whole = false; // a marker was lost on the way, or somebody writes nonsense
        break;
      }
      scratch_.insert(scratch_.end(), payload.begin() + static_cast<std::ptrdiff_t>(part->size), payload.end());
    }
    stream.next = last + 1;
    stream.stuck_since.reset();
    if (!whole) {
      stream.gap = true;
      continue;
    }
    ++counters_.frames;
    const Frame frame{index, first->timestamp, scratch_, stream.gap};
    stream.gap = false;
    return frame;
  }
  return std::nullopt;
}

// Behind the first hole goes on what begins a frame.
void MediaReceiver::give_up(TimePoint now, std::size_t index) {
  Stream& stream = streams_[index];
  const rtp::ExtendedSequence highest = stream.unwrapper.highest().value_or(*stream.next);
  rtp::ExtendedSequence at = std::max(*stream.next, highest - static_cast<rtp::ExtendedSequence>(options_.history_packets) + 1);
  while (at <= highest && stream.history->contains(at)) ++at; // to the hole
  for (; at <= highest; ++at) {
    const auto packet = stream.history->find(at);
    if (!packet) continue;
    const auto descriptor = rtp::parse_vp8_descriptor(packet->payload);
    if (descriptor && descriptor->starts_frame()) break;
  }
  stream.next = at;
  stream.nacks->forget_before(at);
  stream.stuck_since.reset();
  stream.gap = true;
  ++counters_.frames_lost;
  request_key_frame(now, index);
  if (!stream.ready) {
    stream.ready = true;
    ready_.push_back(index);
  }
}

bool MediaReceiver::skip_to_key_frame(std::size_t index) {
  Stream& stream = streams_[index];
  std::optional<rtp::ExtendedSequence> begin;
  for (rtp::ExtendedSequence at = *stream.next + 1; at <= *stream.unwrapper.highest(); ++at) {
    const auto packet = stream.history->find(at);
    if (!packet) {
      begin.reset();
      continue;
    }
    const auto descriptor = rtp::parse_vp8_descriptor(packet->payload);
    if (!descriptor) begin.reset();
    else if (descriptor->starts_frame()) begin = rtp::starts_vp8_key_frame(*descriptor, packet->payload) ? std::optional(at) : std::nullopt;
    if (begin && packet->marker) break;
    if (at == *stream.unwrapper.highest()) begin.reset(); // the rest of it is on its way
  }
  if (!begin) return false;
  stream.next = *begin;
  stream.nacks->forget_before(*begin);
  stream.stuck_since.reset();
  stream.gap = true;
  ++counters_.frames_lost;
  if (!stream.ready) {
    stream.ready = true;
    ready_.push_back(index);
  }
  return true;
}

void MediaReceiver::request_key_frame(TimePoint now, std::size_t index) {
  if (index >= streams_.size()) return;
  Stream& stream = streams_[index];
  if (stream.asked_key_frame && now - *stream.asked_key_frame < key_frame_interval) return;
  stream.asked_key_frame = now;
  ++counters_.key_frames_wanted;
  send_rtcp([&](SpanWriter& out) { rtp::write_pli(own_ssrc_, stream.description.ssrc, out); });
}

void MediaReceiver::handle_rtcp(TimePoint now, ByteView compound) {
  rtp::RtcpReader reader(compound);
  while (true) {
    const auto next = reader.next();
    if (!next) {
      ++counters_.invalid;
      return;
    }
    if (!*next) return;
    if (!(*next)->is(rtp::RtcpType::sender_report)) continue;
    const auto report = rtp::parse_sender_report(**next);
    if (!report) continue;
    if (const auto place = by_ssrc_.find(report->info.ssrc); place != by_ssrc_.end() && !place->second.retransmission)
      streams_[place->second.stream].statistics.on_sender_report(now, report->info);
  }
}

template <class Write>
void MediaReceiver::send_rtcp(Write&& write) {
  if (!transport_.connected() || !transport_.path()) return;
  const MutableByteView space = queue_.reserve(max_rtcp_size + srtp::max_rtcp_overhead);
  if (space.empty()) return;
  SpanWriter out(space.first(max_rtcp_size));
  write(out);
  const auto written = out.written();
  if (!written || written->empty()) return queue_.abandon();
  const auto sealed = transport_.protect_rtcp(*written, space);
  if (sealed) queue_.commit(*transport_.path(), sealed->size());
  else queue_.abandon();
}

void MediaReceiver::send_feedback(TimePoint now) {
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    Stream& stream = streams_[i];
    if (!stream.nacks || stream.nacks->missing() == 0 || !stream.description.rtx_payload_type) continue;
    std::array<std::uint16_t, 128> missing;
    const std::size_t count = stream.nacks->poll(now, missing);
    if (count == 0) continue;
    counters_.nacks_sent += count;
    send_rtcp([&](SpanWriter& out) { rtp::write_nack(own_ssrc_, stream.description.ssrc, std::span<const std::uint16_t>(missing).first(count), out, 128); });
  }
  if (now < next_feedback_) return;
  next_feedback_ = now + feedback_interval;
  for (int i = 0; i < 8 && feedback_->pending(); ++i)
    send_rtcp([&](SpanWriter& out) {
      std::array<std::uint8_t, max_rtcp_size> message;
      const std::uint32_t media = streams_.empty() ? 0 : streams_.front().description.ssrc;
      if (const auto written = feedback_->write(own_ssrc_, media, message)) out.bytes(*written);
    });
}

void MediaReceiver::send_reports(TimePoint now) {
  std::array<rtp::ReportBlock, 24> blocks;
  std::size_t count = 0;
  const auto flush = [&] {
    send_rtcp([&](SpanWriter& out) {
      rtp::write_receiver_report(own_ssrc_, std::span<const rtp::ReportBlock>(blocks).first(count), out);
      rtp::write_cname(own_ssrc_, cname, out);
    });
    count = 0;
  };
  for (Stream& stream : streams_) {
    if (!stream.statistics.started()) continue;
    blocks[count] = stream.statistics.report(now, stream.description.ssrc);
    stream.lost = std::max(stream.lost, std::int64_t{blocks[count].cumulative_lost});
    if (++count == blocks.size()) flush();
  }
  flush();
}

const MediaReceiver::Counters& MediaReceiver::counters() {
  counters_.lost_packets = 0;
  for (const Stream& stream : streams_) counters_.lost_packets += static_cast<std::uint64_t>(stream.lost);
  return counters_;
}

void MediaReceiver::handle_timeout(TimePoint now) {
  now_ = now;
  audio_.reset();
  transport_.handle_timeout(now);
  if (next_tick_ && now >= *next_tick_) {
    next_tick_ = now + tick_interval;
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      Stream& stream = streams_[i];
      const auto highest = stream.unwrapper.highest();
      if (!stream.history || !stream.next || !highest || *stream.next > *highest) {
        stream.stuck_since.reset();
        continue;
      }
      if (!stream.stuck_since) stream.stuck_since = now;
      else if (now - *stream.stuck_since >= key_frame_patience && skip_to_key_frame(i)) continue;
      else if (now - *stream.stuck_since >= options_.max_wait) give_up(now, i);
    }
    send_feedback(now);
    if (now >= next_report_) {
      next_report_ = now + report_interval;
      send_reports(now);
    }
  }
  pump(now);
}

void MediaReceiver::close() {
  transport_.close();
  pump(now_);
}

void MediaReceiver::pump(TimePoint now) {
  while (const auto output = transport_.poll_output()) {
    if (const auto* send = std::get_if<Transport::Send>(&*output)) {
      queue_.push(send->path, send->datagram);
    } else if (std::holds_alternative<Transport::Connected>(*output)) {
      next_tick_ = now + tick_interval;
      next_feedback_ = next_report_ = now;
      outputs_.push_back(Connected{});
    } else {
      next_tick_.reset();
      outputs_.push_back(Disconnected{std::get<Transport::Disconnected>(*output).reason, transport_.closed()});
    }
  }
}

std::optional<MediaReceiver::Output> MediaReceiver::poll_output() {
  if (polled_ < outputs_.size()) return outputs_[polled_++];
  outputs_.clear();
  polled_ = 0;
  if (audio_) {
    const Frame frame = *audio_;
    audio_.reset();
    ++counters_.frames;
    return frame;
  }
  while (!ready_.empty()) {
    const std::size_t index = ready_.back();
    if (const auto frame = assemble(index)) return *frame;
    streams_[index].ready = false;
    ready_.pop_back();
  }
  return std::nullopt;
}

std::optional<TimePoint> MediaReceiver::next_deadline() const {
  std::optional<TimePoint> deadline = transport_.next_deadline();
  if (next_tick_ && (!deadline || *next_tick_ < *deadline)) deadline = next_tick_;
  return deadline;
}

} // namespace satsuma::participant
