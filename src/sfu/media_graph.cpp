#include "sfu/media_graph.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/prefetch.h"

namespace satsuma::sfu {

namespace {

/// Of a datagram, below RTP: IPv4, UDP and the tag that SRTP appends.
constexpr std::size_t below_rtp = 28 + 16;
constexpr Duration feedback_interval = std::chrono::milliseconds(60);
/// What only packets need, most of a megabyte for a stream of video, is given back when there have been none for so long.
constexpr Duration rest_after = std::chrono::seconds(10);
constexpr Duration report_interval = std::chrono::seconds(1);
constexpr std::size_t max_rtcp_size = 1200;
constexpr std::size_t max_padding = 255; // its last byte says how many
/// Nobody sends a larger datagram over a path of usual width; what a header may gain on its way included.
constexpr std::size_t max_packet_size = 1600;
/// Who has not followed the log for so long is without keys; frames of an epoch whose keys are on the way are held for as long (docs/protocol.md s.4).
constexpr Duration follow_patience = std::chrono::seconds(1);
/// Senders go over to an epoch with a newcomer 150 ms after they entered it, and a path away.
constexpr Duration newcomer_delay = std::chrono::milliseconds(200);
constexpr std::string_view publisher_cname = "satsuma";

/// Whether a NACK's packets are those of an outage.
bool asks_for_outage(const Slot& slot, ByteView control) {
  rtp::NackedSequences sequences(control);
  std::optional<TimePoint> began;
  std::uint16_t last = 0;
  std::int64_t count = 0;
  while (const auto sequence = sequences.next()) {
    const auto sent = slot.sent_at(*sequence);
    if (!sent) {
      began.reset();
      continue;
    }
    if (!began || *sequence != static_cast<std::uint16_t>(last + 1)) {
      began = sent;
      count = 0;
    }
    last = *sequence;
    if (++count > outage_packets && *sent - *began >= outage_time) return true;
  }
  return false;
}

/// Encoders cut a frame into packets that differ by a byte, and the kernel takes only packets of the same size as one message (UDP_SEGMENT; the last may be
/// shorter), which is half of what sending costs. So those that are shorter by a few bytes than the longest beside them are padded up to it.
void even_out(std::span<MediaPacket> packets) {
  constexpr std::size_t most = 8;
  for (std::size_t begin = 0, end = 0; begin < packets.size(); begin = end) {
    std::size_t shortest = packets[begin].payload.size(), longest = shortest;
    for (end = begin + 1; end < packets.size(); ++end) {
      const std::size_t size = packets[end].payload.size();
      if (size == 0 || std::max(longest, size) - std::min(shortest, size) > most) break;
      shortest = std::min(shortest, size);
      longest = std::max(longest, size);
    }
    for (std::size_t i = begin; i + 1 < end; ++i)
      packets[i].padding = static_cast<std::uint8_t>(longest - packets[i].payload.size());
  }
}

/// The publisher's descriptor as this subscriber is to read it: numbers that go on from what it had before, and of the decode targets those that it
/// gets all of.
Result<MutableByteView> write_descriptor(const PacketDescriptor& d, const Slot& slot, std::uint16_t frame_number, MutableByteView out) {
  std::optional<std::uint32_t> targets;
  // A packet from before the present structure is sent again: its targets were others.
  if (const auto layer = slot.current(); layer && d.layout.target_count == d.targets.count) {
    const std::uint32_t all = d.targets.up_to[max_spatial_layers - 1][max_temporal_layers - 1];
    const std::uint32_t active = d.targets.published & d.targets.up_to[layer->spatial][layer->temporal];
    // A.8.3: with a structure all are active. A bitmask holds until the next, so what was said before the layers rose is to be corrected: each packet says it.
    const bool understood = active == all && (d.layout.has_structure() || d.targets.count == 1);
    if (active != 0 && !understood) targets = active;
  }
  return rtp::rewrite_dependency_descriptor(d.value, d.layout, frame_number, targets, out);
}

} // namespace

MediaGraph::Publisher::Publisher() = default;
MediaGraph::Subscriber::Subscriber() = default;

MediaGraph::MediaGraph(const Limits& limits, RandomSource& random)
    : limits_(limits), random_(random), arena_(limits.send_arena_bytes), statuses_(rtp::max_feedback_statuses) {
  run_.packets.reserve(max_run);
}

// ---- rooms and participants

Result<ParticipantIndex> MediaGraph::add_participant(std::string_view room, const IncarnationId& id) {
  if (by_id_.contains(id)) return sfu_participant_exists;
  const auto found = rooms_.find(std::string(room));
  if (found == rooms_.end() && rooms_.size() >= limits_.rooms) return sfu_too_many_rooms;
  if (found != rooms_.end()) {
    const auto& there = found->second.participants;
    const auto here = std::count_if(there.begin(), there.end(), [this](ParticipantIndex p) { return !participants_[p]->home; });
    if (static_cast<std::size_t>(here) >= limits_.participants_per_room) return sfu_room_full;
  }
  const ParticipantIndex index = add_to_room(room, id);
  by_id_.emplace(id, index);
  return index;
}

ParticipantIndex MediaGraph::add_to_room(std::string_view room, const IncarnationId& id) {
  std::string name(room);
  ParticipantIndex index;
  if (free_.empty()) {
    index = static_cast<ParticipantIndex>(participants_.size());
    participants_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  participants_[index] = std::make_unique<Participant>();
  participants_[index]->id = id;
  participants_[index]->room = name;
  rooms_[std::move(name)].participants.push_back(index);
  return index;
}

void MediaGraph::remove_participant(TimePoint now, ParticipantIndex index) {
  Participant& p = *participants_[index];
  withdraw(index);
  if (p.subscriber)
    for (std::size_t i = 0; i < p.subscriber->slots.size(); ++i) disconnect_slot(index, i);
  release_publications(index, {Source::microphone, Source::camera, Source::screen, Source::screen_audio});
  const std::string room = p.room;
  (p.home ? mirrors_ : by_id_).erase(p.id);
  rooms_[room].speakers.remove(index);
  std::erase(rooms_[room].participants, index);
  if (rooms_[room].participants.empty()) rooms_.erase(room);
  participants_[index].reset();
  free_.push_back(index);
  std::erase_if(packets_, [index](const OutgoingPacket& packet) { return packet.participant == index; });
  std::erase(pacing_, index);
  const auto concerns = [index](const Output& output) {
    return std::visit([index](const auto& o) { return o.participant == index; }, output);
  };
  outputs_.erase(outputs_.begin(), outputs_.begin() + static_cast<std::ptrdiff_t>(next_output_));
  next_output_ = 0;
  std::erase_if(outputs_, concerns);
  assign_slots(now, room);
}

std::optional<ParticipantIndex> MediaGraph::find(const IncarnationId& id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  return found->second;
}

void MediaGraph::set_member(TimePoint now, ParticipantIndex index, bool member) {
  Participant& p = *participants_[index];
  if (member && !p.member) {
    p.admitted = rooms_.at(p.room).newest;
    p.readable_from = p.admitted > 0 ? now + newcomer_delay : now;
  }
  p.member = member;
  assign_slots(now, p.room);
  announce(index);
}

void MediaGraph::handle_epoch(TimePoint now, std::string_view room, std::uint64_t entry) {
  const auto found = rooms_.find(std::string(room));
  if (found == rooms_.end()) return;
  Room& r = found->second;
  r.newest = entry + 1;
  if (r.recent.size() == max_recent_epochs) {
    r.required = r.recent.front().cursor;
    r.recent.pop_front();
  }
  r.recent.push_back({r.newest, now});
}

void MediaGraph::handle_followed(ParticipantIndex index, std::uint64_t cursor) {
  Participant& p = *participants_[index];
  p.followed = std::max(p.followed, cursor);
}

bool MediaGraph::has_keys(TimePoint now, const Participant& p) {
  Room& room = rooms_.at(p.room);
  while (!room.recent.empty() && now - room.recent.front().began >= follow_patience) {
    room.required = room.recent.front().cursor;
    room.recent.pop_front();
  }
  return p.followed >= std::max(p.admitted, room.required) && now >= p.readable_from;
}

void MediaGraph::set_active(TimePoint now, ParticipantIndex index, SourceSet active) {
  participants_[index]->active = active;
  if (!active.contains(Source::microphone)) rooms_.at(participants_[index]->room).speakers.remove(index);
  assign_slots(now, participants_[index]->room);
  announce(index);
}

// ---- who publishes and who subscribes

void MediaGraph::set_publisher(TimePoint now, ParticipantIndex index, const signaling::PublishOffer& offer) {
  Participant& p = *participants_[index];
  if (!p.publisher) {
    p.publisher.emplace();
    p.publisher->ssrc = fresh_ssrc();
  }
  Publisher& publisher = *p.publisher;
  std::array<const signaling::PublishedMedia*, signaling::source_count> wanted{};
  publisher.mid_extension.reset();
  publisher.transport_cc_extension.reset();
  publisher.rid_extension.reset();
  publisher.repaired_rid_extension.reset();
  publisher.audio_level_extension.reset();
  for (const signaling::PublishedMedia& media : offer.media) {
    if (!media.source) continue;
    wanted[static_cast<std::size_t>(*media.source)] = &media;
    // RFC 9143 s.9.4: within a bundle an id means the same in each m-line.
    if (!publisher.mid_extension) publisher.mid_extension = media.mid_extension;
    if (!publisher.transport_cc_extension) publisher.transport_cc_extension = media.transport_cc_extension;
    if (!publisher.rid_extension) publisher.rid_extension = media.rid_extension;
    if (!publisher.audio_level_extension) publisher.audio_level_extension = media.audio_level_extension;
    if (!publisher.repaired_rid_extension) publisher.repaired_rid_extension = media.repaired_rid_extension;
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    std::unique_ptr<Publication>& present = publisher.publications[i];
    const auto source = static_cast<Source>(i);
    if (present && wanted[i] && present->media() == *wanted[i]) continue;
    if (!present && !wanted[i]) continue;
    release_publications(index, {source});
    std::erase_if(publisher.streams, [source](const Stream& s) { return s.source == source; });
    present = wanted[i] ? std::make_unique<Publication>(*wanted[i], source, limits_) : nullptr;
    if (present) present->version = next_version_++;
    if (!wanted[i] || !wanted[i]->rids.empty()) continue; // those are known when they come
    if (wanted[i]->ssrc) publisher.streams.push_back({*wanted[i]->ssrc, source, 0, false});
    if (wanted[i]->rtx_ssrc) publisher.streams.push_back({*wanted[i]->rtx_ssrc, source, 0, true});
  }
  assign_slots(now, p.room);
  announce(index);
}

void MediaGraph::begin_subscriber(TimePoint now, ParticipantIndex index) {
  Participant& p = *participants_[index];
  if (p.subscriber) return;
  p.subscriber.emplace();
  add_slots(*p.subscriber, signaling::MediaKind::audio, limits_.audio_slots);
  add_slots(*p.subscriber, signaling::MediaKind::video, limits_.video_slots);
  // What a large room needs at once goes into the first offer; the growth itself is no news to anybody yet.
  assign_slots_of(now, index);
  std::erase_if(outputs_, [index](const Output& output) {
    const PoolGrown* const grown = std::get_if<PoolGrown>(&output);
    return grown && grown->participant == index;
  });
  next_output_ = std::min(next_output_, outputs_.size());
}

bool MediaGraph::add_slots(Subscriber& subscriber, signaling::MediaKind kind, std::size_t count) {
  const bool audio = kind == signaling::MediaKind::audio;
  const auto same = [kind](const Slot& slot) { return slot.offered().kind == kind; };
  const auto have = static_cast<std::size_t>(std::count_if(subscriber.slots.begin(), subscriber.slots.end(), same));
  const std::size_t most = audio ? limits_.max_audio_slots : limits_.max_video_slots;
  for (std::size_t i = 0; i < count && have + i < most; ++i) {
    signaling::OfferedSlot offered{kind, (audio ? "a" : "v") + std::to_string(have + i), fresh_ssrc(), audio ? 0 : fresh_ssrc()};
    subscriber.slots.emplace_back(std::move(offered), audio ? 0 : limits_.video_history_packets, random_);
  }
  return have < most && count > 0;
}

std::size_t MediaGraph::slot_count(ParticipantIndex index) const {
  const Participant& p = *participants_[index];
  return p.subscriber ? p.subscriber->slots.size() : 0;
}

std::vector<signaling::OfferedSlot> MediaGraph::offered_slots(ParticipantIndex index) const {
  std::vector<signaling::OfferedSlot> out;
  if (const auto& subscriber = participants_[index]->subscriber)
    for (const Slot& slot : subscriber->slots) out.push_back(slot.offered());
  return out;
}

void MediaGraph::accept_slots(TimePoint now, ParticipantIndex index, std::span<const signaling::SubscribeAnswer::Slot> answer) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  SATSUMA_CHECK(answer.size() <= subscriber.slots.size());
  for (std::size_t i = 0; i < answer.size(); ++i) {
    Slot& slot = subscriber.slots[i];
    slot.accepted = answer[i].accepted;
    slot.retransmissions = answer[i].retransmissions;
    slot.descriptors = answer[i].dependency_descriptors;
    slot.codecs = answer[i].codecs;
    if (!slot.accepted) disconnect_slot(index, i);
  }
  subscriber.answered = answer.size();
  if (!subscriber.ever_told) note_slots_changed(index); // an empty mapping is news as well, the first time
  subscriber.ever_told = true;
  assign_slots_of(now, index);
}

std::vector<SlotUse> MediaGraph::slot_uses(ParticipantIndex index) const {
  std::vector<SlotUse> out;
  if (const auto& subscriber = participants_[index]->subscriber)
    for (const Slot& slot : subscriber->slots)
      if (slot.publication()) out.push_back({slot.offered().mid, participants_[slot.publication()->participant]->id, slot.publication()->source});
  return out;
}

void MediaGraph::set_connected(TimePoint now, ParticipantIndex index, Leg leg, bool connected, bool renewed) {
  Participant& p = *participants_[index];
  if (leg == Leg::publish && p.publisher) {
    p.publisher->connected = connected;
    if (renewed) p.publisher->feedback = {};
    if (connected)
      for (std::size_t i = 0; i < signaling::source_count; ++i)
        if (p.publisher->publications[i]) send_key_frame_requests(now, {index, static_cast<Source>(i)});
  }
  if (leg == Leg::subscribe && p.subscriber) {
    // What it missed while it was away it would only ask for again and again.
    const bool back = connected && !p.subscriber->connected;
    p.subscriber->connected = connected;
    if (renewed || back) {
      p.subscriber->estimator.reset();
      p.subscriber->pacer.clear();
      p.subscriber->pacer.set_rate(0);
      p.subscriber->probe.reset();
    }
    for (Slot& slot : p.subscriber->slots) {
      if (renewed || back) slot.restart();
      if (connected && slot.state() == Slot::State::waiting) want_key_frame_for(now, index, slot, true);
    }
  }
}

// ---- slots

Publication* MediaGraph::publication(const PublicationReference& reference) {
  if (reference.participant >= participants_.size() || !participants_[reference.participant]) return nullptr;
  auto& publisher = participants_[reference.participant]->publisher;
  return publisher ? publisher->publications[static_cast<std::size_t>(reference.source)].get() : nullptr;
}

const Publication* MediaGraph::publication(const PublicationReference& reference) const {
  return const_cast<MediaGraph*>(this)->publication(reference);
}

bool MediaGraph::live(const PublicationReference& reference) const {
  if (!publication(reference)) return false;
  const Participant& p = *participants_[reference.participant];
  return p.member && p.active.contains(reference.source);
}

void MediaGraph::connect_slot(TimePoint now, ParticipantIndex index, std::size_t slot, const PublicationReference& to) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  subscriber.slots[slot].assign(to);
  if (const auto height = asked_height(subscriber, to)) subscriber.slots[slot].view_height = height;
  publication(to)->subscribers.push_back({index, static_cast<std::uint32_t>(slot)});
  tell_interest(to.participant, *publication(to));
  note_slots_changed(index);
  allocate(now, index); // its size is known, perhaps, and others make room
  if (subscriber.connected) want_key_frame_for(now, index, subscriber.slots[slot], true);
}

