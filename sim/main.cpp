// Many seeds on all cores: scripts/sim.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "sim/remember.h"
#include "sim/scenario.h"

namespace {

constexpr const char* usage = R"(usage: scripts/sim [--seeds N] [--first S] [--jobs J] [--plain]
       scripts/sim --replay SEED [--trace]

Runs N seeds (default 1000) from S on (default 1): each is a call in bad weather, with the safety properties checked at each step and
the others once the weather is good again (sim/README.md). A seed that fails prints the command that replays it. From 1000 seeds on each kind of
bad weather must have happened.

--plain: verify each signature anew for each device, as a replay does; half as fast, with the same outcome.)";

/// Written to a pipe in one piece.
struct Report {
  std::uint64_t seed = 0;
  bool begun = false; ///< only says which one is being worked on
  bool failed = false;
  std::uint64_t people = 0, commits = 0, eras = 0, departures = 0, rejoins = 0, steps = 0, fingerprint = 0;
  satsuma::sim::Weather weather{};
  double seconds = 0;
};
static_assert(sizeof(Report) < 512 && std::is_trivially_copyable_v<Report>);

constexpr std::uint64_t seeds_with_all_weather = 1000;

int replay(std::uint64_t seed, bool trace) {
  const auto result = satsuma::sim::run_seed(seed, {trace, {}, false});
  std::fputs(result.trace.c_str(), stdout);
  std::printf("seed %llu: %zu people, %llu steps, %llu commits, %llu eras, fingerprint %016llx: %s\n", static_cast<unsigned long long>(seed), result.people,
              static_cast<unsigned long long>(result.steps), static_cast<unsigned long long>(result.commits), static_cast<unsigned long long>(result.eras),
              static_cast<unsigned long long>(result.fingerprint), result.failure ? result.failure->c_str() : "no violation");
  return result.failure ? 1 : 0;
}

[[noreturn]] void work(int out, std::uint64_t first, std::uint64_t seeds, std::uint64_t worker, std::uint64_t workers, bool plain) {
  for (std::uint64_t i = worker; i < seeds; i += workers) {
    Report report;
    report.seed = first + i;
    report.begun = true;
    if (write(out, &report, sizeof report) != sizeof report) _exit(2);
    satsuma::sim::remember_checks(!plain);
    const auto began = std::chrono::steady_clock::now();
    const auto result = satsuma::sim::run_seed(first + i);
    report = {first + i,         false,          result.failure.has_value(), result.people,  result.commits, result.eras, result.departures, result.rejoins,
              result.steps,      result.fingerprint, result.weather, std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count()};
    if (result.failure) {
      std::fprintf(stderr, "\nseed %llu: %s\n  scripts/sim --replay %llu --trace\n", static_cast<unsigned long long>(first + i), result.failure->c_str(),
                   static_cast<unsigned long long>(first + i));
    }
    if (write(out, &report, sizeof report) != sizeof report) _exit(2);
  }
  _exit(0);
}

} // namespace

int main(int argc, char** argv) {
  std::uint64_t seeds = 1000, first = 1, jobs = std::max(1u, std::thread::hardware_concurrency()), seed = 0;
  bool trace = false, replaying = false, plain = false;
  for (int i = 1; i < argc; ++i) {
    const auto number = [&](std::uint64_t& into) {
      char* end = nullptr;
      if (i + 1 < argc) into = std::strtoull(argv[++i], &end, 10);
      if (end == nullptr || *end != 0 || end == argv[i]) {
        std::fprintf(stderr, "%s\n", usage);
        std::exit(2);
      }
    };
    if (std::strcmp(argv[i], "--seeds") == 0) number(seeds);
    else if (std::strcmp(argv[i], "--first") == 0) number(first);
    else if (std::strcmp(argv[i], "--jobs") == 0) number(jobs);
    else if (std::strcmp(argv[i], "--replay") == 0) number(seed), replaying = true;
    else if (std::strcmp(argv[i], "--trace") == 0) trace = true;
    else if (std::strcmp(argv[i], "--plain") == 0) plain = true;
    else {
      std::fprintf(stderr, "%s\n", usage);
      return std::strcmp(argv[i], "--help") == 0 ? 0 : 2;
    }
  }
  if (replaying) return replay(seed, trace);
  if (jobs == 0) jobs = 1;

  int channel[2];
  if (pipe(channel) != 0) return 2;
  const auto began = std::chrono::steady_clock::now();
  std::vector<pid_t> workers;
  for (std::uint64_t i = 0; i < jobs; ++i) {
    const pid_t child = fork();
    if (child < 0) return 2;
    if (child == 0) {
      close(channel[0]);
      work(channel[1], first, seeds, i, jobs, plain);
    }
    workers.push_back(child);
  }
  close(channel[1]);

  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
  std::uint64_t done = 0, failed = 0, people = 0, largest = 0, commits = 0, eras = 0, departures = 0, rejoins = 0, steps = 0, fingerprints = 0;
  satsuma::sim::Weather weather;
  Report slowest;
  std::vector<std::uint64_t> working(jobs, 0); // which seed each is at: for one that dies
  double said = 0;
  Report report;
  while (read(channel[0], &report, sizeof report) == sizeof report) {
    std::uint64_t& at = working[(report.seed - first) % jobs];
    if (report.begun) {
      at = report.seed;
      continue;
    }
    at = 0;
    ++done;
    failed += report.failed ? 1 : 0;
    people += report.people;
    largest = std::max(largest, report.people);
    commits += report.commits;
    eras += report.eras;
    departures += report.departures;
    rejoins += report.rejoins;
    steps += report.steps;
    fingerprints += report.fingerprint;
    weather += report.weather;
    if (report.seconds > slowest.seconds) slowest = report;
    if (seconds() - said >= 10) {
      said = seconds();
      std::printf("%llu of %llu seeds, %llu failed, %.0f s\n", static_cast<unsigned long long>(done), static_cast<unsigned long long>(seeds),
                  static_cast<unsigned long long>(failed), seconds());
      std::fflush(stdout);
    }
  }
  for (std::size_t i = 0; i < workers.size(); ++i) {
    int status = 0;
    waitpid(workers[i], &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    ++failed;
    std::fprintf(stderr, "\nseed %llu ended the program\n  scripts/sim --replay %llu --trace\n", static_cast<unsigned long long>(working[i]),
                 static_cast<unsigned long long>(working[i]));
  }
  std::printf("slowest: seed %llu, %llu people, %.1f s\n", static_cast<unsigned long long>(slowest.seed), static_cast<unsigned long long>(slowest.people),
              slowest.seconds);
  std::printf("fingerprint of all: %016llx\n", static_cast<unsigned long long>(fingerprints));
  const char* separator = "weather: ";
  for (const auto& [name, count] : weather.list()) {
    std::printf("%s%s %llu", separator, name, static_cast<unsigned long long>(count));
    separator = ", ";
    if (count == 0 && done >= seeds_with_all_weather) {
      ++failed;
      std::printf(" (NEVER)");
    }
  }
  std::printf("\n");
  std::printf("%llu seeds from %llu, %llu failed: %llu people (at most %llu in a call), %llu commits, %llu eras, %llu departures, %llu re-entries, %llu steps, %.0f s\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(first), static_cast<unsigned long long>(failed),
              static_cast<unsigned long long>(people), static_cast<unsigned long long>(largest), static_cast<unsigned long long>(commits),
              static_cast<unsigned long long>(eras), static_cast<unsigned long long>(departures), static_cast<unsigned long long>(rejoins),
              static_cast<unsigned long long>(steps), seconds());
  return failed == 0 && done == seeds ? 0 : 1;
}
