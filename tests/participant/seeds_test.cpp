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

/// Of one person, both directions.
std::string network(Dice& dice) {
  std::string text = "delay=" + std::to_string(dice.between(2, 120)) + "ms";
  if (dice.one_in(2)) text += " jitter=" + std::to_string(dice.between(1, 40)) + "ms";
  if (dice.one_in(2)) text += " loss=" + std::to_string(dice.between(1, 12)) + "% burst=" + std::to_string(dice.between(1, 5));
  if (dice.one_in(3)) text += " reorder=" + std::to_string(dice.between(1, 5)) + "%";
  if (dice.one_in(3)) text += " duplicate=" + std::to_string(dice.between(1, 10)) + "%";
  if (dice.one_in(4)) text += " rate=" + std::to_string(dice.between(300, 2000)) + "k";
  if (dice.one_in(4)) text += " " + std::to_string(dice.between(1500, 4000)) + "ms outage=on " + std::to_string(dice.between(4500, 9000)) + "ms outage=off";
  return text;
}

/// Faults of all seeds together: one that never happens tests nothing.
struct Troubles {
  std::uint64_t joins = 0, leaves = 0, crashes = 0, moves = 0, cuts = 0, deaf = 0;
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
      world_.run(std::chrono::milliseconds(dice_.between(200, 3'000)));
      trouble();
    }
    good_weather();
  }

 private:
  void arrive() {
    std::vector<Source> sources;
    if (!dice_.one_in(4)) sources.push_back(Source::microphone);
    if (!dice_.one_in(3)) sources.push_back(Source::camera);
    world_.add("P" + std::to_string(world_.people().size()), sources, network(dice_));
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
    switch (dice_.below(6)) {
      case 0: ++troubles_.joins; return arrive();
      case 1: ++troubles_.leaves; return world_.leave(*person);
      case 2: ++troubles_.crashes; return world_.crash(*person);
      case 3: ++troubles_.moves; return world_.move(*person);
      case 4: ++troubles_.cuts; return world_.cut(*person);
      default: // nothing comes from the server for a while, its key changes neither
        ++troubles_.deaf;
        person->hears_server = false;
        world_.run(std::chrono::milliseconds(dice_.between(100, 6'000)));
        person->hears_server = true;
    }
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
    world_.run(25s);
    for (const auto& person : world_.people()) person->received.clear();
    const auto took = world_.until([&] { return world_.all_receive_all(); }, 10s);
    ASSERT_TRUE(took) << "not everybody receives everybody";
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
      digits.insert(person->epochs.back().safety_number.digits);
      for (const auto& [from, received] : person->received) {
        EXPECT_EQ(received.missing, 0u) << person->name << " from " << from.first;
        EXPECT_GE(received.frames, signaling::is_audio(from.second) ? 147u : 87u) << person->name << " from " << from.first;
      }
    }
    EXPECT_LE(digits.size(), 1u);
  }

  Dice dice_;
  World world_;
  Troubles& troubles_;
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
  const std::array<std::pair<const char*, std::uint64_t>, 11> all{{{"joins", troubles.joins},
                                                                   {"leaves", troubles.leaves},
                                                                   {"crashes", troubles.crashes},
                                                                   {"changes of address", troubles.moves},
                                                                   {"cuts", troubles.cuts},
                                                                   {"deaf spells", troubles.deaf},
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
  std::printf("%llu seeds\n", static_cast<unsigned long long>(seeds));
}

/// Where the path is cut.
enum class Cut { publisher, subscriber };

/// How long after the end of the blackout the first picture is shown that was sent after it.
std::optional<Duration> back_after(Cut cut, std::uint64_t seed, const std::string& network) {
  World world(seed);
  World::Person& sender = world.add("Ada", {Source::microphone, Source::camera}, network);
  World::Person& reader = world.add("Bo", {Source::microphone}, network);
  if (!world.until([&] { return world.all_receive_all(); })) return std::nullopt;
  world.run(5s);
  // As much as it was under way is lost too.
  world.set_network(cut == Cut::publisher ? sender : reader, network + " outage=on 1500ms outage=off");
  world.run(1500ms);
  const TimePoint end = world.now();
  World::Received& seen = reader.received.at({"Ada", Source::camera});
  return world.until([&] { return seen.shown_made >= end; }, 10s);
}

TEST(Blackouts, OfASecondAndAHalfEndWithThePictureBackWithinAFifthOfASecond) {
  for (const Cut cut : {Cut::publisher, Cut::subscriber}) {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
      const std::string network = "delay=" + std::to_string(2 + seed * 3) + "ms";
      const auto took = back_after(cut, seed, network);
      ASSERT_TRUE(took) << network;
      EXPECT_LE(*took, 200ms) << (cut == Cut::publisher ? "publisher, " : "subscriber, ") << network;
    }
  }
}

} // namespace
} // namespace satsuma::participant::test