void MediaGraph::disconnect_slot(ParticipantIndex index, std::size_t slot) {
  Slot& s = participants_[index]->subscriber->slots[slot];
  if (!s.publication()) return;
  if (Publication* const from = publication(*s.publication())) {
    std::erase(from->subscribers, SlotReference{index, static_cast<std::uint32_t>(slot)});
    if (!from->watched()) from->stop_waiting();
    tell_interest(s.publication()->participant, *from);
  }
  participants_[index]->subscriber->pacer.remove_slot(static_cast<std::uint32_t>(slot));
  s.release();
  note_slots_changed(index);
}

void MediaGraph::release_publications(ParticipantIndex index, SourceSet which) {
  for (std::size_t i = 0; i < signaling::source_count; ++i) {
    const auto source = static_cast<Source>(i);
    Publication* const p = which.contains(source) ? publication({index, source}) : nullptr;
    while (p && !p->subscribers.empty()) {
      const SlotReference last = p->subscribers.back();
      disconnect_slot(last.participant, last.slot);
    }
  }
}

void MediaGraph::assign_slots(TimePoint now, const std::string& room) {
  const auto found = rooms_.find(room);
  if (found == rooms_.end()) return;
  find_live(found->second);
  for (const ParticipantIndex index : found->second.participants)
    if (participants_[index]->subscriber) assign_live(now, index, found->second);
}

