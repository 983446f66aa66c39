// Who speaks, and whose pictures a subscriber gets of more people than it can show.

#include <algorithm>

#include "sfu/media_graph.h"

namespace satsuma::sfu {

std::optional<ParticipantIndex> MediaGraph::find_anywhere(const IncarnationId& id) const {
  if (const auto own = find(id)) return own;
  const auto mirror = mirrors_.find(id);
  return mirror == mirrors_.end() ? std::nullopt : std::optional(mirror->second);
}

void MediaGraph::handle_level(TimePoint now, ParticipantIndex index, Publisher& publisher, const rtp::Packet& packet) {
  // RFC 6464 s.3: V, and seven bits of -dBov.
  const auto value = packet.extension(*publisher.audio_level_extension);
  if (!value || value->size() != 1) return;
  const std::uint8_t level = (*value)[0] & 0x7f;
  const Participant& p = *participants_[index];
  rooms_.find(p.room)->second.speakers.handle_level(now, index, level);
  if (p.told == 0) return;
  publisher.loudest = std::min(publisher.loudest, level);
  if (now < publisher.next_level) return;
  publisher.next_level = now + RelayedLevel::interval;
  for_each_shard(p.told, [&](std::size_t shard) { shard_messages_.push_back({shard, RelayedLevel{p.id, publisher.loudest}}); });
  publisher.loudest = 127;
}

void MediaGraph::handle(TimePoint now, std::size_t shard, const RelayedLevel& m) {
  const auto mirror = mirrors_.find(m.id);
  if (mirror == mirrors_.end()) return;
  const Participant& p = *participants_[mirror->second];
  if (p.home != shard || !live({mirror->second, Source::microphone})) return;
  rooms_.find(p.room)->second.speakers.handle_level(now, mirror->second, m.level);
}

void MediaGraph::update_speakers(TimePoint now) {
  for (auto& [name, room] : rooms_) {
    if (room.speakers.empty() || now < room.next_speakers) continue;
    room.next_speakers = now + rtp::ActiveSpeakers::update_interval;
    if (!room.speakers.update(now)) continue;
    for (const ParticipantIndex index : room.participants) {
      if (!participants_[index]->subscriber) continue;
      give_slots(now, index);
      participants_[index]->subscriber->next_allocation = now; // of the next round: all at once would be a burst of work
    }
  }
}

void MediaGraph::choose_shown(ParticipantIndex index) {
  shown_.clear();
  const Participant& p = *participants_[index];
  const Subscriber& subscriber = *p.subscriber;
  const std::size_t n = subscriber.view_known ? (subscriber.speakers ? subscriber.speakers->count : 0) : limits_.last_n;
  if (n == SIZE_MAX) return;
  const Room& room = rooms_.find(p.room)->second;
  // Who never spoke, or does not say, comes behind, in the order of their coming: not for who has chosen whom else to show.
  const auto on_screen = [](const Slot& slot) { return slot.view_height && *slot.view_height > 0; };
  const bool has_tiles = subscriber.view_known && (!subscriber.asked.empty() || std::any_of(subscriber.slots.begin(), subscriber.slots.end(), on_screen));
  const auto take = [&](std::span<const ParticipantIndex> from) {
    for (const ParticipantIndex other : from) {
      if (shown_.size() >= n) return;
      if (other != index && live({other, Source::camera}) && std::find(shown_.begin(), shown_.end(), other) == shown_.end()) shown_.push_back(other);
    }
  };
  take(room.speakers.ranking());
  if (!has_tiles) take(room.participants);
}

void MediaGraph::set_voices(TimePoint now, ParticipantIndex index, std::span<const IncarnationId> of) {
  Participant& p = *participants_[index];
  if (!p.subscriber) return;
  of = of.first(std::min(of.size(), max_voices));
  p.subscriber->voices.assign(of.begin(), of.end());
  give_slots(now, index);
}

std::optional<std::uint32_t> MediaGraph::asked_height(const Subscriber& subscriber, const PublicationReference& publication) const {
  for (const TileView& tile : subscriber.asked)
    if (tile.source == publication.source && participants_[publication.participant]->id == *tile.incarnation) return tile.height;
  return std::nullopt;
}

std::optional<std::uint32_t> MediaGraph::wanted_height(const Subscriber& subscriber, const Slot& slot) const {
  if (slot.view_height && *slot.view_height > 0) return slot.view_height;
  const bool camera = slot.publication()->source == Source::camera;
  const bool shown = camera && std::find(shown_.begin(), shown_.end(), slot.publication()->participant) != shown_.end();
  // Who asks for speakers does not know who shares a screen, and shares are few.
  const bool screen = slot.publication()->source == Source::screen && subscriber.speakers;
  if (subscriber.view_known) return shown || screen ? subscriber.speakers->height : 0;
  if (!camera || limits_.last_n == SIZE_MAX || shown) return std::nullopt;
  return 0;
}

void MediaGraph::give_slots(TimePoint now, ParticipantIndex index) {
  Participant& p = *participants_[index];
  Subscriber& subscriber = *p.subscriber;
  if (!p.member || subscriber.answered < subscriber.slots.size()) return; // what is being offered may do
  const rtp::ActiveSpeakers& speakers = rooms_.find(p.room)->second.speakers;
  const auto ranking = speakers.ranking();
  if (ranking.empty() && subscriber.asked.empty() && subscriber.voices.empty()) return; // nobody has a reason
  rank_.assign(participants_.size(), 0);
  for (std::size_t i = 0; i < ranking.size(); ++i) rank_[ranking[i]] = static_cast<std::uint16_t>(i + 1);

  // Of an importance: named by the client, speaking now, by how lately they spoke. 0: no reason to take anybody's slot.
  const auto importance = [&](const PublicationReference& publication) -> std::size_t {
    if (publication.source == Source::microphone) {
      const auto& voices = subscriber.voices;
      const auto named = std::find(voices.begin(), voices.end(), participants_[publication.participant]->id);
      if (named != voices.end()) return 3 * rtp::ActiveSpeakers::max_voices + static_cast<std::size_t>(voices.end() - named);
    }
    if (asked_height(subscriber, publication)) return 3 * rtp::ActiveSpeakers::max_voices;
    if (rank_[publication.participant] == 0 || publication.source == Source::screen || publication.source == Source::screen_audio) return 0;
    const std::size_t rank = rank_[publication.participant] - std::size_t{1};
    return (rank < speakers.speaking() ? 2 : 1) * rtp::ActiveSpeakers::max_voices - rank;
  };
  // Most are looked at several times.
  constexpr std::size_t unknown = SIZE_MAX;
  importance_.assign(subscriber.slots.size(), unknown);
  const auto give = [&](const PublicationReference& publication) {
    if (publication.participant == index || !live(publication)) return;
    const bool audio = signaling::is_audio(publication.source);
    std::size_t count = 0;
    for (const Slot& slot : subscriber.slots) {
      if (slot.video() == audio) continue;
      ++count;
      // It has one, or gets one without anybody losing his.
      if (slot.accepted && (!slot.publication() || *slot.publication() == publication)) return;
    }
    if (count < (audio ? limits_.max_audio_slots : limits_.max_video_slots)) return; // the pool grows
    Slot* victim = nullptr;
    std::size_t least = importance(publication);
    const bool asked = asked_height(subscriber, publication).has_value();
    for (std::size_t i = 0; i < subscriber.slots.size() && least > 0; ++i) {
      Slot& slot = subscriber.slots[i];
      if (slot.video() == audio || !slot.accepted) continue;
      const bool on_screen = slot.view_height && *slot.view_height > 0;
      // A screen is shared to be seen, and what the subscriber looks at stays.
      if (slot.publication()->source == Source::screen || (on_screen && !asked)) continue;
      if (importance_[i] == unknown) importance_[i] = importance(*slot.publication());
      if (importance_[i] >= least) continue;
      least = importance_[i];
      victim = &slot;
    }
    if (!victim) return;
    const auto number = static_cast<std::size_t>(victim - subscriber.slots.data());
    disconnect_slot(index, number);
    importance_[number] = unknown;
    victim->view_height.reset();
    connect_slot(now, index, number, publication);
    ++counters_.slots_taken_over;
  };

  const auto here = [&](const IncarnationId& id) {
    const auto who = find_anywhere(id);
    return who && participants_[*who]->room == p.room ? who : std::nullopt;
  };
  for (const IncarnationId& id : subscriber.voices)
    if (const auto who = here(id)) give({*who, Source::microphone});
  for (const TileView& tile : subscriber.asked)
    if (const auto who = here(*tile.incarnation)) give({*who, tile.source});
  // Those who speak, and of the cameras no more than the subscriber gets by this rank.
  for (std::size_t i = 0; i < speakers.speaking(); ++i) give({ranking[i], Source::microphone});
  choose_shown(index);
  const std::vector<ParticipantIndex> shown = shown_; // allocating for the new slot chooses anew
  for (const ParticipantIndex who : shown)
    if (importance({who, Source::camera}) > 0) give({who, Source::camera});
  if (!subscriber.view_known && limits_.last_n == SIZE_MAX)
    for (std::size_t i = 0; i < std::min(speakers.speaking(), limits_.max_video_slots / 2); ++i) give({ranking[i], Source::camera});
}

} // namespace satsuma::sfu
