#include "sim/scenario.h"

#include <algorithm>

#include "sim/oracle.h"

namespace satsuma::sim {

namespace {

/// From the end of the trouble until all agree: the longest patience of the server (30 s after a restart, and 15 s for engines that are
/// silent), the longest pause of a client that was refused again and again, and some round trips.
constexpr Duration recovery = 90s;

struct Plan {
  std::size_t people = 3;
  std::size_t faults = 10;
  Duration duration = 20s;
};

Plan plan_of(Dice& dice) {
  const std::uint64_t size = dice.below(1000);
  Plan plan;
  if (size < 800) {
    plan.people = static_cast<std::size_t>(dice.between(2, 5));
  } else if (size < 980) {
    plan.people = static_cast<std::size_t>(dice.between(6, 10));
  } else if (size < 998) {
    plan.people = static_cast<std::size_t>(dice.between(11, 25));
  } else if (size < 999) {
    plan.people = static_cast<std::size_t>(dice.between(26, 100));
  } else {
    plan.people = static_cast<std::size_t>(dice.between(101, 200));
  }
  plan.faults = static_cast<std::size_t>(dice.between(2, plan.people > 25 ? 8 : 16));
  plan.duration = dice.between(Duration(5s), Duration(40s));
  return plan;
}

class Scenario {
 public:
  Scenario(std::uint64_t seed, const SeedOptions& options) : dice_(seed), founders_(options.founders), plan_(plan_of(dice_)), world_(world_options(seed, options)), oracle_(world_) {
    if (founders_) plan_ = {static_cast<std::size_t>(dice_.between(2, 3)), 24, 5s};
  }

  SeedResult run() {
    populate();
    for (std::size_t i = 0; i < plan_.faults; ++i) {
      world_.at(world_.now() + dice_.between(Duration{}, plan_.duration), [this] { trouble(); });
    }
    world_.run(plan_.duration);
    heal();
    if (!world_.failure() && !world_.until([this] { return disagreement().empty(); }, recovery) && !world_.failure()) world_.fail(disagreement());
    if (!world_.failure()) newcomer();
    if (!world_.failure()) media();
    SeedResult result;
    result.failure = world_.failure();
    result.fingerprint = world_.fingerprint();
    result.steps = world_.steps();
    result.people = world_.people().size();
    result.commits = oracle_.commits();
    result.eras = oracle_.eras();
    result.departures = oracle_.departures();
    result.rejoins = oracle_.rejoins();
    result.weather = world_.weather();
    result.trace = world_.trace();
    return result;
  }

 private:
  WorldOptions world_options(std::uint64_t seed, const SeedOptions& asked) {
    WorldOptions options;
    options.seed = seed;
    options.trace = asked.trace;
    options.only_property = asked.only_property;
    options.delay = dice_.between(Duration(1ms), Duration(120ms));
    // Some rooms renew their keys so often that it meets everything else.
    if (dice_.one_in(4)) {
      options.session.refresh_interval = dice_.between(Duration(3s), Duration(20s));
      options.session.room_refresh_interval = 1s;
    }
    return options;
  }

  Person& arrive() {
    LocalClock clock;
    clock.offset = dice_.between(Duration{}, Duration(100s));
    if (dice_.one_in(3)) clock.parts_per_million = dice_.between(-50'000, 50'000); // far worse than any crystal
    std::uint8_t secret = 1;
    // Knocks without the fragment of the link, and must never get in. (With a wrong one it could begin a group of its own, where nobody is.)
    if (dice_.one_in(25)) secret = 0;
    Person& person = world_.add("P" + std::to_string(world_.people().size()), secret, true, clock, dice_.between(-10 * 3600, 10 * 3600));
    if (dice_.one_in(3)) person.jitter = dice_.between(Duration(1ms), Duration(400ms));
    if (founders_ || dice_.one_in(6)) person.delay = dice_.between(Duration(100ms), Duration(1s));
    return person;
  }

  void populate() {
    const bool all_at_once = founders_ || dice_.one_in(3);
    for (std::size_t i = 0; i < plan_.people; ++i) {
      if (all_at_once) {
        arrive();
      } else {
        world_.at(world_.now() + dice_.between(Duration{}, std::min<Duration>(plan_.duration / 2, 10s)), [this] { arrive(); });
      }
    }
  }