void MediaGraph::assign_slots_of(TimePoint now, ParticipantIndex index) {
  const Participant& p = *participants_[index];
  if (!p.subscriber) return;
  const Room& room = rooms_.at(p.room);
  find_live(room);
  assign_live(now, index, room);
}

void MediaGraph::find_live(const Room& room) {
  live_.assign(participants_.size(), 0);
  for (const ParticipantIndex index : room.participants)
    for (std::size_t s = 0; s < signaling::source_count; ++s)
      if (live({index, static_cast<Source>(s)})) live_[index] = static_cast<std::uint8_t>(live_[index] | 1U << s);
}

void MediaGraph::assign_live(TimePoint now, ParticipantIndex index, const Room& room) {
  Participant& p = *participants_[index];
  Subscriber& subscriber = *p.subscriber;
  // What ended leaves first, so that what began can have its slots.
  carried_.assign(participants_.size(), 0);
  for (std::size_t i = 0; i < subscriber.slots.size(); ++i) {
    const auto& of = subscriber.slots[i].publication();
    if (!of) continue;
    const auto source = static_cast<std::uint8_t>(1U << static_cast<unsigned>(of->source));
    if (p.member && (live_[of->participant] & source) != 0)
      carried_[of->participant] = static_cast<std::uint8_t>(carried_[of->participant] | source);
    else
      disconnect_slot(index, i);
  }
  if (!p.member) return;
  std::size_t missing_audio = 0, missing_video = 0;
  std::array<std::size_t, 2> next{}; // of sound and pictures: in front of it no slot is free
  for (const ParticipantIndex other : room.participants) {
    if (other == index || (live_[other] & ~carried_[other]) == 0) continue;
    for (std::size_t s = 0; s < signaling::source_count; ++s) {
      if (((live_[other] & ~carried_[other]) >> s & 1) == 0) continue;
      const PublicationReference reference{other, static_cast<Source>(s)};
      const bool audio = signaling::is_audio(reference.source);
      std::size_t& at = next[audio ? 0 : 1];
      while (at < subscriber.answered) {
        const Slot& slot = subscriber.slots[at];
        if (slot.accepted && slot.state() == Slot::State::idle && slot.video() != audio) break;
        ++at;
      }
      if (at < subscriber.answered)
        connect_slot(now, index, at, reference);
      else
        ++(audio ? missing_audio : missing_video);
    }
  }
  // Slots that are made and not answered yet will take some of them.
  for (std::size_t i = subscriber.answered; i < subscriber.slots.size(); ++i) {
    std::size_t& missing = subscriber.slots[i].video() ? missing_video : missing_audio;
    if (missing > 0) --missing;
  }
  if (missing_audio + missing_video == 0) return;
  const auto chunks = [](std::size_t missing, std::size_t chunk) { return chunk == 0 ? missing : (missing + chunk - 1) / chunk * chunk; };
  const bool more_audio = add_slots(subscriber, signaling::MediaKind::audio, chunks(missing_audio, limits_.audio_slots));
  const bool more_video = add_slots(subscriber, signaling::MediaKind::video, chunks(missing_video, limits_.video_slots));
  if (more_audio || more_video)
    outputs_.push_back(PoolGrown{index});
  else
    ++counters_.slots_refused;
  give_slots(now, index);
}

