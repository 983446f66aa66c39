// How much each subscriber gets: layers by its view and its path, the pace, probes, and what publishers need not send.

#include <algorithm>

#include "sfu/media_graph.h"

namespace satsuma::sfu {

namespace {

constexpr Duration allocation_interval = std::chrono::milliseconds(200);
/// A picture is not taken away for the first misjudgements of a path that has just been met, nor for a moment's drop.
constexpr Duration pause_patience = std::chrono::milliseconds(1500);
/// An encoding that nobody uses is stopped after so long: people resize windows, and paths recover.
constexpr Duration unwanted_patience = std::chrono::seconds(5);
/// Pictures that waited so long are of no use: the queue is given up, and a key frame begins anew.
constexpr Duration max_pacer_age = std::chrono::milliseconds(700);
/// Key frames are several times as large as other frames; more than the estimate for a moment is what queues are for.
constexpr std::int64_t pacing_percent = 200;
constexpr std::int64_t draining_percent = 90;
/// How long pictures wait at most, about, while the path has never been full.
constexpr Duration pacing_while_unknown = std::chrono::milliseconds(10);
/// Kept for retransmissions and for sound, of which no slot's rate is measured before it began.
constexpr std::int64_t reserve_percent = 5;
constexpr std::size_t probe_padding = 250;
/// Loss from which sound is sent twice, and three times. Concealment makes up for a few percent, and at a third of all packets it takes three for one
/// in forty to be missing.
constexpr double loss_for_two = 0.04, loss_for_three = 0.15;
/// The copies hide the loss, in part, from the statistics that call for them.
constexpr Duration copies_patience = std::chrono::seconds(10);
/// So much sound goes out even where the estimate is lower, if what holds it down is loss alone: without a queue, loss is not made by sending.
constexpr std::int64_t sound_without_queue = 250'000;
constexpr Duration no_queue = std::chrono::milliseconds(80);
constexpr Duration no_queue_at_all = std::chrono::milliseconds(20);

} // namespace

// ---- layers

void MediaGraph::set_view(TimePoint now, ParticipantIndex index, std::span<const TileView> tiles, std::optional<SpeakersView> speakers) {
  Participant& p = *participants_[index];
  if (!p.subscriber) return;
  p.subscriber->view_known = true;
  p.subscriber->speakers = speakers;
  p.subscriber->asked.clear();
  for (const TileView& tile : tiles)
    if (tile.incarnation && p.subscriber->asked.size() < max_asked) p.subscriber->asked.push_back(tile);
  for (Slot& slot : p.subscriber->slots) {
    if (!slot.video()) continue;
    slot.view_height = 0;
    for (const TileView& tile : tiles)
      if (!tile.incarnation && tile.mid == slot.offered().mid) slot.view_height = tile.height;
    if (const auto height = slot.publication() ? asked_height(*p.subscriber, *slot.publication()) : std::nullopt) slot.view_height = height;
  }
  give_slots(now, index);
  allocate(now, index);
}

void MediaGraph::allocate(TimePoint now, ParticipantIndex index) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  subscriber.next_allocation = now + allocation_interval;
  BandwidthEstimator& estimator = subscriber.estimator;
  const bool limited = estimator.started();
  if (!limited)
    subscriber.limited_since = now;
  std::int64_t budget = limited ? estimator.bitrate() * (100 - reserve_percent) / 100 : BandwidthEstimator::max_bitrate * 20;
  std::int64_t audio = 0, desired = 0;
  demands_.clear();
  choose_shown(index);
  const rtp::ActiveSpeakers& speakers = rooms_.at(participants_[index]->room).speakers;
  // The slot of each demand, since the allocator puts them into another order.
  std::array<std::uint32_t, 256> slot_of;
  for (std::size_t i = 0; i < subscriber.slots.size(); ++i) {
    Slot& slot = subscriber.slots[i];
    const Publication* const from = slot.publication() ? publication(*slot.publication()) : nullptr;
    if (!from) continue;
    if (!slot.video()) {
      if (slot.state() == Slot::State::flowing) audio += from->encoding(0).bitrate(now, 0, 0);
      continue;
    }
    const std::optional<std::uint32_t> height = wanted_height(subscriber, slot);
    if (height == 0U || demands_.size() + 1 == slot_of.size()) {
      slot.limit = SlotLimit::view;
      slot.set_target(std::nullopt);
      drop_waiting(index, static_cast<std::uint32_t>(i), counters_.dropped_given_up);
      continue;
    }
    LayerDemand& demand = demands_.emplace_back();
    // Pictures of a screen are read; of the others whoever speaks comes first, and then the larger.
    const std::uint32_t size = std::min(height.value_or(720), 0xffffU);
    const bool speaks = from->source() == Source::camera && speakers.speaks(slot.publication()->participant);
    demand.priority = ((from->source() == Source::screen ? 2U << 16 : speaks ? 1U << 16 : 0) + size) << 8 | static_cast<std::uint32_t>(255 - demands_.size());
    slot_of[255 - (demand.priority & 0xff)] = static_cast<std::uint32_t>(i);
    const auto current = slot.current();
    slot.limit = SlotLimit::nothing;
    std::uint32_t best_height = 0;
    // Who has just lost what flowed gets what is there, rather than wait for what may never begin: its publisher may have room for no more.
    const auto aimed = current ? current : slot.target();
    const bool lost = aimed && from->stopped(now, aimed->encoding);
    const bool anything_else = std::ranges::any_of(from->encodings(), [&](const Encoding& e) { return from->flows(now, e.index()); });
    slot.hopes = 0;
    for (const Encoding& encoding : from->encodings()) {
      const std::uint8_t e = encoding.index();
      const auto& since = from->wanted_since[e];
      const bool flows = from->encodings().size() == 1 || from->flows(now, e);
      const bool hoped = !flows && (!from->wanted[e] || (since && now - *since < start_patience));
      if (hoped && lost && anything_else) slot.hopes |= static_cast<std::uint8_t>(1 << e);
      const bool available = flows || (hoped && !(lost && anything_else));
      if (!available) {
        if (slot.limit == SlotLimit::nothing) slot.limit = SlotLimit::publisher;
        continue;
      }
      const std::uint8_t spatial_layers = encoding.layers_need_descriptor() && !slot.descriptors ? std::uint8_t{1} : encoding.spatial_layers();
      for (std::uint8_t s = 0; s < spatial_layers; ++s) {
        // The smallest that fills the tile; a little less than full is as good.
        if (height && best_height * 4 >= *height * 3) {
          slot.limit = SlotLimit::view;
          break;
        }
        best_height = encoding.height(s);
        for (std::uint8_t t = 0; t < encoding.temporal_layers(); ++t) {
          demand.add({{e, s, t}, encoding.bitrate(now, s, t)});
          if (current && current->encoding == e && s <= current->spatial && t <= current->temporal)
            demand.current = demand.option_count - 1;
        }
      }
    }
    if (demand.option_count > 0) desired += demand.options[demand.option_count - 1].bitrate;
  }
  choose_copies(now, subscriber, audio);
  audio *= 1 + subscriber.audio_copies;
  budget -= audio;
  subscriber.desired = (desired + audio) * 100 / (100 - reserve_percent) * 120 / 100;
  subscriber.allocated = allocate_layers(budget, demands_) + audio;

