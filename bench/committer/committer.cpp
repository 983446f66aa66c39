// How long people wait to be let in, in the simulator's good weather. Says so, and fails, where the aims of docs/architecture.md ("How long it takes") are missed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>
#include <vector>

#include "sim/world.h"

namespace {

using namespace satsuma;
using namespace satsuma::sim;

double milliseconds(Duration duration) { return static_cast<double>(duration.count()) / 1000; }

template <class Condition>
std::optional<Duration> until(World& world, Condition condition, Duration limit = 60s) {
  const TimePoint start = world.now();
  while (!condition() && world.now() - start < limit) world.run(1ms);
  return condition() ? std::optional(world.now() - start) : std::nullopt;
}

/// Between two people a message makes one trip, from one to the server and on to the other. From a join in the log: to the committer, and with the
/// commit to everybody, which is one and a half of them, since the join is at the server already; two from when the newcomer knocked.
bool join_alone(std::size_t members) {
  World world;
  for (std::size_t i = 0; i < members; ++i) world.add("P");
  world.run(10s);
  world.add("Late");
  const Duration trip = 2 * world.options().delay;
  const auto logged = until(world, [&] { return world.room()->roster().snapshot().waiting.size() == 1; }); // its hello is half a trip
  const auto took = until(world, [&] {
    return std::ranges::all_of(world.people(), [&](const auto& one) { return one->in() && one->roster_size() == members + 1; });
  });
  const bool good = logged && took && *took <= 2 * trip;
  std::printf("one joins %2zu, a trip between two people being %.0f ms: all in the new epoch after %.2f trips from its join in the log, %.2f from its knock%s\n", members,
              milliseconds(trip), took ? milliseconds(*took) / milliseconds(trip) : -1.0,
              took && logged ? milliseconds(*logged + *took) / milliseconds(trip) : -1.0, good ? "" : ": NOT within two");
  return good;
}

bool committer_killed(std::size_t members) {
  World world;
  for (std::size_t i = 0; i < members; ++i) {
    world.add("P");
    world.run(500ms);
  }
  world.run(5s);
  world.crash(*world.people().front(), true); // without a goodbye, and the server does not hear of it
  Person& late = world.add("Late");
  const auto took = world.until([&] { return late.in(); });
  const bool good = took && *took <= 2s;
  std::printf("the committer of %zu killed without goodbye: the next join is in after %.0f ms%s\n", members, took ? milliseconds(*took) : -1.0, good ? "" : ": NOT within 2 s");
  return good;
}

/// On one machine: the sessions on all its cores, the server on one of them. Virtual time is what the network and the timers take, real time what
/// the machine computes; a machine that does both at once needs no more than their sum.
void all_at_once(std::size_t people) {
  WorldOptions options;
  options.cores = std::max(1u, std::thread::hardware_concurrency());
  World world(options);
  const std::clock_t began = std::clock();
  const auto began_really = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < people; ++i) {
    world.add("P");
    world.run(Duration(1s) / static_cast<std::int64_t>(people));
  }
  const auto took = world.until([&] {
    return std::ranges::all_of(world.people(), [&](const auto& one) { return one->in() && one->roster_size() == people; });
  });
  const double real_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_really).count();
  const double cpu_seconds = static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
  world.run(300ms); // senders move
  std::size_t unreadable = 0;
  call::Line line{Bytes(32, 1)};
  const Bytes plain(100, 1);
  Bytes out(sframe::max_protected_size(sframe::Shell::none, plain.size()));
  for (const auto& sender : world.people()) {
    const auto sent = sender->session->protect(world.now(), call::StreamContext::microphone, sframe::Shell::none, plain, out);
    for (std::size_t i = 1; i <= 5; ++i) { // five listeners each
      const auto& receiver = world.people()[(sender->number + i * people / 6) % people];
      Bytes in(sent ? sent->size() : 0);
      if (receiver != sender && (!sent || !receiver->session->unprotect(world.now(), line, sframe::ShellKind::none, *sent, in))) ++unreadable;
    }
  }
  const double virtual_seconds = took ? 1 + milliseconds(*took) / 1000 : -1;
  const bool good = took && real_seconds + milliseconds(*took) / 1000 <= 5 && unreadable == 0;
  std::printf("%zu who join within a second: %llu commits; %zu of %zu frames unreadable; all are in %.2f s after the first came, %.1f s of computing on %u cores (%.1f s of CPU, %.0f ms a device)%s\n", people,
              static_cast<unsigned long long>(world.people().front()->epochs.back().epoch), unreadable, people * 5, virtual_seconds, real_seconds, options.cores, cpu_seconds,
              1000 * cpu_seconds / static_cast<double>(people), good ? ", within 5 s" : ": NOT within 5 s");
}

} // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc > 1) { // so many who come at once, alone: for a profiler
    all_at_once(static_cast<std::size_t>(std::strtoul(argv[1], nullptr, 10)));
    return 0;
  }
  bool good = true;
  for (const std::size_t members : {1, 10, 50}) good &= join_alone(members);
  for (const std::size_t members : {2, 10}) good &= committer_killed(members);
  for (const std::size_t people : {20, 200}) all_at_once(people); // how long that takes is the machine's affair too
  return good ? 0 : 1;
}