void MediaGraph::note_slots_changed(ParticipantIndex index) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  if (subscriber.slots_changed) return; // said once until it is polled
  subscriber.slots_changed = true;
  outputs_.push_back(SlotsChanged{index});
}

std::optional<MediaGraph::Output> MediaGraph::poll_output() {
  if (next_output_ == outputs_.size()) {
    outputs_.clear();
    next_output_ = 0;
    return std::nullopt;
  }
  const Output output = outputs_[next_output_++];
  if (const SlotsChanged* const changed = std::get_if<SlotsChanged>(&output))
    participants_[changed->participant]->subscriber->slots_changed = false;
  return output;
}

// ---- packets of publishers

MediaGraph::Stream* MediaGraph::stream_of(Publisher& publisher, const rtp::Packet& packet) {
  for (Stream& stream : publisher.streams)
    if (stream.ssrc == packet.ssrc) return &stream;
  if (publisher.streams.size() >= limits_.ssrcs_per_publisher) return nullptr;
  // RFC 9143 s.9.2: a stream that is not known belongs to the m-line that its mid names, or else to the only one with its payload type.
  const auto mid = publisher.mid_extension ? packet.extension(*publisher.mid_extension) : std::nullopt;
  Publication* found = nullptr;
  for (auto& candidate : publisher.publications) {
    if (!candidate || !candidate->media().find(packet.payload_type) || (mid && as_text(*mid) != candidate->media().mid)) continue;
    if (found) return nullptr;
    found = candidate.get();
  }
  if (!found) return nullptr;
  const bool retransmission = found->media().find(packet.payload_type)->rtx_payload_type == packet.payload_type;
  std::uint8_t encoding = 0;
  if (const auto& rids = found->media().rids; !rids.empty()) {
    // RFC 8852: a stream of a simulcast names itself, and its retransmissions name it.
    const auto id = retransmission ? publisher.repaired_rid_extension : publisher.rid_extension;
    const auto rid = id ? packet.extension(*id) : std::nullopt;
    if (!rid) return nullptr;
    const auto at = std::find(rids.begin(), rids.end(), as_text(*rid));
    if (at == rids.end()) return nullptr;
    encoding = static_cast<std::uint8_t>(at - rids.begin());
  }
  if (retransmission)
    found->encoding(encoding).set_retransmission_stream(packet.ssrc);
  else
    found->encoding(encoding).set_stream(packet.ssrc);
  // The stream it had before is over: its place in the table goes to the new one.
  std::erase_if(publisher.streams, [&](const Stream& s) {
    return s.source == found->source() && s.encoding == encoding && s.retransmission == retransmission;
  });
  return &publisher.streams.emplace_back(packet.ssrc, found->source(), encoding, retransmission);
}

void MediaGraph::add_to_run(TimePoint now, ParticipantIndex index, ByteView datagram, TimePoint arrived) {
  if (run_is_whole()) forward_run(now);
  ++counters_.packets_in;
  Participant& p = *participants_[index];
  const auto packet = rtp::parse_packet(datagram);
  if (!packet || !p.publisher) {
    ++counters_.dropped_invalid;
    return;
  }
  Publisher& publisher = *p.publisher;
  if (publisher.transport_cc_extension)
    if (const auto value = packet->extension(*publisher.transport_cc_extension); value && value->size() == 2)
      publisher.feedback.on_packet(arrived, static_cast<std::uint16_t>((*value)[0] << 8 | (*value)[1]));

  const Stream* const stream = stream_of(publisher, *packet);
  if (!stream) {
    ++counters_.dropped_unknown_stream;
    return;
  }
  const PublicationReference from{index, stream->source};
  Publication& publication = *publisher.publications[static_cast<std::size_t>(stream->source)];
  const signaling::PublishedCodec* const codec = publication.media().find(packet->payload_type);
  if (!codec || (codec->rtx_payload_type == packet->payload_type) != stream->retransmission) {
    ++counters_.dropped_unknown_stream;
    return;
  }
  const bool is_live = live(from);
  const bool wanted = is_live && publication.watched();
  if (!is_live) ++counters_.dropped_inactive;
  if (is_live && publisher.audio_level_extension && stream->source == Source::microphone) handle_level(now, index, publisher, *packet);
  Encoding& encoding = publication.encoding(stream->encoding);
  const auto media = stream->retransmission ? encoding.handle_retransmission(now, codec->codec, *packet, wanted)
                                            : encoding.handle_media(now, codec->codec, *packet, wanted);
  if (encoding.take_outage()) restart_slots(publication, stream->encoding);
  if (media) {
    const Run::Next next{from, encoding.generation(), encoding.highest().value_or(0), *media};
    const bool goes_on = !run_.packets.empty() && run_.from == from && run_.generation == next.generation && run_.packets.size() < max_run && !media->starts_key_frame &&
                         run_.packets.front().layer.encoding == media->layer.encoding;
    if (run_.packets.empty()) run_.begin(next);
    else if (goes_on) run_.packets.push_back(*media);
    else run_.next = next;
  }
  if (encoding.key_frame_requested()) send_key_frame_requests(now, from);
}

