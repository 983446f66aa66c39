// Frames while people come and go all the time: real sessions, a real delivery service, a network that delays and reorders, virtual time.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "world.h"

namespace satsuma::call {
namespace {

using test::World;
using Person = World::Person;
using namespace std::chrono_literals;

// The sanitizers' build (clang) takes ten times as long for each.
#if defined(__clang__)
constexpr int divisor = 10;
#else
constexpr int divisor = 1;
#endif

/// Sound and picture of those who were told to send, to everybody else, over paths that lose nothing.
class Media {
 public:
  static constexpr Duration hold = 1s; ///< as long as the browser core keeps a frame whose key is on the way

  Media(World& world, Duration least_delay, Duration most_delay, std::uint32_t seed)
      : world_(&world), least_(least_delay), most_(most_delay), random_(seed) {}

  void start(Person& person) { senders_.push_back({&person, world_->now(), world_->now()}); }
  void stop(const Person& person) { std::erase_if(senders_, [&](const Source& s) { return s.person == &person; }); }
  void listen(Person& person) { listeners_.push_back(&person); }
  void stop_listening(const Person& person) {
    std::erase(listeners_, &person);
    std::erase_if(under_way_, [&](const auto& entry) { return entry.second.to == &person; });
    std::erase_if(held_, [&](const Packet& packet) { return packet.to == &person; });
  }

  void step() {
    const TimePoint now = world_->now();
    for (Source& source : senders_) {
      for (; source.audio <= now; source.audio += 20ms) send(source, StreamContext::microphone, sframe::Shell::none, 60);
      for (; source.video <= now; source.video += 33ms) send(source, StreamContext::camera, sframe::Shell::vp8_delta, 300);
    }
    std::vector<Packet> again = std::exchange(held_, {});
    for (Packet& packet : again) deliver(std::move(packet), now);
    while (!under_way_.empty() && under_way_.begin()->first <= now) {
      Packet packet = std::move(under_way_.begin()->second);
      under_way_.erase(under_way_.begin());
      packet.arrived = now;
      deliver(std::move(packet), now);
    }
  }

  int sent = 0;     ///< frames, each once
  int received = 0; ///< copies that were decrypted
  int waited = 0;   ///< of these, held for their key
  int lost = 0;     ///< copies that were not: what would make a receiver ask for a key frame
  int unsent = 0;   ///< no key to send with
  std::string first_loss;

 private:
  struct Source {
    Person* person;
    TimePoint audio, video;
  };
  struct Packet {
    Person* to;
    Bytes frame;
    sframe::ShellKind shell;
    bool before_entry; ///< in an epoch that the receiver was not in
    TimePoint arrived{};
    bool was_held = false;
  };

  void send(Source& source, StreamContext context, sframe::Shell shell, std::size_t size) {
    const Bytes plain(size, 0x5a);
    Bytes out(ClientSession::max_protected_size(shell, size));
    const auto frame = source.person->session->protect(world_->now(), context, shell, plain, out);
    if (!frame) {
      ++unsent;
      return;
    }
    ++sent;
    EXPECT_TRUE(seen_.insert(to_bytes(frame->first(24))).second) << "a key id and counter came twice, or a key";
    const auto kind = shell == sframe::Shell::none ? sframe::ShellKind::none : sframe::ShellKind::video;
    const auto id = KeyId::from(sframe::parse_frame_header(sframe::open_shell(kind, *frame).value()).value().key_id).value();
    // In which epoch it was sent: the present one of the sender or one shortly before.
    const std::uint64_t present = source.person->epochs.back().epoch;
    const std::uint64_t epoch = present - static_cast<std::uint8_t>(present - id.epoch_mod_256);
    for (Person* listener : listeners_) {
      if (listener == source.person) continue;
      Packet packet{listener, to_bytes(*frame), kind, listener->epochs.front().epoch > epoch};
      under_way_.emplace(world_->now() + delay(), std::move(packet));
    }
  }

  Duration delay() { return Duration(std::uniform_int_distribution<Duration::rep>(least_.count(), most_.count())(random_)); }

  void deliver(Packet packet, TimePoint now) {
    Bytes out(packet.frame.size());
    Line line{Bytes(32, 1)};
    const auto opened = packet.to->session->unprotect(now, line, packet.shell, packet.frame, out);
    if (opened) {
      ++received;
      waited += packet.was_held;
    } else if (opened.error() == Error(frame_key_not_yet) && now < packet.arrived + hold) {
      packet.was_held = true;
      held_.push_back(std::move(packet));
    } else if (!packet.before_entry) {
      ++lost;
      if (first_loss.empty()) first_loss = packet.to->name + ": " + std::string(opened.error().name());
    }
  }