  bool fell = false;
  for (const LayerDemand& demand : demands_) {
    const std::uint32_t number = slot_of[255 - (demand.priority & 0xff)];
    Slot& slot = subscriber.slots[number];
    // Nothing comes from the publisher just now. Paused, the slot would miss the key frame with which it begins again, and wait for another.
    if (demand.option_count == 0 && slot.target() && publication(*slot.publication())->seen()) continue;
    std::optional<std::size_t> chosen = demand.chosen;
    if (chosen) {
      slot.unaffordable_since.reset();
    } else if (demand.option_count > 0) {
      if (!slot.unaffordable_since) slot.unaffordable_since = now;
      // What flows goes on for a while with the least it has; a new path is believed in until it is known better.
      const bool patient = now - *slot.unaffordable_since < pause_patience || now - subscriber.limited_since < pause_patience;
      if (patient && slot.target()) chosen = 0;
    }
    if (chosen && *chosen + 1 < demand.option_count) slot.limit = SlotLimit::bandwidth;
    if (!chosen && demand.option_count > 0) slot.limit = SlotLimit::bandwidth;
    const auto before = slot.target();
    std::optional<Layer> target;
    if (chosen) {
      target = demand.options[*chosen].layer;
      // Layers that were not seen yet are welcome when nothing higher of this encoding is given up.
      const bool last = *chosen + 1 == demand.option_count || demand.options[*chosen + 1].layer.encoding != target->encoding;
      if (last) target->temporal = max_temporal_layers - 1;
      // Else its first key frame brings the lowest alone, and another is to be asked for.
      if (last && slot.limit == SlotLimit::nothing && !publication(*slot.publication())->encoding(target->encoding).seen()) target->spatial = max_spatial_layers - 1;
    }
    if (target == before) continue;
    const bool stopped = slot.current() && publication(*slot.publication())->stopped(now, slot.current()->encoding);
    // What flows is far more than there is room for: it ends now, and the lower one begins when its key frame comes.
    const bool at_once = target && demand.current && limited &&
                         demand.options[*demand.current].bitrate * 10 > std::max<std::int64_t>(estimator.bitrate(), 1) * 13;
    slot.set_target(target, at_once);
    fell = fell || at_once;
    if (!target || at_once) drop_waiting(index, number, counters_.dropped_given_up);
    if (!target) ++counters_.slots_paused;
    if (before && target) ++(*target < *before ? counters_.layers_lowered : counters_.layers_raised);
    if (subscriber.connected)
      if (const auto encoding = slot.key_frame_wanted(); encoding && has_keys(now, *participants_[index]))
        want_key_frame(now, *slot.publication(), *encoding, slot.state() == Slot::State::waiting || stopped);
  }
  choose_pace(now, subscriber);
  // The key frame of the lower encoding is not to be lost in the queue that the higher one has filled.
  if (fell) subscriber.pacer.hold(now, estimator.queue() / 2);
}

