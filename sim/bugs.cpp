// The mistakes of base/bug_switches.h, one after the other: each must be found within so many seeds.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/bug_switches.h"
#include "sim/scenario.h"

namespace {

struct Mistake {
  const char* name;
  bool satsuma::BugSwitches::*on;
};
// Left out: no_gate, which changes nothing here since the MLS behind the gate refuses another epoch too; and those that the session itself would
// have to make (merge_at_send, welcome_before_acceptance), which the explorer has.
constexpr Mistake mistakes[] = {
    {"drop_own", &satsuma::BugSwitches::drop_own},
    {"commit_before_reading", &satsuma::BugSwitches::commit_before_reading},
    {"snapshot", &satsuma::BugSwitches::snapshot},
    {"socket_heartbeat", &satsuma::BugSwitches::socket_heartbeat},
};

} // namespace

int main(int argc, char** argv) {
  const std::uint64_t most = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 300;
  int missed = 0;
  for (const Mistake& mistake : mistakes) {
    satsuma::bug_switches = {};
    satsuma::bug_switches.*mistake.on = true;
    std::uint64_t seed = 1;
    satsuma::sim::SeedResult result;
    for (; seed <= most; ++seed) {
      result = satsuma::sim::run_seed(seed);
      if (result.failure) break;
    }
    if (result.failure) {
      std::printf("%s: seed %llu: %s\n", mistake.name, static_cast<unsigned long long>(seed), result.failure->c_str());
    } else {
      std::printf("%s: NOT FOUND in %llu seeds\n", mistake.name, static_cast<unsigned long long>(most));
      ++missed;
    }
    std::fflush(stdout);
  }
  return missed;
}
