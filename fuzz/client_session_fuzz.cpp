// Three people and somebody without the room's secret in a room whose server and network do to their frames what the input says: change, withhold, cut short, repeat to anybody, make up.
// Nobody but those three is ever in a roster, two who tell the same safety number tell the same people, and nobody opens a frame that was not sent.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "sim/world.h"

using namespace satsuma;

namespace {

struct Hostile {
  explicit Hostile(ByteView data) : input(data) {
    people.push_back(&world.add("Ada"));
    people.push_back(&world.add("Bo"));
    world.until([&] { return people[0]->in() && people[1]->in(); }, std::chrono::seconds(5));
    people.push_back(&world.add("Cy"));
    people.push_back(&world.add("outside", 2));
    world.on_down = [this](sim::Person&, Bytes& frame) { return pass(frame); };
    world.on_up = [this](sim::Person&, Bytes& frame) { return pass(frame); };
  }

  std::uint8_t next() { return input.u8().value_or(0); }
  sim::Person& anybody() { return *people[next() % people.size()]; }

  // Most frames come as they are, or nothing would ever happen.
  bool pass(Bytes& frame) {
    if (input.empty()) return true;
    if (seen.size() < 64) seen.push_back(frame);
    const std::uint8_t what = next();
    if (what < 200) return true;
    if (what < 216) return false;
    const std::size_t at = frame.empty() ? 0 : (next() << 8 | next()) % frame.size();
    if (what < 236) {
      if (!frame.empty()) frame[at] ^= static_cast<std::uint8_t>(1 << what % 8);
    } else if (what < 246) {
      frame.resize(at);
    } else if (what < 252) {
      frame = seen[at % seen.size()];
    } else {
      frame.push_back(what);
    }
    return true;
  }

  // A frame of sound from one to another, changed or not.
  void speak() {
    sim::Person& from = anybody();
    sim::Person& to = anybody();
    const std::uint8_t what = next();
    const Bytes said{'s', 'a', 'i', 'd', next()};
    Bytes frame(call::ClientSession::max_protected_size({}, said.size())), opened(frame.size());
    const auto sent = from.session->protect(world.local_now(from), static_cast<call::StreamContext>(what % 4), {}, said, frame);
    if (!sent) return;
    Bytes arriving = to_bytes(*sent);
    const bool changed = what >= 128;
    if (changed) arriving[next() % arriving.size()] ^= static_cast<std::uint8_t>(1 + what % 7);
    call::Line line(Bytes(32, 1));
    const auto received = to.session->unprotect(world.local_now(to), line, {}, arriving, opened);
    SATSUMA_CHECK(!received || (!changed && equal(received->plaintext, said)));
  }

  void check() const {
    for (const sim::Person* person : people) {
      if (!person->in()) continue;
      const bool outside = person == people[3]; // whoever has another secret may be alone under it
      for (const call::RosterEntry& entry : person->session->roster().entries())
        SATSUMA_CHECK(outside == (entry.profile.name == "outside") &&
                      std::ranges::any_of(people, [&](const sim::Person* other) { return other->name == entry.profile.name; }));
      for (const sim::Person* other : people) {
        if (!other->in() || other->digits() != person->digits()) continue;
        SATSUMA_CHECK(other->session->roster().entries() == person->session->roster().entries());
      }
    }
  }

  void run() {
    for (int i = 0; i < 32 && !input.empty() && !world.failure(); ++i) {
      switch (next() % 8) {
        case 0:
        case 1: world.run(std::chrono::milliseconds(20) * next()); break;
        case 2: speak(); break;
        case 3: (void)people[0]->session->send_application(world.local_now(*people[0]), "hello"); world.pump_now(); break;
        case 4: {
          sim::Person& to = anybody();
          world.inject_down(to, to_bytes(input.bytes(std::min<std::size_t>(next(), input.remaining())).value_or(ByteView{})));
          break;
        }
        case 5:
          if (!seen.empty()) world.inject_down(anybody(), seen[next() % seen.size()]);
          break;
        case 6: {
          sim::Person& person = anybody();
          world.cut(person);
          world.reconnect(person, std::chrono::milliseconds(10) * next());
          break;
        }
        case 7: world.restart_server(); break;
      }
      check();
    }
    // What is left of the input goes with the frames of half a minute, in which members look for a way out.
    world.run(std::chrono::seconds(30));
    check();
  }

  sim::World world;
  ByteReader input;
  std::vector<sim::Person*> people;
  std::vector<Bytes> seen;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Hostile({data, size}).run();
  return 0;
}