  Person* anyone() {
    std::vector<Person*> up;
    for (const auto& person : world_.people()) {
      if (person->up()) up.push_back(person.get());
    }
    return up.empty() ? nullptr : up[dice_.below(up.size())];
  }
  /// Half of the time whoever would commit next: that is where it hurts.
  Person* victim() {
    if (dice_.one_in(2)) {
      for (const auto& person : world_.people()) {
        if (!person->up() || !person->in()) continue;
        const auto designated = person->session->committer().designated();
        if (designated && designated->who == person->session->incarnation()) return person.get();
      }
    }
    return anyone();
  }

  void trouble() {
    if (founders_) {
      Person* person = anyone();
      if (person == nullptr) return;
      // Before it has read that its own group is the room's, too.
      const bool begins = person->in() || person->session->committer().attempt() == call::Committer::Attempt::in_flight;
      if (begins) world_.leave(*person);
      return;
    }
    const std::uint64_t kind = dice_.below(16);
    if (kind == 0 && world_.server_is_up()) {
      switch (dice_.below(3)) {
        case 0: return world_.store().fail(CrashStore::Fault::unknown_but_written, static_cast<int>(dice_.between(1, 2)));
        case 1: return world_.store().fail(CrashStore::Fault::unknown_and_lost, static_cast<int>(dice_.between(1, 2)));
        default: return world_.store().die_at_next_append();
      }
    }
    if (kind == 1) {
      world_.stop_server();
      world_.at(world_.now() + dice_.between(Duration(50ms), Duration(8s)), [this] { world_.start_server(); });
      return;
    }
    if (kind == 2 || kind == 3) {
      if (world_.people().size() < plan_.people + 12) arrive();
      return;
    }
    Person* person = victim();
    if (person == nullptr) return;
    switch (kind) {
      case 4: return world_.leave(*person);
      case 5: return world_.crash(*person);
      case 6: return world_.crash(*person, true);
      case 7: {
        // A page that is loaded anew: the old one is gone, the person comes back.
        world_.crash(*person, dice_.one_in(2));
        world_.at(world_.now() + dice_.between(Duration(100ms), Duration(5s)), [this] {
          if (!healed_) arrive();
        });
        return;
      }
      case 8: return world_.freeze(*person); // until the end: wedged, or a laptop that stays closed
      case 9:
      case 10: { // asleep for a while
        world_.freeze(*person);
        const bool stood_still = dice_.one_in(2);
        world_.at(world_.now() + dice_.between(Duration(200ms), Duration(25s)), [this, person, stood_still] {
          if (!healed_) world_.thaw(*person, stood_still);
        });
        return;
      }
      case 11:
        world_.cut(*person);
        return world_.reconnect(*person, dice_.between(Duration(1ms), Duration(15s)));
      case 12: return world_.cut_client_first(*person, dice_.between(Duration(1ms), Duration(5s)));
      case 13: return world_.cut_server_first(*person, dice_.between(Duration(1ms), Duration(5s)));
      case 14: return world_.hold_up(*person, dice_.between(Duration(100ms), Duration(25s)));
      default: { // a partition: some of them cannot be reached for a while
        const Duration length = dice_.between(Duration(100ms), Duration(20s));
        world_.count_partition();
        for (const auto& other : world_.people()) {
          if (dice_.one_in(2)) world_.hold_up(*other, length);
        }
        return;
      }
    }
  }

  void heal() {
    world_.note("the trouble ends");
    healed_ = true;
    world_.start_server();
    world_.store().mend();
    for (const auto& person : world_.people()) {
      person->jitter = {};
      person->delay = std::min<Duration>(person->delay, 100ms);
      if (person->frozen && dice_.one_in(2)) world_.thaw(*person, dice_.one_in(2));
    }
    TimePoint through = world_.now();
    for (const auto& person : world_.people()) through = std::max(through, person->unreachable_until);
    world_.run(through - world_.now());
  }

  static bool expected(const Person& person) { return person.up() && person.admissible; }

