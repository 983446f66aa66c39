// A room in several shards: what its publishers' home shards and the others say to each other (shard_message.h).

#include <algorithm>
#include <cstring>

#include "sfu/media_graph.h"

namespace satsuma::sfu {

// ---- at home

void MediaGraph::set_room_shards(std::string_view room, ShardSet shards) {
  const auto found = rooms_.find(std::string(room));
  if (found == rooms_.end()) return;
  found->second.shards = shards;
  for (const ParticipantIndex index : found->second.participants) {
    const Participant& p = *participants_[index];
    if (p.home) continue;
    for_each_shard(p.told & ~shards, [&](std::size_t shard) { withdraw(index, shard); });
    if (shards & ~p.told) announce(index, shards & ~p.told);
  }
}

void MediaGraph::announce(ParticipantIndex index) {
  const Participant& p = *participants_[index];
  if (!p.home) announce(index, rooms_.at(p.room).shards);
}

void MediaGraph::announce(ParticipantIndex index, ShardSet shards) {
  Participant& p = *participants_[index];
  if (shards == 0 || !p.publisher) return;
  Publications message{p.room, p.id, p.member ? p.active : SourceSet{}, {}};
  for (const auto& publication : p.publisher->publications)
    if (publication) message.items.push_back({publication->version, publication->media()});
  for_each_shard(shards, [&](std::size_t shard) {
    if (message.items.empty() && (p.told & shard_bit(shard)) == 0) return;
    p.told |= shard_bit(shard);
    shard_messages_.push_back({shard, message});
  });
}

void MediaGraph::withdraw(ParticipantIndex index, std::size_t shard) {
  Participant& p = *participants_[index];
  p.told &= ~shard_bit(shard);
  shard_messages_.push_back({shard, Publications{p.room, p.id, {}, {}}});
  if (!p.publisher) return;
  for (auto& publication : p.publisher->publications)
    if (publication) set_interest(*publication, shard, 0);
}

void MediaGraph::withdraw(ParticipantIndex index) {
  for_each_shard(participants_[index]->told, [&](std::size_t shard) { withdraw(index, shard); });
}

void MediaGraph::set_interest(Publication& p, std::size_t shard, std::uint8_t encodings) {
  p.interest[shard] = encodings;
  if (encodings != 0)
    p.interested |= shard_bit(shard);
  else
    p.interested &= ~shard_bit(shard);
  if (!p.watched()) p.stop_waiting();
}

void MediaGraph::relay(const PublicationReference& from, const Publication& source, std::uint32_t generation, const MediaPacket& packet, ShardSet shards) {
  const ByteView descriptor = packet.descriptor ? packet.descriptor->value : ByteView{};
  const std::size_t size = packet.payload.size() + descriptor.size();
  const MutableByteView space = arena_.take(size);
  if (space.size() < size) {
    ++counters_.dropped_arena_full;
    return;
  }
  std::copy(packet.payload.begin(), packet.payload.end(), space.begin());
  std::copy(descriptor.begin(), descriptor.end(), space.begin() + static_cast<std::ptrdiff_t>(packet.payload.size()));
  const Encoding& encoding = source.encoding(packet.layer.encoding);
  RelayedPacket message;
  message.id = participants_[from.participant]->id;
  message.source = from.source;
  message.spatial_layers = encoding.spatial_layers();
  message.temporal_layers = encoding.temporal_layers();
  message.generation = generation;
  message.version = source.version;
  for (std::uint8_t s = 0; s < encoding.spatial_layers(); ++s) message.heights[s] = static_cast<std::uint16_t>(encoding.height(s));
  message.media = packet;
  message.media.payload = space.first(packet.payload.size());
  if (message.media.descriptor) message.media.descriptor->value = space.subspan(packet.payload.size(), descriptor.size());
  for_each_shard(shards, [&](std::size_t shard) {
    ++counters_.relayed_out;
    shard_messages_.push_back({shard, message});
  });
}

void MediaGraph::relay_clock(const PublicationReference& from, const Publication& source, const Encoding& encoding, ShardSet shards) {
  if (!encoding.sender_clock()) return;
  const RelayedClock message{participants_[from.participant]->id, from.source,    encoding.index(),
                             encoding.generation(),               source.version, *encoding.sender_clock()};
  for_each_shard(shards, [&](std::size_t shard) { shard_messages_.push_back({shard, message}); });
}

Publication* MediaGraph::own_publication(const IncarnationId& id, Source source, std::uint64_t version, std::size_t shard) {
  const auto index = find(id);
  if (!index || (participants_[*index]->told & shard_bit(shard)) == 0) return nullptr;
  Publication* const p = publication({*index, source});
  return p && p->version == version ? p : nullptr;
}

void MediaGraph::handle(TimePoint now, std::size_t shard, const Interest& m) {
  Publication* const p = own_publication(m.id, m.source, m.version, shard);
  if (!p) return;
  const bool first = p->interest[shard] == 0;
  set_interest(*p, shard, m.encodings);
  const ParticipantIndex index = *find(m.id);
  if (first)
    for (const Encoding& encoding : p->encodings()) relay_clock({index, m.source}, *p, encoding, shard_bit(shard));
  update_wanted(now, index, *p);
}

void MediaGraph::handle(TimePoint now, std::size_t shard, const KeyFrameWish& m) {
  if (own_publication(m.id, m.source, m.version, shard)) want_key_frame(now, {*find(m.id), m.source}, m.encoding, m.urgent);
}

void MediaGraph::handle(TimePoint, std::size_t shard, const MissingPackets& m) {
  const Publication* const p = own_publication(m.id, m.source, m.version, shard);
  if (!p || m.encoding >= p->encodings().size() || p->interest[shard] == 0) return;
  const Encoding& encoding = p->encoding(m.encoding);
  if (encoding.generation() != m.generation) return;
  // What is not here either is being asked for of the publisher, and passed on when it comes.
  for (std::size_t i = 0; i < m.count; ++i)
    if (const auto held = encoding.find(encoding.extend(m.sequences[i]))) relay({*find(m.id), m.source}, *p, encoding.generation(), *held, shard_bit(shard));
}

// ---- in the others

void MediaGraph::forget_mirror(TimePoint now, const IncarnationId& id) {
  if (const auto found = mirrors_.find(id); found != mirrors_.end()) remove_participant(now, found->second);
}

void MediaGraph::handle(TimePoint now, std::size_t shard, const Publications& m) {
  if (by_id_.contains(m.id)) return; // it came over to this shard, and what it says there is older
  auto found = mirrors_.find(m.id);
  if (m.items.empty()) {
    if (found != mirrors_.end() && participants_[found->second]->home == shard) remove_participant(now, found->second);
    return;
  }
  // It came over from one shard to another.
  if (found != mirrors_.end() && (participants_[found->second]->home != shard || participants_[found->second]->room != m.room)) {
    remove_participant(now, found->second);
    found = mirrors_.end();
  }
  const ParticipantIndex index = found != mirrors_.end() ? found->second : add_to_room(m.room, m.id);
  Participant& p = *participants_[index];
  if (!p.publisher) {
    p.home = shard;
    p.member = true;
    p.publisher.emplace();
    p.publisher->connected = true;
    mirrors_.emplace(m.id, index);
  }
  std::array<const Publications::Item*, signaling::source_count> wanted{};
  for (const Publications::Item& item : m.items) wanted[static_cast<std::size_t>(*item.media.source)] = &item;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    std::unique_ptr<Publication>& present = p.publisher->publications[i];
    if (present && wanted[i] && present->version == wanted[i]->version) continue;
    const auto source = static_cast<Source>(i);
    release_publications(index, {source});
    present.reset();
    if (!wanted[i]) continue;
    present = std::make_unique<Publication>(wanted[i]->media, source, limits_);
    present->version = wanted[i]->version;
    present->wanted_since.fill(now); // nothing of it has come here yet
    for (Encoding& encoding : present->encodings()) encoding.set_relayed();
  }
  p.active = m.active;
  if (!p.active.contains(Source::microphone)) rooms_.at(p.room).speakers.remove(index);
  assign_slots(now, p.room);
  for (auto& publication : p.publisher->publications)
    if (publication) tell_interest(index, *publication);
}