  World* world_;
  Duration least_, most_;
  std::mt19937 random_;
  std::vector<Source> senders_;
  std::vector<Person*> listeners_;
  std::multimap<TimePoint, Packet> under_way_;
  std::vector<Packet> held_;
  std::set<Bytes> seen_;
};

struct Churn {
  int changes;
  Duration between;          ///< two changes
  Duration least, most;      ///< delay of media
  std::uint32_t seed;
};

class MembershipChanges : public testing::TestWithParam<Churn> {};
INSTANTIATE_TEST_SUITE_P(Call, MembershipChanges,
                         testing::Values(Churn{1000, 250ms, 5ms, 120ms, 1}, Churn{300, 90ms, 20ms, 400ms, 2}),
                         [](const auto& param) { return "Every" + std::to_string(param.param.between / 1ms) + "Milliseconds"; });

TEST_P(MembershipChanges, LoseNoFrameOfPictureOrSound) {
  const Churn churn = GetParam();
  const int membership_changes = churn.changes / divisor;
  World world;
  Media media(world, churn.least, churn.most, churn.seed);
  std::mt19937 random(churn.seed);
  Person& ada = world.add("Ada");
  Person& bo = world.add("Bo");
  bo.delay = 150ms; // a path to the server that is far slower than the others'
  ASSERT_TRUE(world.until([&] { return ada.roster_size() == 2 && bo.roster_size() == 2; }, 10s));
  for (Person* person : {&ada, &bo}) {
    media.start(*person);
    media.listen(*person);
  }

  // Of those who stay: each is to confirm the other's streams soon, and never to doubt them.
  const auto judged = [](const Person& person, StreamVerdict verdict, std::uint32_t leaf) {
    std::set<StreamContext> contexts;
    for (const StreamEvent& event : person.all<StreamEvent>()) {
      if (event.judgement.verdict == verdict && event.judgement.leaf == leaf) contexts.insert(event.judgement.context);
    }
    return contexts.size();
  };

  std::vector<Person*> guests;
  std::set<Person*> listening;
  TimePoint next = world.now();
  const auto changes = [&] { return static_cast<int>(ada.epochs.back().epoch); };
  const TimePoint limit = world.now() + 4 * membership_changes * churn.between + 60s;
  while (changes() < membership_changes && world.now() < limit) {
    if (world.now() >= next) {
      next += churn.between;
      if (guests.size() < 2 || (guests.size() < 5 && random() % 2 == 0)) {
        guests.push_back(&world.add("Guest"));
      } else {
        Person* leaving = guests[random() % guests.size()];
        std::erase(guests, leaving);
        listening.erase(leaving);
        media.stop(*leaving);
        media.stop_listening(*leaving);
        leaving->session->leave(world.now());
        world.pump_now();
      }
    }
    for (Person* guest : guests) { // guests take part as soon as they are in
      if (!guest->in() || !listening.insert(guest).second) continue;
      media.listen(*guest);
      media.start(*guest);
    }
    world.run(5ms);
    media.step();
  }
  for (int i = 0; i < 300; ++i) {
    world.run(5ms);
    media.step();
  }

  EXPECT_GE(changes(), membership_changes);
  EXPECT_GT(media.sent, 40 * membership_changes * (churn.between / 1ms) / 1000);
  EXPECT_GT(media.received, media.sent);
  EXPECT_EQ(media.lost, 0) << media.first_loss;
  EXPECT_EQ(media.unsent, 0);
  EXPECT_GT(media.waited, 0) << "no frame was ahead of its key: the network is too kind to show anything";
  for (const auto& [person, other] : {std::pair{&ada, 1u}, std::pair{&bo, 0u}}) {
    EXPECT_EQ(judged(*person, StreamVerdict::confirmed, other), 2u) << person->name;
    EXPECT_EQ(judged(*person, StreamVerdict::forged, other), 0u) << person->name;
    EXPECT_EQ(judged(*person, StreamVerdict::unconfirmed, other), 0u) << person->name;
  }
  std::printf("%d changes, %d frames sent, %d received, %d of them waited for their key, %d lost\n", changes(), media.sent, media.received,
              media.waited, media.lost);
}

} // namespace
} // namespace satsuma::call