void MediaGraph::forward_part(TimePoint now) {
  if (run_.packets.empty()) return;
  const Publication* const source = publication(run_.from);
  SATSUMA_CHECK(source != nullptr);
  const Encoding& encoding = source->encoding(run_.packets.front().layer.encoding);
  if (run_.done == 0) {
    even_out(run_.packets);
    if (source->interested != 0)
      for (const MediaPacket& packet : run_.packets) relay(run_.from, *source, run_.generation, packet, source->interested);
  }
  const std::size_t enough = packets_.size() + part_packets;
  while (run_.done < source->subscribers.size() && packets_.size() < enough) {
    const SlotReference to = source->subscribers[run_.done++];
    if (run_.begins_key_frame) {
      forward_key_frame(now, to, encoding, run_.generation, run_.packets.front(), run_.highest);
      continue;
    }
    for (const MediaPacket& packet : run_.packets) send_to_slot(now, to, run_.generation, packet);
  }
  if (run_.done < source->subscribers.size()) return;
  run_.packets.clear();
  run_.begins_key_frame = false;
  run_.done = 0;
  if (const auto next = std::exchange(run_.next, std::nullopt)) run_.begin(*next);
}

std::span<const SlotReference> MediaGraph::part(std::size_t ahead) const {
  const std::span<const SlotReference> left = std::span(publication(run_.from)->subscribers).subspan(run_.done);
  const std::size_t size = (part_packets + run_.packets.size() - 1) / run_.packets.size();
  const std::size_t begin = std::min(ahead * size, left.size());
  return left.subspan(begin, std::min(size, left.size() - begin));
}

void MediaGraph::prefetch(const SlotReference& to, unsigned pointers) const {
  const Subscriber& subscriber = *participants_[to.participant]->subscriber;
  if (pointers == 1) {
    satsuma::prefetch(&subscriber, 128); // the whole of its estimator is not needed
    const auto address = [](const void* at) { return static_cast<const char*>(at); };
    return satsuma::prefetch(&subscriber.pacer, static_cast<std::size_t>(address(&subscriber + 1) - address(&subscriber.pacer)));
  }
  const Slot& slot = subscriber.slots[to.slot];
  if (pointers == 2) return satsuma::prefetch(&slot, sizeof slot);
  slot.prefetch(run_.packets.size());
  subscriber.estimator.prefetch(run_.packets.size());
}

void MediaGraph::restart_slots(const Publication& publication, std::size_t encoding) {
  for (const SlotReference& to : publication.subscribers) {
    Slot& slot = participants_[to.participant]->subscriber->slots[to.slot];
    if (const auto layer = slot.current(); layer && layer->encoding == encoding) slot.restart();
  }
}

void MediaGraph::forward(TimePoint now, const PublicationReference& from, const MediaPacket& packet) {
  const Publication& source = *publication(from);
  const Encoding& encoding = source.encoding(packet.layer.encoding);
  for (const SlotReference& to : source.subscribers) {
    if (packet.starts_key_frame) forward_key_frame(now, to, encoding, encoding.generation(), packet, encoding.highest().value_or(0));
    else send_to_slot(now, to, encoding.generation(), packet);
  }
}

void MediaGraph::forward_key_frame(TimePoint now, const SlotReference& to, const Encoding& encoding, std::uint32_t generation, const MediaPacket& packet,
                                   rtp::ExtendedSequence highest) {
  const Slot& slot = participants_[to.participant]->subscriber->slots[to.slot];
  const auto before = slot.current();
  send_to_slot(now, to, generation, packet);
  const auto after = slot.current();
  if (!after || (before && before->encoding == after->encoding) || encoding.generation() != generation) return;
  // A key frame whose first packet came late: the rest of it is here already.
  for (rtp::ExtendedSequence next = packet.sequence + 1; next <= highest; ++next)
    if (const auto held = encoding.find(next)) send_to_slot(now, to, generation, *held);
}

void MediaGraph::send_to_slot(TimePoint now, const SlotReference& to, std::uint32_t generation, const MediaPacket& packet) {
  Subscriber& subscriber = *participants_[to.participant]->subscriber;
  if (!subscriber.connected) return;
  Slot& slot = subscriber.slots[to.slot];
  if (slot.video() && packet.starts_key_frame) {
    // A picture that cannot be decrypted would only make its decoder ask for others.
    if (has_keys(now, *participants_[to.participant]))
      slot.key_frame_withheld = false;
    else if (slot.state() == Slot::State::waiting)
      return;
  }
  const auto rewrite = slot.forward(now, generation, packet);
  if (!rewrite) return;
  if (!slot.video()) { // sound goes first: it never waits
    slot.count_sent(packet.payload.size());
    emit_media(now, subscriber, to.participant, slot, *rewrite, packet, std::nullopt);
    return;
  }
  if (rewrite->padding) {
    emit_padding(now, subscriber, to.participant, signaling::slot_payload_type(packet.codec), rewrite->sequence, rewrite->timestamp,
                 slot.offered().ssrc, slot, 1, 0);
    return;
  }
  if (packet.starts_key_frame) slot.key_frame_timestamp = rewrite->timestamp;
  slot.count_sent(packet.payload.size());
  if (subscriber.pacer.ready(now)) {
    emit_media(now, subscriber, to.participant, slot, *rewrite, packet, std::nullopt);
    return;
  }
  const Pacer::Item item{to.slot, slot.assignments(), slot.generation(), packet.sequence, packet.layer.encoding, rewrite->sequence,
                         rewrite->timestamp, rewrite->picture_id, rewrite->tl0_picture_index, rewrite->marker, std::nullopt,
                         static_cast<std::uint16_t>(packet.payload.size()), now,
                         slot.key_frame_timestamp == rewrite->timestamp};
  if (subscriber.pacer.push(item)) {
    ++counters_.paced_packets;
  } else {
    // Without it nothing behind it can be decoded.
    ++counters_.dropped_pacer_full;
    slot.forget(rewrite->sequence);
    drop_waiting(to.participant, to.slot, counters_.dropped_given_up);
    slot.restart();
    want_key_frame_for(now, to.participant, slot, false);
  }
  pace(now, to.participant);
}