  /// What keeps the world from being at rest and of one mind; empty when nothing does.
  std::string disagreement() const {
    const delivery::RoomSequencer* room = world_.room();
    std::set<IncarnationId> present;
    const Person* first = nullptr;
    for (const auto& person : world_.people()) {
      if (!expected(*person)) continue;
      if (room != nullptr && person->in() && !room->roster().is_member(person->session->incarnation())) {
        return "OnlyInsiders: " + person->name + " still holds a group that it was taken out of";
      }
      if (!person->in()) return "EachIsAdmitted: " + person->name + " is not admitted";
      present.insert(person->session->incarnation());
      if (first == nullptr) first = person.get();
    }
    if (room != nullptr) {
      for (const auto& waiting : room->roster().snapshot().waiting) {
        const bool up = std::ranges::any_of(world_.people(), [&](const auto& one) { return one->up() && one->session->incarnation() == waiting.who; });
        if (!up) return "EachLeaves: " + waiting.who.hex().substr(0, 8) + " is not up and still waits";
      }
    }
    if (first == nullptr) return {};
    if (room == nullptr) return "InTheEndAllAgree: there is no room";
    const std::set<IncarnationId> members(room->roster().members().begin(), room->roster().members().end());
    for (const IncarnationId& member : members) {
      if (!present.contains(member)) return "EachLeaves: " + member.hex().substr(0, 8) + " is not up and still a member";
    }
    for (const auto& person : world_.people()) {
      if (!expected(*person)) continue;
      if (!world_.connected(*person)) return "InTheEndAllAgree: " + person->name + " is not connected";
      const auto& epoch = person->epochs.back();
      if (epoch.era != room->roster().era() || epoch.epoch != room->roster().epoch()) return "InTheEndAllAgree: " + person->name + " is not in the present epoch";
      if (epoch.safety_number != first->epochs.back().safety_number) return "InTheEndAllAgree: " + person->name + " has another safety number";
      std::set<IncarnationId> seen;
      for (const auto& entry : person->session->roster().entries()) seen.insert(entry.who);
      if (seen != present) return "InTheEndAllAgree: " + person->name + " sees another roster";
    }
    return {};
  }

  void newcomer() {
    const bool anybody = std::ranges::any_of(world_.people(), [](const auto& person) { return expected(*person); });
    Person& late = world_.add("Late");
    late.delay = 20ms;
    const TimePoint start = world_.now();
    if (!world_.until([&] { return late.in(); }, anybody ? 2s : recovery) && !world_.failure()) world_.fail("EachIsAdmitted: the newcomer is not admitted");
    world_.note("the newcomer waited for " + std::to_string((world_.now() - start).count() / 1000) + " ms");
    if (!world_.until([this] { return disagreement().empty(); }, 5s) && !world_.failure()) world_.fail(disagreement());
    world_.run(500ms); // senders move to the new epoch, keys have reached everybody
  }

  void media() {
    std::vector<Person*> people;
    for (const auto& person : world_.people()) {
      if (expected(*person) && people.size() < 12) people.push_back(person.get());
    }
    const Bytes plain = to_bytes(as_bytes("an encoded frame"));
    for (Person* sender : people) {
      Bytes out(sframe::max_protected_size(sframe::Shell::vp8_key, plain.size()));
      const auto sent = sender->session->protect(world_.local_now(*sender), call::StreamContext::camera, sframe::Shell::vp8_key, plain, out);
      if (!sent) return world_.fail("InTheEndAllAgree: " + sender->name + " cannot send: " + std::string(sent.error().name()));
      for (Person* receiver : people) {
        if (receiver == sender) continue;
        Bytes in(sent->size() + 128);
        call::Line line{Bytes(32, 1)};
        const auto read = receiver->session->unprotect(world_.local_now(*receiver), line, sframe::ShellKind::video, *sent, in);
        if (!read) return world_.fail("InTheEndAllAgree: " + receiver->name + " cannot decrypt " + sender->name + ": " + std::string(read.error().name()));
        if (to_bytes(read->plaintext) != plain) return world_.fail("InTheEndAllAgree: a frame came out changed");
      }
    }
    if (people.size() < 2) return;
    std::vector<std::size_t> had;
    for (Person* person : people) had.push_back(person->received.size());
    if (!people[0]->session->send_application(world_.local_now(*people[0]), "{}")) return world_.fail("InTheEndAllAgree: " + people[0]->name + " cannot send a message");
    world_.run(1s);
    for (std::size_t i = 1; i < people.size(); ++i) {
      if (people[i]->received.size() != had[i] + 1) return world_.fail("InTheEndAllAgree: a message of " + people[0]->name + " did not reach " + people[i]->name);
    }
  }

  Dice dice_;
  bool founders_;
  Plan plan_;
  World world_;
  Oracle oracle_;
  bool healed_ = false;
};

} // namespace

SeedResult run_seed(std::uint64_t seed, const SeedOptions& options) { return Scenario(seed, options).run(); }

} // namespace satsuma::sim