void MediaGraph::choose_pace(TimePoint now, Subscriber& subscriber) {
  const BandwidthEstimator& estimator = subscriber.estimator;
  // The first estimate is a guess until it is known what arrives: more flows already, and would wait for that.
  if (!estimator.started() || estimator.acknowledged_bitrate() <= 0) return subscriber.pacer.set_rate(0);
  const std::int64_t percent = estimator.draining(now) ? draining_percent : pacing_percent;
  // An estimate that was never a limit only follows what is sent, and late: when many begin at once, they are not to wait for it.
  const bool follows = !estimator.has_been_full() && estimator.queue() < no_queue_at_all;
  subscriber.pacer.set_rate(std::max<std::int64_t>(estimator.bitrate() * percent / 100, 100'000), follows ? pacing_while_unknown : Duration::max());
}

void MediaGraph::choose_copies(TimePoint now, Subscriber& subscriber, std::int64_t audio) {
  if (!subscriber.estimator.started()) return;
  const double loss = subscriber.estimator.loss();
  std::uint8_t copies = loss >= loss_for_three ? 2 : loss >= loss_for_two ? 1 : 0;
  // What is lost because the path is full is not to be made up for by filling it.
  const BandwidthEstimator& estimator = subscriber.estimator;
  std::int64_t room = estimator.bitrate() / 2;
  if (estimator.limited_by() == BandwidthEstimator::LimitedBy::loss && estimator.queue() < no_queue) room = std::max(room, sound_without_queue);
  while (copies > 0 && audio * (1 + copies) > room) --copies;
  if (copies >= subscriber.audio_copies) {
    subscriber.audio_copies = copies;
    subscriber.audio_copies_at = now;
  } else if (now - subscriber.audio_copies_at >= copies_patience || audio * (1 + subscriber.audio_copies) > room) {
    subscriber.audio_copies = copies;
    subscriber.audio_copies_at = now;
  }
}

std::size_t MediaGraph::drop_waiting(ParticipantIndex index, std::uint32_t number, std::uint64_t& counter) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  Slot& slot = subscriber.slots[number];
  // The receiver will ask for them, and is not to get them.
  std::size_t dropped = 0;
  subscriber.pacer.remove_slot(number, [&](const Pacer::Item& item) {
    if (!item.rtx_sequence) slot.forget(item.sequence);
    ++dropped;
  });
  counter += dropped;
  return dropped;
}

void MediaGraph::update_wanted(TimePoint now, ParticipantIndex index, Publication& p) {
  const std::size_t count = p.encodings().size();
  if (count == 1) return;
  std::array<bool, max_encodings> used{};
  used[0] = true; // so that whoever comes sees something at once
  for (const SlotReference& to : p.subscribers) {
    const Slot& slot = participants_[to.participant]->subscriber->slots[to.slot];
    if (slot.target() && slot.target()->encoding < count) used[slot.target()->encoding] = true;
    if (const auto current = slot.current(); current && current->encoding < count) used[current->encoding] = true;
    for (std::size_t e = 0; e < count; ++e) used[e] = used[e] || (slot.hopes >> e & 1) != 0;
  }
  for_each_shard(p.interested, [&](std::size_t shard) {
    for (std::size_t e = 0; e < count; ++e) used[e] = used[e] || (p.interest[shard] >> e & 1) != 0;
  });
  bool changed = false;
  for (std::size_t e = 0; e < count; ++e) {
    if (used[e]) {
      p.unwanted_since[e].reset();
      if (!p.wanted[e]) {
        p.wanted[e] = changed = true;
        p.wanted_since[e] = now;
      }
    } else if (p.wanted[e]) {
      if (!p.unwanted_since[e]) p.unwanted_since[e] = now;
      if (now - *p.unwanted_since[e] < unwanted_patience) continue;
      p.wanted[e] = false;
      changed = true;
    }
  }
  if (changed && participants_[index]->home)
    tell_interest(index, p);
  else if (changed)
    outputs_.push_back(WantedChanged{index, p.source()});
}

std::vector<bool> MediaGraph::wanted_encodings(ParticipantIndex index, Source source) const {
  const Publication* const p = publication({index, source});
  if (!p || p->encodings().size() == 1) return {};
  return std::vector<bool>(p->wanted.begin(), p->wanted.begin() + static_cast<std::ptrdiff_t>(p->encodings().size()));
}

// ---- the estimate

void MediaGraph::handle_feedback(TimePoint now, ParticipantIndex index, ByteView control) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  const auto feedback = rtp::parse_transport_feedback(control, statuses_);
  if (!feedback) {
    ++counters_.dropped_invalid;
    return;
  }
  ++counters_.feedback_received;
  const std::int64_t before = subscriber.estimator.bitrate();
  subscriber.estimator.on_feedback(now, feedback->statuses);
  const std::int64_t after = subscriber.estimator.bitrate();
  // Down at once, up with the next round.
  if (after * 10 < before * 9 && before != BandwidthEstimator::max_bitrate)
    allocate(now, index);
  else if (subscriber.pacer.hurries())
    choose_pace(now, subscriber);
}