void MediaGraph::tell_interest(ParticipantIndex index, Publication& p) {
  const Participant& mirror = *participants_[index];
  if (!mirror.home) return;
  std::uint8_t encodings = 0;
  if (!p.subscribers.empty())
    for (std::size_t e = 0; e < p.encodings().size(); ++e)
      if (p.wanted[e]) encodings = static_cast<std::uint8_t>(encodings | 1U << e);
  if (p.told_interest == encodings) return;
  p.told_interest = encodings;
  shard_messages_.push_back({*mirror.home, Interest{mirror.id, p.source(), encodings, p.version}});
}

void MediaGraph::ask_home_for_key_frame(const PublicationReference& from, const Encoding& encoding, bool urgent) {
  const Participant& mirror = *participants_[from.participant];
  shard_messages_.push_back({*mirror.home, KeyFrameWish{mirror.id, from.source, encoding.index(), urgent, publication(from)->version}});
}

void MediaGraph::ask_home_for_missing(TimePoint now, ParticipantIndex index, Publication& p) {
  const Participant& mirror = *participants_[index];
  for (Encoding& encoding : p.encodings()) {
    MissingPackets message{mirror.id, p.source(), encoding.index(), 0, encoding.generation(), p.version, {}};
    message.count = static_cast<std::uint8_t>(encoding.poll_nacks(now, message.sequences));
    if (message.count > 0) shard_messages_.push_back({*mirror.home, message});
  }
}

Publication* MediaGraph::mirrored(const IncarnationId& id, Source source, std::uint64_t version, std::size_t shard) {
  const auto found = mirrors_.find(id);
  if (found == mirrors_.end() || participants_[found->second]->home != shard) return nullptr;
  Publication* const p = publication({found->second, source});
  return p && p->version == version ? p : nullptr;
}

void MediaGraph::handle(TimePoint now, std::size_t shard, const RelayedPacket& m) {
  ++counters_.relayed_in;
  Publication* const p = mirrored(m.id, m.source, m.version, shard);
  if (!p || m.media.layer.encoding >= p->encodings().size() || p->subscribers.empty()) return; // nobody wants it any more
  const PublicationReference from{mirrors_.find(m.id)->second, m.source};
  Encoding& encoding = p->encoding(m.media.layer.encoding);
  const bool fresh = encoding.handle_relayed(now, m.generation, m.media, m.spatial_layers, m.temporal_layers, m.heights);
  if (encoding.take_outage()) restart_slots(*p, m.media.layer.encoding);
  if (fresh) forward(now, from, m.media);
  if (encoding.key_frame_requested()) send_key_frame_requests(now, from);
}

void MediaGraph::handle(TimePoint, std::size_t shard, const RelayedClock& m) {
  Publication* const p = mirrored(m.id, m.source, m.version, shard);
  if (p && m.encoding < p->encodings().size()) p->encoding(m.encoding).handle_relayed_clock(m.generation, m.clock);
}

void MediaGraph::handle_from_shard(TimePoint now, std::size_t shard, const ShardMessage& message) {
  std::visit([&](const auto& m) { handle(now, shard, m); }, message);
}

} // namespace satsuma::sfu
