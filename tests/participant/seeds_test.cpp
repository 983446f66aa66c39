// Whole calls in bad weather, from seeds: participants, delivery service and forwarding unit with real ICE, DTLS, SRTP, MLS and frames, in virtual time.
// $SATSUMA_MEDIA_SEEDS of them (default 6) from $SATSUMA_MEDIA_FIRST on (default 1). What a seed decides is the people, the networks and the troubles; DTLS
// brings its own randomness, so two runs of a seed are alike, but not to the byte.
#include <cstdlib>

#include "world.h"

namespace satsuma::participant::test {
namespace {

struct Dice {
  SeededRandom random;
  std::uint64_t below(std::uint64_t bound) { return (random.u64() >> 16) % bound; }
  std::uint64_t between(std::uint64_t least, std::uint64_t most) { return least + below(most - least + 1); }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
};

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

const std::vector<LayerRates> three_sizes{{30'000, 100'000}, {100'000, 300'000}, {250'000, 1'200'000}};

/// Of one person, both directions.
struct Network {
  std::string text;
  std::optional<std::int64_t> rate; ///< that it has all the time
};

Network network(Dice& dice) {
  Network out;
  std::string& text = out.text;
  text = "delay=" + std::to_string(dice.between(2, 120)) + "ms";
  if (dice.one_in(2)) text += " jitter=" + std::to_string(dice.between(1, 40)) + "ms";
  if (dice.one_in(2)) text += " loss=" + std::to_string(dice.between(1, 12)) + "% burst=" + std::to_string(dice.between(1, 5));
  if (dice.one_in(3)) text += " reorder=" + std::to_string(dice.between(1, 5)) + "%";
  if (dice.one_in(3)) text += " duplicate=" + std::to_string(dice.between(1, 10)) + "%";
  if (dice.one_in(3)) {
    out.rate = static_cast<std::int64_t>(dice.between(300, 2000)) * 1000;
    text += " rate=" + std::to_string(*out.rate / 1000) + "k";
    if (dice.one_in(3)) text += " queue=" + std::to_string(dice.between(50, 1500)) + "ms";
    if (dice.one_in(3)) { // narrow for a while
      text += " " + std::to_string(dice.between(2000, 4000)) + "ms rate=" + std::to_string(dice.between(60, 300)) + "k " + std::to_string(dice.between(5000, 9000)) +
              "ms rate=" + std::to_string(*out.rate / 1000) + "k";
      out.rate.reset();
    }
  } else if (dice.one_in(3)) {
    text += " " + std::to_string(dice.between(1500, 4000)) + "ms outage=on " + std::to_string(dice.between(4500, 9000)) + "ms outage=off";
  }
  return out;
}

/// Faults of all seeds together: one that never happens tests nothing.
struct Troubles {
  std::uint64_t joins = 0, leaves = 0, crashes = 0, moves = 0, cuts = 0, deaf = 0, views = 0;
  std::uint64_t adapting = 0, smaller = 0, paths = 0; ///< people; spells without their largest picture; windows of a path with a rate that was not exceeded
  double most_of_a_path = 0;
  impairment::Link::Counters links;
};

class SeededCall {
 public:
  SeededCall(std::uint64_t seed, Troubles& troubles) : dice_{SeededRandom(seed * 6364136223846793005U)}, world_(seed), troubles_(troubles) {}

  void run() {
    const std::uint64_t people = dice_.one_in(8) ? dice_.between(6, 9) : dice_.between(2, 4);
    for (std::uint64_t i = 0; i < people; ++i) arrive();
    const TimePoint end = world_.now() + std::chrono::milliseconds(dice_.between(4'000, 12'000));
    while (world_.now() < end) {
      watch(std::chrono::milliseconds(dice_.between(200, 3'000)));
      trouble();
    }
    good_weather();
  }

 private:
  /// Of one direction of a path that has a rate and whose sender follows it.
  struct Watched {
    World::Person* person;
    bool up;
    std::int64_t rate;
    TimePoint since;
    std::deque<std::uint64_t> bytes; ///< so many every slice
  };
  static constexpr Duration slice = 100ms;

  void arrive() {
    std::vector<Source> sources;
    if (!dice_.one_in(4)) sources.push_back(Source::microphone);
    if (!dice_.one_in(3)) sources.push_back(Source::camera);
    const bool adapts = dice_.one_in(2) && !sources.empty() && sources.back() == Source::camera;
    const Network path = network(dice_);
    World::Person& person = world_.add("P" + std::to_string(world_.people().size()), sources, path.text, adapts ? three_sizes.size() : 1,
                                       adapts ? three_sizes : std::vector<LayerRates>());
    if (adapts) ++troubles_.adapting;
    if (!path.rate) return;
    if (adapts) watched_.push_back({&person, true, *path.rate, world_.now(), {}});
    watched_.push_back({&person, false, *path.rate, world_.now(), {}});
  }
  /// Goes on, and looks at what has a bound.
  void watch(Duration duration) {
    const TimePoint end = world_.now() + duration;
    while (world_.now() < end) {
      world_.run(std::min(slice, end - world_.now()));
      for (const auto& person : world_.people()) {
        if (person->closed || person->participant->sender() == nullptr) continue;
        const MediaSender& sender = *person->participant->sender();
        EXPECT_LE(sender.waiting_bytes(), max_waiting_bytes) << person->name;
        EXPECT_LE(sender.waiting_repetitions(), max_waiting_repetitions) << person->name;
        if (person->adapts && person->participant->target(Source::camera, 2) == 0) ++troubles_.smaller;
      }
      for (Watched& path : watched_) watch(path);
    }
  }
  /// What is given to a path for three seconds is not much more than it carries, once its sender had as long to learn of it.
  void watch(Watched& path) {
    const World::Person& p = *path.person;
    if (p.closed || !p.participant->connected(path.up ? Leg::publish : Leg::subscribe)) {
      path.since = world_.now();
      path.bytes.clear();
    }
    if (world_.now() - path.since < 3s) return;
    path.bytes.push_back(path.up ? p.bytes_up[0] : p.bytes_down[1]);
    constexpr std::size_t window = 30;
    if (path.bytes.size() <= window) return;
    const double share = static_cast<double>(path.bytes.back() - path.bytes.front()) * 8 / 3 / static_cast<double>(path.rate);
    path.bytes.pop_front();
    ++troubles_.paths;
    troubles_.most_of_a_path = std::max(troubles_.most_of_a_path, share);
    // Sound is never held back, and that of many is more than a narrow path carries.
    std::int64_t sound = 0;
    for (const auto& other : world_.people())
      if (!path.up && other.get() != &p && !other->closed && other->sends_audio) sound += sound_bitrate;
    EXPECT_LE(share, most_of_a_path + static_cast<double>(sound) / static_cast<double>(path.rate)) << p.name << (path.up ? " up, of " : " down, of ") << path.rate << " at " << world_.now().time_since_epoch() / 1ms;
  }
  void begin_anew(const World::Person& person) {
    for (Watched& path : watched_) {
      if (path.person != &person) continue;
      path.since = world_.now();
      path.bytes.clear();
    }
  }
  World::Person* anyone() {
    std::vector<World::Person*> here;
    for (const auto& person : world_.people()) {
      if (!person->closed) here.push_back(person.get());
    }
    return here.empty() ? nullptr : here[dice_.below(here.size())];
  }
  void trouble() {
    World::Person* person = anyone();
    if (person == nullptr || world_.people().size() > 14) return;
    switch (dice_.below(7)) {
      case 0: ++troubles_.joins; return arrive();
      case 1: ++troubles_.leaves; return world_.leave(*person);
      case 2: ++troubles_.crashes; return world_.crash(*person);
      case 3: ++troubles_.moves; begin_anew(*person); return world_.move(*person);
      case 4: ++troubles_.cuts; keys_in_time_ = false; return world_.cut(*person);
      case 5: ++troubles_.views; return look(*person);
      default: // nothing comes from the server for a while, its key changes neither
        ++troubles_.deaf;
        keys_in_time_ = false;
        person->hears_server = false;
        watch(std::chrono::milliseconds(dice_.between(100, 6'000)));
        person->hears_server = true;
    }
  }
  /// Some tiles become smaller, some larger, some are not shown.
  void look(World::Person& person) {
    signaling::View view;
    for (const signaling::Slot& slot : person.participant->slots())
      if (!signaling::is_audio(slot.source) && !dice_.one_in(4)) view.tiles.push_back({slot.mid, std::nullopt, Source::camera, static_cast<std::uint32_t>(dice_.between(60, 1000))});
    person.participant->set_view(view);
  }
  /// Everything, large.
  void look_at_all() {
    for (const auto& person : world_.people()) {
      if (person->closed) continue;
      signaling::View view;
      for (const auto& other : world_.people())
        if (other != person && !other->closed && other->sends_video) view.tiles.push_back({"", other->participant->session().incarnation(), Source::camera, 720});
      person->participant->set_view(view);
    }
  }

  /// For the eye: what stands still, and where.
  std::string who_misses_whom() const {
    std::string out;
    for (const auto& to : world_.people()) {
      if (to->closed) continue;
      if (!to->participant->connected(Leg::subscribe)) out += to->name + " has no connection to receive with; ";
      for (const auto& from : world_.people()) {
        if (from == to || from->closed) continue;
        for (const auto& [sends, source] : {std::pair(from->sends_video, Source::camera), std::pair(from->sends_audio, Source::microphone)}) {
          if (!sends || to->received.contains({from->name, source})) continue;
          out += to->name + " has no " + std::string(signaling::source_name(source)) + " of " + from->name + (from->adapts ? " (adapts" : " (");
          if (from->participant->sender() != nullptr && source == Source::camera) {
            const auto& sender = *from->participant->sender();
            out += ", " + std::to_string(sender.available().value_or(-1)) + " bit/s";
            for (std::size_t layer = 0; layer < from->layers; ++layer)
              out += ", " + std::to_string(layer) + (from->participant->wanted(source, layer) ? " wanted" : "") + " target " +
                     std::to_string(from->participant->target(source, layer).value_or(-1)) + " sent " + std::to_string(from->layers_sent[layer]);
          }
          out += "); ";
        }
      }
    }
    return out;
  }

  void good_weather() {
    for (const auto& person : world_.people()) {
      for (std::size_t leg = 0; leg < 2; ++leg) {
        for (const auto* link : {person->up[leg].get(), person->down[leg].get()}) {
          troubles_.links.lost += link->counters().lost;
          troubles_.links.cut += link->counters().cut;
          troubles_.links.queue_full += link->counters().queue_full;
          troubles_.links.duplicated += link->counters().duplicated;
          troubles_.links.reordered += link->counters().reordered;
        }
      }
      world_.set_network(*person, "delay=15ms");
    }
    // Connections that were given up are made again, who is gone is found out: ten seconds each, and a retry.
    look_at_all();
    world_.run(15s);
    look_at_all(); // some have come as another since
    world_.run(10s);
    for (const auto& person : world_.people()) person->received.clear();
    const auto took = world_.until([&] { return world_.all_receive_all(); }, 10s);
    ASSERT_TRUE(took) << "not everybody receives everybody: " << who_misses_whom();
    world_.run(1s);
    std::map<const World::Person*, FrameCounters> before;
    for (const auto& person : world_.people()) {
      before[person.get()] = person->participant->frames();
      person->received.clear();
    }
    world_.run(3s);
    std::set<std::string> digits;
    for (const auto& person : world_.people()) {
      if (person->closed) continue;
      const FrameCounters& frames = person->participant->frames();
      EXPECT_EQ(frames.undecryptable, before[person.get()].undecryptable) << person->name;
      EXPECT_EQ(frames.refused, before[person.get()].refused) << person->name;
      if (keys_in_time_) {
        EXPECT_EQ(frames.undecryptable, 0u) << person->name << " had every key in time";
      }
      if (person->adapts && person->participant->wanted(Source::camera, 2)) {
        EXPECT_EQ(person->participant->target(Source::camera, 2), three_sizes[2].most) << person->name;
      }
      digits.insert(person->epochs.back().safety_number.digits);
      for (const auto& [from, received] : person->received) {
        EXPECT_EQ(received.missing, 0u) << person->name << " from " << from.first;
        EXPECT_GE(received.frames, signaling::is_audio(from.second) ? 147u : 87u) << person->name << " from " << from.first;
      }
    }
    EXPECT_LE(digits.size(), 1u);
  }

  /// At first a queue may hold what was sent before the path was known, and a probe asks for twice as much.
  static constexpr double most_of_a_path = 1.5;
  static constexpr std::int64_t sound_bitrate = 85'000; ///< with all headers

  Dice dice_;
  World world_;
  Troubles& troubles_;
  std::vector<Watched> watched_;
  bool keys_in_time_ = true; ///< nobody was cut off from the server's messages
};

TEST(WholeCalls, ComeThroughBadWeatherWithEverybodySeeingAndHearingEverybody) {
  const std::uint64_t first = number_from("SATSUMA_MEDIA_FIRST", 1), seeds = number_from("SATSUMA_MEDIA_SEEDS", 6);
  Troubles troubles;
  for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
    const int failures = ::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
    SeededCall(seed, troubles).run();
    if (::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count() > failures) {
      ADD_FAILURE() << "seed " << seed << ": SATSUMA_MEDIA_FIRST=" << seed << " SATSUMA_MEDIA_SEEDS=1 build/release/tests/participant/participant_seeds_test";
    }
  }
  const std::array<std::pair<const char*, std::uint64_t>, 15> all{{{"joins", troubles.joins},
                                                                   {"leaves", troubles.leaves},
                                                                   {"crashes", troubles.crashes},
                                                                   {"changes of address", troubles.moves},
                                                                   {"cuts", troubles.cuts},
                                                                   {"deaf spells", troubles.deaf},
                                                                   {"views", troubles.views},
                                                                   {"who adapt", troubles.adapting},
                                                                   {"tenths of a second with a smaller picture", troubles.smaller},
                                                                   {"looks at a path's rate", troubles.paths},
                                                                   {"lost", troubles.links.lost},
                                                                   {"in outages", troubles.links.cut},
                                                                   {"queue full", troubles.links.queue_full},
                                                                   {"duplicated", troubles.links.duplicated},
                                                                   {"reordered", troubles.links.reordered}}};
  for (const auto& [name, count] : all) {
    std::printf("%s %llu, ", name, static_cast<unsigned long long>(count));
    if (seeds >= 12) {
      EXPECT_GT(count, 0u) << name << " never happened";
    }
  }
  std::printf("at most %.2f of a path for three seconds, %llu seeds\n", troubles.most_of_a_path, static_cast<unsigned long long>(seeds));
}

/// Where the path is cut.
enum class Cut { publisher, subscriber };

/// How long after the end of the blackout the first picture is shown that was sent after it.
std::optional<Duration> back_after(Cut cut, std::uint64_t seed, const std::string& network, std::size_t layers) {
  World world(seed);
  World::Person& sender = world.add("Ada", {Source::microphone, Source::camera}, network, layers);
  sender.deaf_to_requests = 300ms;
  World::Person& reader = world.add("Bo", {Source::microphone}, network);
  if (!world.until([&] { return world.all_receive_all(); })) return std::nullopt;
  world.run(5s);
  // As much as it was under way is lost too.
  const Duration length = 1500ms + seed * 60ms; // layers are chosen every 200 ms
  world.set_network(cut == Cut::publisher ? sender : reader, network + " outage=on " + std::to_string(length / 1ms) + "ms outage=off");
  world.run(length);
  const TimePoint end = world.now();
  World::Received& seen = reader.received.at({"Ada", Source::camera});
  return world.until([&] { return seen.shown_made >= end; }, 10s);
}

TEST(Blackouts, OfASecondAndAHalfEndWithThePictureBackWithinAFifthOfASecond) {
  for (const Cut cut : {Cut::publisher, Cut::subscriber}) {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
      const std::string network = "delay=" + std::to_string(2 + seed * 3) + "ms";
      for (const std::size_t layers : {1, 3}) {
        const auto took = back_after(cut, seed, network, layers);
        ASSERT_TRUE(took) << network;
        EXPECT_LE(*took, 200ms) << (cut == Cut::publisher ? "publisher, " : "subscriber, ") << network << ", layers " << layers;
      }
    }
  }
}

TEST(Blackouts, OfTwoThatEndOneAfterTheOtherTheSecondIsNotLeftToAPublisherThatDoesNotListenYet) {
  for (const Duration later : {110ms, 150ms, 200ms, 280ms}) {
    SCOPED_TRACE(later / 1ms);
    World world(3);
    World::Person& sender = world.add("Ada", {Source::microphone, Source::camera});
    World::Person& first = world.add("Bo", {Source::microphone});
    World::Person& second = world.add("Cy", {Source::microphone});
    sender.deaf_to_requests = 300ms;
    ASSERT_TRUE(world.until([&] { return world.all_receive_all(); }));
    world.run(5s);
    const auto outage = [](Duration length) { return "delay=10ms outage=on " + std::to_string(length / 1ms) + "ms outage=off"; };
    world.set_network(first, outage(1500ms));
    world.set_network(second, outage(1500ms + later));
    world.run(1500ms + later);
    const int asked = sender.key_frames_asked;
    const TimePoint end = world.now();
    World::Received& seen = second.received.at({"Ada", Source::camera});
    const auto took = world.until([&] { return seen.shown_made >= end; }, 10s);
    ASSERT_TRUE(took);
    // It listens again 300 ms after it heard the first one's request.
    EXPECT_LE(*took, 520ms - later);
    EXPECT_LE(sender.key_frames_asked - asked, 2);
  }
}

TEST(Blackouts, APublisherThatHearsTheFirstRequestAndMakesNoKeyFrameIsAskedAgainAsSoonAsItListens) {
  World world(4);
  World::Person& sender = world.add("Ada", {Source::microphone, Source::camera});
  World::Person& reader = world.add("Bo", {Source::microphone});
  sender.deaf_to_requests = 300ms;
  ASSERT_TRUE(world.until([&] { return world.all_receive_all(); }));
  world.run(5s);
  std::optional<Duration> took;
  for (const int ignores : {0, 1}) { // how long it takes to answer is known then
    world.set_network(sender, "delay=10ms outage=on 1500ms outage=off");
    sender.ignores_key_frames = ignores;
    world.run(1500ms);
    const TimePoint end = world.now();
    World::Received& seen = reader.received.at({"Ada", Source::camera});
    took = world.until([&] { return seen.shown_made >= end; }, 10s);
    ASSERT_TRUE(took);
    world.run(3s);
  }
  EXPECT_EQ(sender.ignores_key_frames, 0);
  EXPECT_LE(*took, 500ms);
}

} // namespace
} // namespace satsuma::participant::test