SubscriberReport MediaGraph::report(TimePoint now, ParticipantIndex index) const {
  SubscriberReport out;
  const Participant& p = *participants_[index];
  if (!p.subscriber) return out;
  const Subscriber& subscriber = *p.subscriber;
  out.estimated = subscriber.estimator.started();
  out.bitrate = subscriber.estimator.bitrate();
  out.allocated = subscriber.allocated;
  out.desired = subscriber.desired;
  out.loss = subscriber.estimator.loss();
  out.round_trip = subscriber.estimator.round_trip();
  out.limited_by_loss = subscriber.estimator.limited_by() == BandwidthEstimator::LimitedBy::loss;
  for (const Slot& slot : subscriber.slots) {
    const Publication* const from = slot.publication() ? publication(*slot.publication()) : nullptr;
    if (!slot.video() || !from) continue;
    SubscriberReport::Slot& told = out.slots.emplace_back();
    told.mid = slot.offered().mid;
    told.paused = !slot.target();
    told.encodings = static_cast<std::uint8_t>(from->encodings().size());
    const Layer layer = slot.current().value_or(slot.target().value_or(Layer{}));
    told.encoding = layer.encoding;
    const Encoding& encoding = from->encoding(std::min<std::uint8_t>(layer.encoding, static_cast<std::uint8_t>(told.encodings - 1)));
    told.spatial = std::min<std::uint8_t>(layer.spatial, static_cast<std::uint8_t>(encoding.spatial_layers() - 1));
    told.temporal = std::min<std::uint8_t>(layer.temporal, static_cast<std::uint8_t>(encoding.temporal_layers() - 1));
    told.limit = slot.limit;
    if (told.limit == SlotLimit::nothing && !encoding.active(now)) told.limit = SlotLimit::publisher;
  }
  return out;
}