void MediaGraph::emit_media(TimePoint now, Subscriber& subscriber, ParticipantIndex index, const Slot& slot, const Slot::Rewrite& rewrite,
                            const MediaPacket& packet, std::optional<std::uint16_t> rtx_sequence) {
  const std::uint16_t transport_sequence = subscriber.transport_sequence;
  const std::uint8_t transport_value[2] = {static_cast<std::uint8_t>(transport_sequence >> 8), static_cast<std::uint8_t>(transport_sequence)};
  std::array<rtp::HeaderExtension, 3> extensions{{{signaling::slot_mid_extension, as_bytes(slot.offered().mid)},
                                                  {signaling::slot_transport_cc_extension, transport_value},
                                                  {signaling::slot_dependency_descriptor_extension, {}}}};
  std::size_t extension_count = 2;
  std::size_t max_header = rtp::fixed_header_size + 4 + 24;
  std::array<std::uint8_t, rtp::max_dd_size + rtp::max_dd_growth> descriptor;
  if (packet.descriptor && slot.descriptors) {
    const auto written = write_descriptor(*packet.descriptor, slot, rewrite.picture_id, descriptor);
    if (!written) return; // cannot be made from what was parsed, but nothing is sent that its receiver would misread
    extensions[extension_count++].value = *written;
    max_header += written->size() + 8; // RFC 8285 s.4.3: the two-byte form takes a byte more for each
  }
  const std::size_t unpadded = max_header + 2 + packet.payload.size();
  if (unpadded > max_packet_size) return;
  const std::size_t padding = rtx_sequence ? 0 : std::min<std::size_t>(packet.padding, max_packet_size - unpadded);
  const std::size_t size = unpadded + padding;
  const MutableByteView space = arena_.take(size + packet_overhead);
  if (space.empty()) {
    ++counters_.dropped_arena_full;
    return;
  }
  rtp::Header header;
  header.marker = rewrite.marker;
  header.timestamp = rewrite.timestamp;
  if (rtx_sequence) {
    header.payload_type = signaling::slot_rtx_payload_type(packet.codec);
    header.sequence = *rtx_sequence;
    header.ssrc = slot.offered().rtx_ssrc;
  } else {
    header.payload_type = signaling::slot_payload_type(packet.codec);
    header.sequence = rewrite.sequence;
    header.ssrc = slot.offered().ssrc;
  }
  const auto written = rtp::write_header(header, std::span<const rtp::HeaderExtension>(extensions).first(extension_count), space);
  SATSUMA_CHECK(written.has_value());
  const std::size_t header_size = written->size();
  std::size_t at = header_size;
  if (rtx_sequence) { // RFC 4588 s.4: OSN
    space[at++] = static_cast<std::uint8_t>(rewrite.sequence >> 8);
    space[at++] = static_cast<std::uint8_t>(rewrite.sequence);
  }
  std::copy(packet.payload.begin(), packet.payload.end(), space.begin() + static_cast<std::ptrdiff_t>(at));
  if (packet.vp8)
    rtp::rewrite_vp8_descriptor(*packet.vp8, rewrite.picture_id, rewrite.tl0_picture_index, space.subspan(at, packet.payload.size()));
  at += packet.payload.size();
  if (padding > 0) { // RFC 3550 s.5.1: P, and the last byte counts
    space[0] |= 0x20;
    for (std::size_t left = padding; left > 1; --left) space[at++] = 0;
    space[at++] = static_cast<std::uint8_t>(padding);
  }
  ++counters_.packets_out;
  const std::uint8_t copies = slot.video() ? std::uint8_t{0} : subscriber.audio_copies;
  packets_.push_back({index, Leg::subscribe, false, static_cast<std::uint16_t>(header_size), static_cast<std::uint16_t>(at), space.data(), copies});
  count_sent(now, subscriber, at + below_rtp, slot.video(), subscriber.probe && slot.video() ? subscriber.probe->cluster : std::uint16_t{0}, copies > 0);
}

bool MediaGraph::emit_padding(TimePoint now, Subscriber& subscriber, ParticipantIndex index, std::uint8_t payload_type, std::uint16_t sequence,
                              std::uint32_t timestamp, std::uint32_t ssrc, const Slot& slot, std::size_t size, std::uint16_t probe) {
  SATSUMA_CHECK(size >= 1 && size <= max_padding);
  const std::uint16_t transport_sequence = subscriber.transport_sequence;
  const std::uint8_t transport_value[2] = {static_cast<std::uint8_t>(transport_sequence >> 8), static_cast<std::uint8_t>(transport_sequence)};
  const rtp::HeaderExtension extensions[2] = {{signaling::slot_mid_extension, as_bytes(slot.offered().mid)},
                                              {signaling::slot_transport_cc_extension, transport_value}};
  constexpr std::size_t max_header = rtp::fixed_header_size + 4 + 24;
  const MutableByteView space = arena_.take(max_header + size + packet_overhead);
  if (space.empty()) {
    ++counters_.dropped_arena_full;
    return false;
  }
  const auto written = rtp::write_header({false, payload_type, sequence, timestamp, ssrc}, extensions, space);
  SATSUMA_CHECK(written.has_value());
  const std::size_t header_size = written->size();
  space[0] |= 0x20; // RFC 3550 s.5.1: P, and the last byte counts
  std::fill_n(space.begin() + static_cast<std::ptrdiff_t>(header_size), size, std::uint8_t{0});
  space[header_size + size - 1] = static_cast<std::uint8_t>(size);
  ++counters_.padding_sent;
  packets_.push_back({index, Leg::subscribe, false, static_cast<std::uint16_t>(header_size), static_cast<std::uint16_t>(header_size + size), space.data(), 0});
  count_sent(now, subscriber, header_size + size + below_rtp, true, probe);
  return true;
}

void MediaGraph::count_sent(TimePoint now, Subscriber& subscriber, std::size_t size, bool paced, std::uint16_t probe, bool repeated) {
  subscriber.estimator.on_sent(now, subscriber.transport_sequence++, size, probe, repeated);
  if (paced) subscriber.pacer.count(now, size);
}

// ---- key frames

bool MediaGraph::request_key_frame(TimePoint now, ParticipantIndex index, std::string_view mid) {
  Participant& p = *participants_[index];
  if (!p.subscriber) return false;
  for (Slot& slot : p.subscriber->slots) {
    if (slot.offered().mid != mid) continue;
    if (slot.publication()) want_key_frame_for(now, index, slot, false);
    return true;
  }
  return false;
}

void MediaGraph::want_key_frame(TimePoint now, const PublicationReference& from, std::uint8_t encoding, bool urgent) {
  Publication* const p = publication(from);
  if (!p || encoding >= p->encodings().size()) return;
  p->encoding(encoding).request_key_frame(urgent);
  send_key_frame_requests(now, from);
}

void MediaGraph::want_key_frame_for(TimePoint now, ParticipantIndex subscriber, Slot& slot, bool urgent) {
  if (!slot.publication() || !slot.target()) return;
  if (!has_keys(now, *participants_[subscriber])) {
    ++counters_.key_frames_withheld;
    slot.key_frame_withheld = true;
    return;
  }
  const auto current = slot.current();
  want_key_frame(now, *slot.publication(), current ? current->encoding : slot.target()->encoding, urgent);
}

