// The mistakes of base/bug_switches.h, one after the other: each must be found within so many seeds, by the property that it breaks.
// usage: satsuma_simulator_bugs [SEEDS [MISTAKE [SEED]]]      with SEED: that one alone, line by line
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "base/bug_switches.h"
#include "sim/scenario.h"

namespace {

using satsuma::BugSwitches;

struct Mistake {
  const char* name;
  bool BugSwitches::*on;
  const char* property; ///< of spec/README.md; what else it breaks does not count
  bool founders = false;  ///< shows only where a room begins
};
constexpr Mistake mistakes[] = {
    {"merge_at_send", &BugSwitches::merge_at_send, "Agreement"},
    {"merge_at_send", &BugSwitches::merge_at_send, "HeldIsLogged"},
    {"no_gate", &BugSwitches::no_gate, "OneCommitForEachEpoch"},
    {"welcome_before_acceptance", &BugSwitches::welcome_before_acceptance, "NobodyBreaks"},
    {"drop_own", &BugSwitches::drop_own, "OwnIsHeld"},
    {"commit_before_reading", &BugSwitches::commit_before_reading, "OneAttempt"},
    {"genesis_forgotten", &BugSwitches::genesis_forgotten, "OwnIsHeld", true},
    {"snapshot", &BugSwitches::snapshot, "EachLeaves"},
    {"socket_heartbeat", &BugSwitches::socket_heartbeat, "EachLeaves"},
    {"gone_may_commit", &BugSwitches::gone_may_commit, "NoCommitFromTheGone"},
    {"unchecked_adds", &BugSwitches::unchecked_adds, "OnlyWhatWasAsked"},
    {"unchecked_adds", &BugSwitches::unchecked_adds, "NobodyComesBack"},
    {"one_at_a_time", &BugSwitches::one_at_a_time, "BoundedOvertaking"},
    {"deaf_while_waiting", &BugSwitches::deaf_while_waiting, "OneDesignated"},
    {"stays_after_removal", &BugSwitches::stays_after_removal, "OnlyInsiders"},
};

int find(const Mistake& mistake, std::uint64_t most) {
  satsuma::bug_switches.*mistake.on = true;
  for (std::uint64_t seed = 1; seed <= most; ++seed) {
    const auto result = satsuma::sim::run_seed(seed, {false, mistake.property, mistake.founders});
    if (!result.failure) continue;
    std::printf("%s: seed %llu: %s\n", mistake.name, static_cast<unsigned long long>(seed), result.failure->c_str());
    return 0;
  }
  std::printf("%s: %s NOT FOUND violated in %llu seeds\n", mistake.name, mistake.property, static_cast<unsigned long long>(most));
  return 1;
}

} // namespace

int main(int argc, char** argv) {
  const std::uint64_t most = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 300;
  const unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
  if (argc > 3) {
    for (const Mistake& mistake : mistakes) {
      if (std::string_view(argv[2]) != mistake.name) continue;
      satsuma::bug_switches.*mistake.on = true;
      const auto result = satsuma::sim::run_seed(std::strtoull(argv[3], nullptr, 10), {true, mistake.property, mistake.founders});
      std::printf("%s%s\n", result.trace.c_str(), result.failure ? result.failure->c_str() : "no violation");
      return result.failure ? 0 : 1;
    }
  }
  unsigned running = 0;
  int all = 0, missed = 0;
  const auto wait_for_one = [&] {
    int status = 0;
    if (wait(&status) < 0) return;
    --running;
    // One that dies has found nothing: a mistake must be seen by its property.
    missed += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
  };
  for (const Mistake& mistake : mistakes) {
    if (argc > 2 && std::string_view(argv[2]) != mistake.name) continue;
    ++all;
    if (running == jobs) wait_for_one();
    const pid_t child = fork();
    if (child < 0) return 2;
    if (child == 0) {
      const int status = find(mistake, most);
      std::fflush(stdout);
      _exit(status);
    }
    ++running;
  }
  while (running > 0) wait_for_one();
  std::printf("# pass %d\n# fail %d\n", all - missed, missed);
  return missed == 0 && all > 0 ? 0 : 1;
}
