#pragma once

// Participants, the delivery service and the forwarding unit in virtual time, with bad networks between them. No part is replaced: what the server program does
// between its two services stands here in short.

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "../base/seeded_random.h"
#include "delivery/delivery_service.h"
#include "delivery/memory_store.h"
#include "delivery/mls_group_gate.h"
#include "impairment/link.h"
#include "participant/participant.h"
#include "sfu/sfu.h"

namespace satsuma::participant::test {

using namespace std::chrono_literals;

inline dtls::Context dtls_context() {
  auto made = dtls::Context::create(1'800'000'000);
  EXPECT_TRUE(made);
  return std::move(*made);
}

class World {
 public:
  static constexpr Duration video_interval = 33'333us;
  static constexpr Duration audio_interval = 20ms;
  static constexpr std::size_t key_frame_size = 6000;
  static constexpr std::size_t delta_frame_size = 2500;

  struct Received {
    std::uint64_t frames = 0;
    std::uint64_t last_number = 0;
    std::uint64_t key_frames = 0;
    std::array<std::uint64_t, max_camera_layers> layers{}; ///< frames of each size
    std::size_t layer = 0;                                 ///< of the latest
    std::uint64_t missing = 0; ///< numbers that were skipped since the first
    std::optional<TimePoint> first_at, last_at;
    Duration longest_gap{};
    Duration longest_delay{};
    std::optional<std::uint64_t> shown; ///< the last that a decoder can show: a key frame, or the one behind what it showed
    TimePoint shown_made{};             ///< when that was sent
    std::optional<TimePoint> shown_at;
    Duration longest_freeze{};
    std::uint64_t shown_frames = 0, bytes = 0;
  };
  struct Person {
    std::string name;
    std::unique_ptr<SeededRandom> random;
    std::unique_ptr<Participant> participant;
    std::array<std::unique_ptr<impairment::Link>, 2> up, down; ///< by leg
    std::unique_ptr<impairment::Link> signal_up, signal_down;
    std::array<TransportAddress, 2> address;
    std::optional<delivery::ConnectionId> connection;
    std::optional<TimePoint> connect_at;
    bool closed = false;
    bool sends_video = false, sends_audio = false;
    Source picture = Source::camera;   ///< what its video is
    std::optional<std::uint8_t> level; ///< of its sound, in -dBov
    std::optional<TimePoint> next_video, next_audio;
    std::uint64_t videos = 0, audios = 0;
    std::size_t layers = 1; ///< of the camera; each has a quarter of the next one's bytes
    bool adapts = false;    ///< they have what the sender says instead
    std::array<double, max_camera_layers> owed{}; ///< bytes that the key frames had beyond that, and which the encoder saves again
    std::array<bool, max_camera_layers> key_frame_due{true, true, true};
    std::array<std::uint64_t, max_camera_layers> layers_sent{};
    int ignores_key_frames = 0; ///< so many requests
    Duration deaf_to_requests{}; ///< for so long after each that it heard, as browsers are
    std::array<std::optional<TimePoint>, max_camera_layers> heard_request{};
    int key_frames_asked = 0;
    bool hears_server = true; ///< what the server says on the WebSocket; it waits until then
    std::map<std::pair<std::string, Source>, Received> received; ///< by the sender's name
    std::vector<call::EpochEvent> epochs;
    int refused = 0;
    int voices_told = 0;
    int states_told = 0; ///< by others, to us
    std::vector<call::StreamVerdict> verdicts; ///< on the streams of all others
    std::vector<std::string> read; ///< in the chat ///< by the others: that they speak
    std::vector<std::vector<IncarnationId>> voices_asked;
    /// What left under each number of each stream, under the keys of this sender: never two packets under one.
    std::unordered_map<std::uint64_t, std::size_t> sent;
    const MediaSender* sent_by = nullptr;
    /// On the wire, headers included, by leg: what was given to the path, whether it arrived or not.
    std::array<std::uint64_t, 2> bytes_up{}, bytes_down{};
    /// Of what the server sends, by stream, and of all of it.
    std::unordered_map<std::uint32_t, std::uint16_t> sequence_down;
    std::optional<std::uint16_t> transport_sequence_down;
    const MediaReceiver* numbered_for = nullptr;
  };
  static constexpr std::size_t below_rtp = 28; ///< IPv4 and UDP
  static constexpr int port_step = 100;        ///< from one address of a person to the next

  explicit World(std::uint64_t seed = 1, const sfu::Limits& limits = {})
      : seed_(seed), random_(seed), limits_(limits), server_dtls_(dtls_context()), client_dtls_(dtls_context()), service_({}, store_, gates_) {
    make_forwarding();
  }

  bool subscribing = true; ///< whoever is added

  /// `network` is a schedule for both directions of media, in force from now.
  Person& add(const std::string& name, std::vector<Source> publish, const std::string& network = "delay=10ms", std::size_t layers = 1,
              const std::vector<LayerRates>& rates = {}) {
    auto person = std::make_unique<Person>();
    const std::uint64_t number = ++people_made_;
    person->name = name;
    person->random = std::make_unique<SeededRandom>(seed_ * 1000 + number);
    ParticipantConfig config;
    config.session.room = "orchard";
    config.session.secret = SecretBytes::copy_of(Bytes(16, 7));
    config.session.device_seed = SecretBytes::copy_of(Bytes(32, static_cast<std::uint8_t>(number)));
    config.session.name = name;
    config.publish = publish;
    config.camera_layers = person->layers = layers;
    config.subscribe = subscribing;
    config.adapt = config.adapt_sound = person->adapts = !rates.empty();
    if (!rates.empty()) config.rates[Source::camera] = {rates, 30};
    for (const Source source : publish) (signaling::is_audio(source) ? person->sends_audio : person->sends_video) = true;
    if (!publish.empty() && publish.back() == Source::screen) person->picture = Source::screen; // the camera is there, and off
    auto made = Participant::create(std::move(config), now_, 1'800'000'000, client_dtls_, *person->random);
    EXPECT_TRUE(made);
    person->participant = std::move(*made);
    for (std::size_t leg = 0; leg < 2; ++leg) {
      person->address[leg] = TransportAddress::v4({198, 51, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)}, static_cast<std::uint16_t>(4000 + leg));
      person->up[leg] = link(network, impairment::Direction::up, number * 8 + leg);
      person->down[leg] = link(network, impairment::Direction::down, number * 8 + 2 + leg);
    }
    person->signal_up = std::make_unique<impairment::Link>(*impairment::Schedule::parse("delay=10ms", impairment::Direction::up), 1, now_, impairment::Link::Kind::stream);
    person->signal_down = std::make_unique<impairment::Link>(*impairment::Schedule::parse("delay=10ms", impairment::Direction::up), 1, now_, impairment::Link::Kind::stream);
    person->connect_at = now_;
    people_.push_back(std::move(person));
    return *people_.back();
  }

  void leave(Person& person) {
    person.participant->leave(now_);
    pump();
  }
  /// The process dies: nothing is said.
  void crash(Person& person) {
    disconnect(person);
    person.closed = true;
  }
  /// The WebSocket breaks, and is made again.
  void cut(Person& person) {
    if (!person.connection) return;
    disconnect(person);
    person.participant->handle_disconnected(now_);
    person.connect_at = now_ + 500ms;
    pump();
  }
  /// It is killed and comes back at once: the rooms' logs are there, and nothing of the media.
  void restart_server() {
    server_dtls_ = dtls_context();
    make_forwarding();
    for (const auto& [id, known] : known_) {
      EXPECT_TRUE(sfu_->add_participant(now_, "orchard", id));
      if (members_.contains(id)) static_cast<void>(sfu_->set_member(now_, id, true));
    }
    for (auto& p : people_) cut(*p);
  }
  /// From now on; what is under way on the old one is lost.
  void set_network(Person& person, const std::string& network) {
    const std::uint64_t number = ++people_made_;
    for (std::size_t leg = 0; leg < 2; ++leg) {
      person.up[leg] = link(network, impairment::Direction::up, number * 8 + leg);
      person.down[leg] = link(network, impairment::Direction::down, number * 8 + 2 + leg);
    }
  }
  /// Another address from now on, as after a change of network.
  void move(Person& person) {
    for (TransportAddress& address : person.address) address.port = static_cast<std::uint16_t>(address.port + port_step);
    person.participant->restart_media(now_);
    pump();
  }

  void run(Duration duration) {
    const TimePoint end = now_ + duration;
    while (true) {
      pump();
      std::optional<TimePoint> next;
      const auto consider = [&next](std::optional<TimePoint> at) {
        if (at && (!next || *at < *next)) next = at;
      };
      consider(service_.next_deadline());
      consider(sfu_->next_deadline());
      for (auto& p : people_) {
        if (p->closed) continue;
        consider(p->connect_at);
        consider(p->participant->next_deadline());
        consider(p->next_video);
        consider(p->next_audio);
        for (std::size_t leg = 0; leg < 2; ++leg) {
          consider(p->up[leg]->next_deadline());
          consider(p->down[leg]->next_deadline());
        }
        consider(p->signal_up->next_deadline());
        if (p->hears_server) consider(p->signal_down->next_deadline());
      }
      if (!next || *next > end) break;
      now_ = std::max(now_, *next);
      step();
      if (++steps_ > 20'000'000) {
        ADD_FAILURE() << "the world does not come to rest";
        return;
      }
    }
    now_ = end;
  }

  std::optional<Duration> until(const std::function<bool()>& condition, Duration limit = 30s) {
    const TimePoint begin = now_;
    while (now_ - begin < limit) {
      if (condition()) return now_ - begin;
      run(5ms);
    }
    return std::nullopt;
  }

  /// Everybody hears and sees everybody who sends.
  bool all_receive_all() const {
    for (const auto& to : people_) {
      if (to->closed) continue;
      for (const auto& from : people_) {
        if (from == to || from->closed) continue;
        if (from->sends_video && !to->received.contains({from->name, Source::camera})) return false;
        if (from->sends_audio && !to->received.contains({from->name, Source::microphone})) return false;
      }
    }
    return true;
  }

  TimePoint now() const { return now_; }
  const sfu::Sfu& forwarding() const { return *sfu_; }
  sfu::Sfu& forwarding() { return *sfu_; }
  std::vector<std::unique_ptr<Person>>& people() { return people_; }
  const std::vector<std::unique_ptr<Person>>& people() const { return people_; }
  /// A stranger's datagram.
  void inject(const TransportAddress& from, Bytes bytes) { sfu_->handle_packet(now_, {from, 0}, bytes); }
  static inline const TransportAddress server_address = TransportAddress::v4({192, 0, 2, 1}, 5000);

 private:
  void make_forwarding() {
    sfu::Config config;
    config.candidates = {server_address};
    config.limits = limits_;
    sfu_.emplace(std::move(config), server_dtls_, random_);
  }
  std::unique_ptr<impairment::Link> link(const std::string& text, impairment::Direction direction, std::uint64_t number) {
    const auto schedule = impairment::Schedule::parse(text, direction);
    EXPECT_TRUE(schedule) << text;
    return std::make_unique<impairment::Link>(*schedule, seed_ * 7919 + number, now_);
  }

  static Bytes tagged(bool text, ByteView bytes) {
    Bytes out{static_cast<std::uint8_t>(text)};
    out.insert(out.end(), bytes.begin(), bytes.end());
    return out;
  }

  void step() {
    for (auto& person : people_) {
      Person& p = *person;
      if (p.closed) continue;
      if (p.connect_at && *p.connect_at <= now_) {
        p.connect_at.reset();
        p.connection = ++last_connection_;
        owners_[last_connection_] = &p;
        service_.handle_connected(now_, last_connection_);
        p.participant->handle_connected(now_);
      }
      for (std::size_t leg = 0; leg < 2; ++leg) {
        p.up[leg]->handle_timeout(now_);
        while (const auto out = p.up[leg]->poll_output()) {
          Bytes bytes = to_bytes(*out);
          sfu_->handle_packet(now_, {p.address[leg], 0}, bytes);
        }
        p.down[leg]->handle_timeout(now_);
        while (const auto out = p.down[leg]->poll_output()) {
          Bytes bytes = to_bytes(*out);
          p.participant->handle_packet(now_, static_cast<Leg>(leg), server_address, bytes);
          poll(p);
        }
      }
      p.signal_up->handle_timeout(now_);
      while (const auto out = p.signal_up->poll_output()) {
        if (!p.connection) continue;
        if ((*out)[0] == 0) service_.handle_frame(now_, *p.connection, out->subspan(1));
        else handle_control(p, as_text(out->subspan(1)));
      }
      if (p.hears_server) p.signal_down->handle_timeout(now_);
      while (const auto out = p.hears_server ? p.signal_down->poll_output() : std::nullopt) {
        if ((*out)[0] == 0) p.participant->handle_binary(now_, out->subspan(1));
        else p.participant->handle_text(now_, as_text(out->subspan(1)));
        poll(p);
      }
      if (p.next_video && *p.next_video <= now_) {
        *p.next_video += video_interval;
        for (std::size_t layer = 0; layer < p.layers; ++layer)
          if (p.participant->wanted(p.picture, layer)) send(p, p.picture, camera_frame(p, layer), p.videos, layer);
        ++p.videos;
      }
      if (p.next_audio && *p.next_audio <= now_) {
        const SoundFormat format = p.participant->sound_format();
        *p.next_audio += format.packet;
        send(p, Source::microphone, p.adapts ? static_cast<std::size_t>(format.bitrate * format.packet.count() / 8'000'000) : 120, p.audios++);
      }
      if (const auto at = p.participant->next_deadline(); at && *at <= now_) p.participant->handle_timeout(now_);
    }
    if (const auto at = service_.next_deadline(); at && *at <= now_) service_.handle_timeout(now_);
    if (const auto at = sfu_->next_deadline(); at && *at <= now_) sfu_->handle_timeout(now_);
    pump();
  }

  static std::size_t camera_frame(Person& p, std::size_t layer) {
    const bool key = p.key_frame_due[layer];
    const auto target = p.participant->target(p.picture, layer);
    if (!target) return (key ? key_frame_size : delta_frame_size) >> 2 * (p.layers - 1 - layer);
    // As an encoder does: a key frame is four times as large, and the next ones are smaller until that is made up for.
    const double mean = static_cast<double>(*target) / 8 / 30;
    const double size = key ? 4 * mean : std::max(mean / 2, mean - p.owed[layer]);
    p.owed[layer] = std::max(0.0, p.owed[layer] + size - mean);
    return std::max<std::size_t>(32, static_cast<std::size_t>(size));
  }

  // A frame carries its number, the time it was made, and its layer.
  void send(Person& p, Source source, std::size_t size, std::uint64_t number, std::size_t layer = 0) {
    Bytes frame(size, 0x5a);
    SpanWriter out(frame);
    out.u64(number);
    out.u64(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
    out.u8(static_cast<std::uint8_t>(layer));
    const bool video = !signaling::is_audio(source);
    const bool key = video && p.key_frame_due[layer];
    const auto timestamp = static_cast<std::uint32_t>(now_.time_since_epoch().count() * (video ? 90 : 48) / 1000);
    if (!p.participant->send_frame(now_, source, frame, timestamp, key, video ? std::nullopt : p.level, layer)) {
      if (p.adapts && video) p.key_frame_due[layer] = true;
      return;
    }
    if (key) p.key_frame_due[layer] = false;
    if (video) ++p.layers_sent[layer];
  }

  void handle_control(Person& p, std::string_view text) {
    const auto message = signaling::parse_client_control(text);
    ASSERT_TRUE(message) << text;
    const auto id = p.participant->session().incarnation();
    const auto refuse = [&](std::uint32_t request, const Error& error) {
      ++p.refused;
      tell(p, signaling::ControlError{request, std::string(error.name()), "no"});
    };
    if (const auto* publish = std::get_if<signaling::Publish>(&*message)) {
      const auto answer = sfu_->handle_publish_offer(now_, id, publish->sdp);
      if (answer) tell(p, signaling::Published{publish->id, *answer});
      else refuse(publish->id, answer.error());
    } else if (const auto* restart = std::get_if<signaling::Restart>(&*message)) {
      const auto answer = sfu_->handle_publish_offer(now_, id, restart->sdp);
      if (answer) tell(p, signaling::Published{restart->id, *answer});
      else refuse(restart->id, answer.error());
    } else if (const auto* sources = std::get_if<signaling::Sources>(&*message)) {
      EXPECT_TRUE(sfu_->handle_sources(now_, id, sources->active));
    } else if (const auto* subscribe = std::get_if<signaling::Subscribe>(&*message)) {
      if (const auto asked = sfu_->request_subscribe(now_, id); !asked) refuse(subscribe->id, asked.error());
    } else if (const auto* view = std::get_if<signaling::View>(&*message)) {
      std::vector<sfu::TileView> tiles;
      for (const auto& tile : view->tiles) tiles.push_back({tile.mid, tile.height, tile.incarnation, tile.source});
      EXPECT_TRUE(sfu_->handle_view(now_, id, tiles));
    } else if (const auto* voices = std::get_if<signaling::Voices>(&*message)) {
      p.voices_asked.push_back(voices->of);
      EXPECT_TRUE(sfu_->handle_voices(now_, id, voices->of));
    } else if (const auto* answer = std::get_if<signaling::Answer>(&*message)) {
      const auto taken = sfu_->handle_subscribe_answer(now_, id, answer->revision, answer->sdp);
      EXPECT_TRUE(taken || taken.error() == Error(sfu::sfu_unknown_revision)) << taken.error().name();
    }
  }

  void tell(Person& p, const signaling::ServerControl& message) {
    p.signal_down->handle_datagram(now_, tagged(true, as_bytes(signaling::write_server_control(message))));
  }

  Person* owner(const IncarnationId& id) {
    for (auto& p : people_)
      if (!p->closed && p->participant->session().incarnation() == id) return p.get();
    return nullptr;
  }

  void pump() {
    for (auto& p : people_)
      if (!p->closed) poll(*p);
    while (auto output = service_.poll_output()) {
      if (auto* send = std::get_if<delivery::Send>(&*output)) {
        if (const auto found = owners_.find(send->connection); found != owners_.end()) found->second->signal_down->handle_datagram(now_, tagged(false, send->bytes));
      } else if (const auto* close = std::get_if<delivery::Close>(&*output)) {
        if (const auto found = owners_.find(close->connection); found != owners_.end()) {
          Person& p = *found->second;
          disconnect(p);
          p.participant->handle_disconnected(now_);
          p.connect_at = now_ + 500ms;
        }
      } else if (const auto* joined = std::get_if<delivery::Joined>(&*output)) {
        if (!known_.contains(joined->incarnation)) {
          known_[joined->incarnation] = true;
          EXPECT_TRUE(sfu_->add_participant(now_, joined->room, joined->incarnation));
          if (members_.contains(joined->incarnation)) static_cast<void>(sfu_->set_member(now_, joined->incarnation, true));
        }
      } else if (const auto* epoch = std::get_if<delivery::EpochBegan>(&*output)) {
        sfu_->handle_epoch(now_, epoch->room, epoch->entry);
      } else if (const auto* followed = std::get_if<delivery::Followed>(&*output)) {
        static_cast<void>(sfu_->handle_followed(followed->incarnation, followed->cursor));
      } else if (const auto* added = std::get_if<delivery::MemberAdded>(&*output)) {
        members_[added->incarnation] = true;
        if (known_.contains(added->incarnation)) static_cast<void>(sfu_->set_member(now_, added->incarnation, true));
      } else if (const auto* removed = std::get_if<delivery::MemberRemoved>(&*output)) {
        members_.erase(removed->incarnation);
        static_cast<void>(sfu_->set_member(now_, removed->incarnation, false));
      } else if (const auto* departed = std::get_if<delivery::Departed>(&*output)) {
        static_cast<void>(sfu_->remove_participant(now_, departed->incarnation));
      }
    }
    while (auto output = sfu_->poll_output()) {
      if (const auto* offer = std::get_if<sfu::SubscribeOffer>(&*output)) {
        if (Person* p = owner(offer->id)) tell(*p, signaling::Offer{offer->revision, offer->sdp});
      } else if (const auto* slots = std::get_if<sfu::Slots>(&*output)) {
        signaling::Slots message;
        message.sequence = slots->sequence;
        message.voices = slots->voices;
        for (const sfu::SlotUse& use : slots->slots) message.slots.push_back({use.mid, use.incarnation, use.source});
        if (Person* p = owner(slots->id)) tell(*p, message);
      } else if (const auto* layers = std::get_if<sfu::WantedLayers>(&*output)) {
        if (Person* p = owner(layers->id)) tell(*p, signaling::Layers{layers->source, layers->active});
      }
    }
    for (const sfu::OutgoingDatagram& datagram : sfu_->pending_datagrams())
      for (auto& p : people_)
        for (std::size_t leg = 0; leg < 2 && !p->closed; ++leg) {
          const TransportAddress& here = p->address[leg];
          // At whatever address it was.
          if (leg == 1 && datagram.path.remote.ip == here.ip && (here.port - datagram.path.remote.port) % port_step == 0) check_down(*p, datagram.bytes);
          if (here == datagram.path.remote) {
            p->bytes_down[leg] += datagram.bytes.size() + below_rtp;
            p->down[leg]->handle_datagram(now_, datagram.bytes);
          }
        }
    sfu_->clear_datagrams();
  }

  void poll(Person& p) {
    while (auto output = p.participant->poll_output(now_)) {
      if (const auto* binary = std::get_if<call::SendBinary>(&*output)) {
        if (p.connection) p.signal_up->handle_datagram(now_, tagged(false, binary->frame));
      } else if (const auto* text = std::get_if<SendText>(&*output)) {
        if (p.connection) p.signal_up->handle_datagram(now_, tagged(true, as_bytes(text->text)));
      } else if (const auto* reconnect = std::get_if<call::Reconnect>(&*output)) {
        disconnect(p);
        p.connect_at = now_ + reconnect->delay + 20ms;
      } else if (std::holds_alternative<call::Close>(*output)) {
        disconnect(p);
        p.closed = true;
        return;
      } else if (const auto* event = std::get_if<SessionEvent>(&*output)) {
        if (const auto* epoch = std::get_if<call::EpochEvent>(&event->event)) p.epochs.push_back(*epoch);
        if (const auto* stream = std::get_if<call::StreamEvent>(&event->event)) p.verdicts.push_back(stream->judgement.verdict);
        if (const auto* said = std::get_if<call::ApplicationEvent>(&event->event); said != nullptr) {
          if (said->text == signaling::member_speaks) ++p.voices_told;
          if (said->text.starts_with(R"({"type":"state")")) ++p.states_told;
        }
      } else if (const auto* state = std::get_if<MediaState>(&*output)) {
        if (state->leg == Leg::publish && state->connected) {
          if (p.sends_video && !p.next_video) p.next_video = now_;
          if (p.sends_audio && !p.next_audio) p.next_audio = now_;
        }
      } else if (const auto* wanted = std::get_if<KeyFrameWanted>(&*output)) {
        ++p.key_frames_asked;
        ASSERT_LT(wanted->layer, p.layers);
        auto& heard = p.heard_request[wanted->layer];
        if (heard && now_ - *heard < p.deaf_to_requests) continue;
        heard = now_;
        if (p.ignores_key_frames > 0) --p.ignores_key_frames;
        else p.key_frame_due[wanted->layer] = true;
      } else if (std::holds_alternative<Refused>(*output)) {
        ++p.refused;
      } else if (const auto* written = std::get_if<Written>(&*output)) {
        const Person* const from = owner(written->who);
        p.read.push_back((from ? from->name : "?") + ": " + written->text);
      } else if (const auto* frame = std::get_if<Frame>(&*output)) {
        take(p, *frame);
      }
    }
    for (std::size_t leg = 0; leg < 2; ++leg)
      if (SendQueue* const queue = p.participant->queue(static_cast<Leg>(leg))) {
        for (const OutgoingDatagram& datagram : queue->datagrams()) {
          EXPECT_LE(datagram.bytes.size(), 1200U);
          if (leg == 0) check_number(p, datagram.bytes);
          p.bytes_up[leg] += datagram.bytes.size() + below_rtp;
          p.up[leg]->handle_datagram(now_, datagram.bytes);
        }
        queue->clear();
      }
  }

  // RFC 3711 s.9.1: one index, one packet.
  static void check_number(Person& p, ByteView datagram) {
    if (datagram.size() < 12 || datagram[0] >> 6 != 2 || (datagram[1] >= 192 && datagram[1] < 224)) return; // no RTP (RFC 5761 s.4)
    if (p.sent_by != p.participant->sender()) p.sent.clear();
    p.sent_by = p.participant->sender();
    std::uint64_t number = 0;
    for (const std::size_t at : {8, 9, 10, 11, 2, 3}) number = number << 8 | datagram[at];
    const std::size_t hash = std::hash<std::string_view>{}(as_text(datagram));
    EXPECT_EQ(p.sent.try_emplace(number, hash).first->second, hash) << p.name << " sent two packets under one number";
  }

  // To one receiver a stream's numbers never leap, whatever is behind it; and all packets together are counted without a hole, or else the estimate takes one for a loss.
  static void check_down(Person& p, ByteView datagram) {
    if (datagram.size() < 12 || datagram[0] >> 6 != 2 || (datagram[1] >= 192 && datagram[1] < 224)) return;
    if (p.numbered_for != p.participant->receiver()) {
      p.sequence_down.clear();
      p.transport_sequence_down.reset();
    }
    p.numbered_for = p.participant->receiver();
    ByteReader in(datagram);
    const auto first = *in.u16();
    const auto sequence = *in.u16();
    static_cast<void>(in.u32());
    const auto [before, fresh] = p.sequence_down.try_emplace(*in.u32(), sequence);
    constexpr int most = 8'000; // what is lost on the way up keeps its numbers: an outage's
    const int leap = static_cast<std::int16_t>(sequence - before->second);
    EXPECT_LE(std::abs(leap), most) << "to " << p.name << ", " << before->first;
    if (leap > 0) before->second = sequence;
    if ((first & 0x1000) == 0 || *in.u16() != 0xbede) return; // RFC 8285 s.4.2
    for (auto left = *in.u16() * 4; left > 0;) {
      const std::uint8_t head = *in.u8();
      --left;
      if (head == 0) continue;
      const auto value = *in.bytes((head & 0xf) + 1U);
      left -= static_cast<int>(value.size());
      if (head >> 4 != signaling::slot_transport_cc_extension) continue;
      const auto number = static_cast<std::uint16_t>(value[0] << 8 | value[1]);
      const int step = static_cast<std::int16_t>(number - p.transport_sequence_down.value_or(static_cast<std::uint16_t>(number - 1)));
      EXPECT_LE(step, 1) << "to " << p.name;
      EXPECT_GE(step, -1'000) << "to " << p.name; // sound that is sent again
      if (step > 0) p.transport_sequence_down = number;
    }
  }

  void take(Person& p, const Frame& frame) {
    const Person* const from = owner(frame.who);
    ASSERT_TRUE(from != nullptr || !frame.payload.empty());
    std::string name = from ? from->name : "";
    if (!from)
      for (const auto& entry : p.epochs.back().roster)
        if (entry.who == frame.who) name = entry.profile.name;
    ByteReader in(frame.payload);
    const std::uint64_t number = *in.u64();
    const TimePoint made{Duration(static_cast<std::int64_t>(*in.u64()))};
    std::optional<std::size_t> layer;
    const std::size_t told_layer = *in.u8();
    if (!signaling::is_audio(frame.source)) {
      const std::size_t layers = from ? from->layers : 1;
      if (!from || from->adapts) layer = told_layer;
      for (std::size_t i = 0; i < layers; ++i)
        if (frame.payload.size() == (frame.key_frame ? key_frame_size : delta_frame_size) >> 2 * (layers - 1 - i)) layer = i;
      EXPECT_TRUE(layer) << frame.payload.size();
    }
    for (const std::uint8_t byte : in.rest()) {
      if (byte == 0x5a) continue;
      ADD_FAILURE() << "a frame arrived that nobody sent";
      break;
    }
    Received& r = p.received[{name, frame.source}];
    r.bytes += frame.payload.size();
    r.key_frames += frame.key_frame ? 1 : 0;
    if (layer) {
      ++r.layers[*layer];
      r.layer = *layer;
    }
    if (r.frames > 0 && number > r.last_number) r.missing += number - r.last_number - 1;
    if (r.last_at) r.longest_gap = std::max(r.longest_gap, now_ - *r.last_at);
    if (frame.key_frame || (r.shown && number == *r.shown + 1)) {
      if (r.shown_at) r.longest_freeze = std::max(r.longest_freeze, now_ - *r.shown_at);
      r.shown_at = now_;
      ++r.shown_frames;
      r.shown = number;
      r.shown_made = made;
    }
    if (!r.first_at) r.first_at = now_;
    r.longest_delay = std::max(r.longest_delay, now_ - made);
    r.last_at = now_;
    r.last_number = std::max(r.last_number, number);
    ++r.frames;
  }

  void disconnect(Person& p) {
    if (!p.connection) return;
    // What was sent before still arrives.
    p.signal_up->handle_timeout(now_ + 1s);
    while (const auto out = p.signal_up->poll_output())
      if ((*out)[0] == 0) service_.handle_frame(now_, *p.connection, out->subspan(1));
    owners_.erase(*p.connection);
    service_.handle_disconnected(now_, *p.connection);
    p.connection.reset();
    p.signal_down = std::make_unique<impairment::Link>(*impairment::Schedule::parse("delay=10ms", impairment::Direction::up), 1, now_, impairment::Link::Kind::stream);
  }

  std::uint64_t seed_;
  SeededRandom random_;
  sfu::Limits limits_;
  TimePoint now_{Duration(1'000'000)};
  dtls::Context server_dtls_, client_dtls_;
  delivery::MemoryStore store_;
  delivery::MlsGroupGateFactory gates_;
  delivery::DeliveryService service_;
  std::optional<sfu::Sfu> sfu_;
  std::vector<std::unique_ptr<Person>> people_;
  std::uint64_t people_made_ = 0;
  std::map<delivery::ConnectionId, Person*> owners_;
  delivery::ConnectionId last_connection_ = 0;
  std::map<IncarnationId, bool> known_, members_;
  std::uint64_t steps_ = 0;
};

} // namespace satsuma::participant::test