void MediaGraph::send_key_frame_requests(TimePoint now, const PublicationReference& from) {
  Publication* const p = publication(from);
  Publisher& publisher = *participants_[from.participant]->publisher;
  if (!publisher.connected) return;
  for (Encoding& encoding : p->encodings()) {
    const bool urgent = encoding.key_frame_urgent();
    if (!encoding.take_key_frame_request(now)) continue;
    if (participants_[from.participant]->home) {
      ask_home_for_key_frame(from, encoding, urgent);
      continue;
    }
    ++counters_.key_frames_requested;
    emit_rtcp(from.participant, Leg::publish, [&](SpanWriter& out) { rtp::write_pli(publisher.ssrc, *encoding.ssrc(), out); });
  }
}

// ---- RTCP

void MediaGraph::handle_rtcp(TimePoint now, ParticipantIndex index, Leg leg, ByteView compound) {
  rtp::RtcpReader reader(compound);
  while (true) {
    const auto packet = reader.next();
    if (!packet) {
      ++counters_.dropped_invalid;
      return;
    }
    if (!*packet) return;
    if (leg == Leg::publish)
      handle_publisher_rtcp(now, index, **packet);
    else
      handle_subscriber_rtcp(now, index, **packet);
  }
}

void MediaGraph::handle_publisher_rtcp(TimePoint now, ParticipantIndex index, const rtp::RtcpPacket& packet) {
  Participant& p = *participants_[index];
  if (!p.publisher || !packet.is(rtp::RtcpType::sender_report)) return;
  const auto report = rtp::parse_sender_report(packet);
  if (!report) {
    ++counters_.dropped_invalid;
    return;
  }
  for (auto& publication : p.publisher->publications) {
    if (!publication) continue;
    for (Encoding& encoding : publication->encodings()) {
      encoding.handle_sender_report(now, report->info);
      if (publication->interested != 0 && encoding.ssrc() == report->info.ssrc)
        relay_clock({index, publication->source()}, *publication, encoding, publication->interested);
    }
  }
}

void MediaGraph::handle_subscriber_rtcp(TimePoint now, ParticipantIndex index, const rtp::RtcpPacket& packet) {
  Participant& p = *participants_[index];
  if (!p.subscriber) return;
  Subscriber& subscriber = *p.subscriber;
  const auto slot_of = [&subscriber](std::uint32_t ssrc) -> Slot* {
    for (Slot& slot : subscriber.slots)
      if (slot.offered().ssrc == ssrc) return &slot;
    return nullptr;
  };
  if (!packet.is(rtp::RtcpType::transport_feedback) && !packet.is(rtp::RtcpType::payload_feedback)) return;
  const auto feedback = rtp::parse_feedback(packet);
  if (!feedback) {
    ++counters_.dropped_invalid;
    return;
  }
  if (packet.is_transport_feedback(rtp::format_transport_wide)) {
    handle_feedback(now, index, feedback->control);
  } else if (packet.is_payload_feedback(rtp::format_pli)) {
    Slot* const slot = slot_of(feedback->media);
    // While one is leaving, another would only take its place; whoever still needs one then asks again.
    const Pacer& pacer = participants_[index]->subscriber->pacer;
    const bool leaving = slot && slot->key_frame_timestamp && pacer.waiting() > 0 && pacer.age(now) == Duration{};
    if (slot && !leaving) want_key_frame_for(now, index, *slot, false);
  } else if (packet.is_payload_feedback(rtp::format_fir)) {
    rtp::FirTargets targets(feedback->control);
    while (const auto ssrc = targets.next()) {
      Slot* const slot = slot_of(*ssrc);
      if (slot) want_key_frame_for(now, index, *slot, false);
    }
  } else if (packet.is_transport_feedback(rtp::format_nack)) {
    Slot* const slot = slot_of(feedback->media);
    const Publication* const from = slot && slot->publication() ? publication(*slot->publication()) : nullptr;
    if (!from || !slot->retransmissions || !subscriber.connected) return;
    if (now - subscriber.budget_begin >= std::chrono::seconds(1)) {
      subscriber.budget_begin = now;
      subscriber.retransmissions = 0;
    }
    if (asks_for_outage(*slot, feedback->control)) {
      // All that waits for its turn is of the same kind.
      drop_waiting(index, static_cast<std::uint32_t>(slot - subscriber.slots.data()), counters_.dropped_given_up);
      slot->restart();
      want_key_frame_for(now, index, *slot, true);
      return;
    }
    rtp::NackedSequences sequences(feedback->control);
    while (const auto sequence = sequences.next()) {
      // Few bytes must not make many: the rate is bounded, and each packet repeated only every so often.
      const bool affordable = subscriber.retransmissions < limits_.retransmissions_per_second;
      if (!affordable) {
        ++counters_.missed_rate;
        continue;
      }
      const auto repeat = slot->repeat(now, *sequence);
      if (!repeat) {
        switch (repeat.error()) {
        case Slot::Missed::not_held: ++counters_.missed_not_held; break;
        case Slot::Missed::given_up: ++counters_.missed_given_up; break;
        case Slot::Missed::too_soon: ++counters_.missed_too_soon; break;
        }
        continue;
      }
      const Encoding& encoding = from->encoding(repeat->encoding);
      const auto held = encoding.generation() == repeat->generation ? encoding.find(repeat->original) : std::nullopt;
      if (!held) {
        ++counters_.missed_not_held;
        continue;
      }
      ++subscriber.retransmissions;
      ++counters_.retransmissions_sent;
      if (subscriber.pacer.ready(now)) {
        emit_media(now, subscriber, index, *slot, repeat->rewrite, *held, repeat->rtx_sequence);
        continue;
      }
      const Slot::Rewrite& r = repeat->rewrite;
      const auto number = static_cast<std::uint32_t>(slot - subscriber.slots.data());
      if (!subscriber.pacer.push({number, slot->assignments(), repeat->generation, repeat->original, repeat->encoding, r.sequence, r.timestamp,
                                  r.picture_id, r.tl0_picture_index, r.marker, repeat->rtx_sequence,
                                  static_cast<std::uint16_t>(held->payload.size()), now}))
        ++counters_.dropped_pacer_full;
      pace(now, index);
    }
  }
  // REMB and whatever else there is: nothing to do.
}

template <class Write>
void MediaGraph::emit_rtcp(ParticipantIndex index, Leg leg, Write&& write) {
  const MutableByteView space = arena_.take(max_rtcp_size + packet_overhead);
  if (space.empty()) {
    ++counters_.dropped_arena_full;
    return;
  }
  SpanWriter out(space.first(max_rtcp_size));
  write(out);
  const auto written = out.written();
  if (!written || written->empty()) return;
  packets_.push_back({index, leg, true, 0, static_cast<std::uint16_t>(written->size()), space.data(), 0});
}