// ---- the pace

void MediaGraph::pace(TimePoint now, ParticipantIndex index) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  if (subscriber.paced) return;
  subscriber.paced = true;
  if (pacing_.empty()) next_pacing_ = now + pacing_interval;
  pacing_.push_back(index);
}

void MediaGraph::handle_pacing(TimePoint now) {
  if (pacing_.empty()) return;
  next_pacing_ = now + pacing_interval;
  std::size_t kept = 0;
  // What is added meanwhile stands behind, and is kept.
  for (std::size_t i = 0; i < pacing_.size(); ++i) {
    const ParticipantIndex index = pacing_[i];
    Subscriber& subscriber = *participants_[index]->subscriber;
    if (subscriber.connected) {
      drain_pacer(now, index);
      send_probe(now, index);
    } else {
      subscriber.pacer.clear();
      subscriber.probe.reset();
    }
    subscriber.paced = subscriber.pacer.waiting() > 0 || subscriber.probe;
    if (subscriber.paced) pacing_[kept++] = index;
  }
  pacing_.resize(kept);
}

void MediaGraph::drain_pacer(TimePoint now, ParticipantIndex index) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  if (subscriber.pacer.age(now) > max_pacer_age) {
    for (std::size_t i = 0; i < subscriber.slots.size(); ++i) {
      if (!subscriber.slots[i].video() || !subscriber.slots[i].publication()) continue;
      if (drop_waiting(index, static_cast<std::uint32_t>(i), counters_.dropped_pacer_late) == 0) continue;
      subscriber.slots[i].restart();
      want_key_frame_for(now, index, subscriber.slots[i], false);
    }
    subscriber.pacer.clear();
  }
  while (const auto item = subscriber.pacer.poll(now)) {
    Slot& slot = subscriber.slots[item->slot];
    const Publication* const from = slot.publication() ? publication(*slot.publication()) : nullptr;
    if (!from || slot.assignments() != item->assignment) continue;
    const Encoding& encoding = from->encoding(item->encoding);
    const auto held = encoding.generation() == item->generation ? encoding.find(item->original) : std::nullopt;
    if (!held) continue;
    emit_media(now, subscriber, index, slot, {item->sequence, item->timestamp, item->picture_id, item->tl0_picture_index, item->marker, false},
               *held, item->rtx_sequence);
  }
}

void MediaGraph::send_probe(TimePoint now, ParticipantIndex index) {
  Subscriber& subscriber = *participants_[index]->subscriber;
  if (!subscriber.probe) return;
  // Padding goes over a retransmission stream, whose receiver throws it away.
  const auto usable = std::find_if(subscriber.slots.begin(), subscriber.slots.end(),
                                   [](const Slot& slot) { return slot.video() && slot.accepted && slot.retransmissions && !slot.codecs.empty(); });
  if (usable == subscriber.slots.end()) {
    subscriber.probe.reset();
    return;
  }
  const auto codec = std::find_if(signaling::all_codecs.begin(), signaling::all_codecs.end(),
                                  [&](signaling::Codec c) { return signaling::is_video(c) && usable->codecs.contains(c); });
  if (codec == signaling::all_codecs.end()) {
    subscriber.probe.reset();
    return;
  }
  const std::int64_t elapsed = std::min<std::int64_t>((now - subscriber.probe_at).count(), 20'000);
  subscriber.probe_at = now;
  subscriber.probe_credit += subscriber.probe->bitrate * elapsed / 8'000'000;
  while (subscriber.probe && subscriber.probe_credit > 0) {
    const std::size_t sent = probe_padding + 60;
    if (!emit_padding(now, subscriber, index, signaling::slot_rtx_payload_type(*codec), usable->next_rtx_sequence(), 0, usable->offered().rtx_ssrc,
                      *usable, probe_padding, subscriber.probe->cluster))
      break;
    subscriber.probe_credit -= static_cast<std::int64_t>(sent);
    if (subscriber.probe->bytes <= sent)
      subscriber.probe.reset();
    else
      subscriber.probe->bytes -= sent;
  }
}

} // namespace satsuma::sfu
