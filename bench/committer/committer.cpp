// How long people wait to be let in, in the simulator's good weather: virtual time is network and timers, CPU time is what all devices and the
// server compute together.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <vector>

#include "sim/world.h"

namespace {

using namespace satsuma;
using namespace satsuma::sim;

double milliseconds(Duration duration) { return static_cast<double>(duration.count()) / 1000; }

void join_alone(std::size_t members) {
  World world;
  for (std::size_t i = 0; i < members; ++i) world.add("P");
  world.run(10s);
  Person& late = world.add("Late");
  // Its hello takes one way; from then on its join is in the log.
  world.run(world.options().delay);
  const TimePoint logged = world.now();
  const auto took = world.until([&] {
    return std::ranges::all_of(world.people(), [&](const auto& one) { return one->in() && one->roster_size() == members + 1; });
  });
  std::printf("a join in the log until all %zu are in the new epoch, one way %.0f ms: %.0f ms\n", members + 1, milliseconds(world.options().delay),
              took ? milliseconds(world.now() - logged) : -1.0);
  static_cast<void>(late);
}

void committer_killed(std::size_t members) {
  World world;
  for (std::size_t i = 0; i < members; ++i) {
    world.add("P");
    world.run(500ms);
  }
  world.run(5s);
  world.crash(*world.people().front(), true); // without a goodbye, and the server does not hear of it
  Person& late = world.add("Late");
  const auto took = world.until([&] { return late.in(); });
  std::printf("the committer of %zu killed without goodbye: the next join is in after %.0f ms\n", members, took ? milliseconds(*took) : -1.0);
}

void all_at_once(std::size_t people) {
  World world;
  const std::clock_t began = std::clock();
  for (std::size_t i = 0; i < people; ++i) {
    world.add("P");
    world.run(Duration(1s) / static_cast<std::int64_t>(people));
  }
  const auto took = world.until([&] {
    return std::ranges::all_of(world.people(), [&](const auto& one) { return one->in() && one->roster_size() == people; });
  });
  world.run(300ms); // senders move
  std::size_t unreadable = 0;
  const Bytes plain(100, 1);
  Bytes out(sframe::max_protected_size(sframe::Shell::none, plain.size()));
  for (const auto& sender : world.people()) {
    const auto sent = sender->session->protect(world.now(), call::StreamContext::microphone, sframe::Shell::none, plain, out);
    for (std::size_t i = 1; i <= 5; ++i) { // five listeners each
      const auto& receiver = world.people()[(sender->number + i * people / 6) % people];
      Bytes in(sent ? sent->size() : 0);
      if (receiver != sender && (!sent || !receiver->session->unprotect(world.now(), sframe::ShellKind::none, *sent, in))) ++unreadable;
    }
  }
  std::printf("%zu who join within a second: %.0f ms after the last came all are in, after %llu commits; %zu of %zu frames unreadable; %.1f s of CPU for all devices and the server\n",
              people, took ? milliseconds(*took) : -1.0, static_cast<unsigned long long>(world.people().front()->epochs.back().epoch), unreadable, people * 5,
              static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC);
}

} // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  join_alone(1);
  join_alone(10);
  join_alone(50);
  committer_killed(2);
  committer_killed(10);
  all_at_once(20);
  all_at_once(200);
}