// ---- time

void MediaGraph::handle_timeout(TimePoint now) {
  for (ParticipantIndex index = 0; index < participants_.size(); ++index) {
    if (!participants_[index]) continue;
    if (participants_[index]->publisher && participants_[index]->publisher->connected) tick_publisher(now, index);
    if (participants_[index]->subscriber && participants_[index]->subscriber->connected) tick_subscriber(now, index);
  }
  update_speakers(now);
  handle_pacing(now);
}

void MediaGraph::ask_for_missing(TimePoint now, ParticipantIndex index, Publication& p) {
  for (Encoding& encoding : p.encodings()) {
    std::array<std::uint16_t, 256> missing;
    const std::size_t count = encoding.poll_nacks(now, missing);
    if (count == 0) continue;
    counters_.nacks_sent += count;
    emit_rtcp(index, Leg::publish, [&](SpanWriter& out) {
      rtp::write_nack(participants_[index]->publisher->ssrc, *encoding.ssrc(), std::span<const std::uint16_t>(missing).first(count), out, 256);
    });
  }
}

void MediaGraph::tick_publisher(TimePoint now, ParticipantIndex index) {
  Publisher& publisher = *participants_[index]->publisher;
  const bool mirror = participants_[index]->home.has_value();
  for (std::size_t i = 0; i < signaling::source_count; ++i) {
    Publication* const p = publisher.publications[i].get();
    if (!p) continue;
    if (p->watched())
      p->watched_at = now;
    else if (now - p->watched_at >= rest_after)
      p->rest();
    if (!p->video()) {
      if (!mirror && p->watched()) ask_for_missing(now, index, *p);
      continue;
    }
    update_wanted(now, index, *p);
    if (!p->watched()) continue;
    if (mirror)
      ask_home_for_missing(now, index, *p);
    else
      ask_for_missing(now, index, *p);
    std::array<bool, max_encodings> stopped{};
    for (Encoding& encoding : p->encodings())
      if (stopped[encoding.index()] = p->stopped(now, encoding.index()); stopped[encoding.index()]) encoding.stop_waiting();
    // As long as somebody waits for a picture.
    for (const SlotReference& to : p->subscribers) {
      Subscriber& subscriber = *participants_[to.participant]->subscriber;
      if (!subscriber.connected) continue;
      Slot& slot = subscriber.slots[to.slot];
      if (slot.target() && slot.target()->encoding < p->encodings().size() && stopped[slot.target()->encoding]) allocate(now, to.participant);
      const auto encoding = slot.key_frame_wanted();
      if ((!encoding && !slot.key_frame_withheld) || !has_keys(now, *participants_[to.participant])) continue;
      if (std::exchange(slot.key_frame_withheld, false)) want_key_frame_for(now, to.participant, slot, true);
      if (encoding && *encoding < p->encodings().size()) p->encoding(*encoding).request_key_frame(false);
    }
    send_key_frame_requests(now, {index, static_cast<Source>(i)});
  }
  if (mirror) return;
  if (now >= publisher.next_feedback) {
    publisher.next_feedback = now + feedback_interval;
    if (publisher.feedback.pending())
      publisher.fed_at = now;
    else if (now - publisher.fed_at >= rest_after)
      publisher.feedback.rest();
    for (int i = 0; i < 8 && publisher.feedback.pending(); ++i)
      emit_rtcp(index, Leg::publish, [&](SpanWriter& out) {
        std::array<std::uint8_t, max_rtcp_size> message;
        // The draft wants the SSRC of a stream; which one does not matter.
        const std::uint32_t media = publisher.streams.empty() ? 0 : publisher.streams.front().ssrc;
        if (const auto written = publisher.feedback.write(publisher.ssrc, media, message)) out.bytes(*written);
      });
  }
  if (now >= publisher.next_report) {
    publisher.next_report = now + report_interval;
    std::array<rtp::ReportBlock, 31> blocks; // RFC 3550 s.6.4.1: five bits count them
    std::size_t count = 0;
    for (auto& p : publisher.publications)
      if (p)
        for (Encoding& encoding : p->encodings()) count += encoding.reports(now, std::span<rtp::ReportBlock>(blocks).subspan(count));
    emit_rtcp(index, Leg::publish, [&](SpanWriter& out) {
      rtp::write_receiver_report(publisher.ssrc, std::span<const rtp::ReportBlock>(blocks).first(count), out);
      rtp::write_cname(publisher.ssrc, publisher_cname, out);
    });
  }
}

void MediaGraph::tick_subscriber(TimePoint now, ParticipantIndex index) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  subscriber.estimator.handle_timeout(now);
  if (now >= subscriber.next_allocation) allocate(now, index);
  if (!subscriber.probe && subscriber.estimator.started())
    if (const auto probe = subscriber.estimator.poll_probe(now, subscriber.desired)) {
      subscriber.probe = probe;
      subscriber.probe_at = now;
      subscriber.probe_credit = 0;
      ++counters_.probes_sent;
      pace(now, index);
    }
  if (now < subscriber.next_report) return;
  subscriber.next_report = now + report_interval;
  // A report with its name has 48 bytes: as many to a packet as fit.
  constexpr std::size_t per_packet = 20;
  std::array<std::pair<rtp::SenderInfo, const Slot*>, per_packet> reports;
  std::size_t count = 0;
  const auto flush = [&] {
    if (count == 0) return;
    emit_rtcp(index, Leg::subscribe, [&](SpanWriter& out) {
      for (std::size_t i = 0; i < count; ++i) {
        rtp::write_sender_report(reports[i].first, {}, out);
        rtp::write_cname(reports[i].first.ssrc, signaling::slot_cname(reports[i].second->offered()), out);
      }
    });
    count = 0;
  };
  for (const Slot& slot : subscriber.slots) {
    const Publication* const from = slot.publication() ? publication(*slot.publication()) : nullptr;
    const auto info = from ? slot.sender_info(now, *from) : std::nullopt;
    if (!info) continue;
    reports[count++] = {*info, &slot};
    if (count == per_packet) flush();
  }
  flush();
}

std::uint32_t MediaGraph::fresh_ssrc() {
  while (true) {
    const auto ssrc = static_cast<std::uint32_t>(random_.u64());
    if (ssrc > 255) return ssrc; // small ones have meanings in some browsers
  }
}

} // namespace satsuma::sfu
