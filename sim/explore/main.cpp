#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bug_switches.h"
#include "properties.h"
#include "world.h"

// Drives the real committer and the real sequencer through every interleaving of the specification's actions within bounds.
namespace satsuma::explore {
namespace {

constexpr const char* usage = R"(usage: satsuma_explore [--people N] [--warm N] [--budget N] [--faults crash,wedge,...] [--bug NAME --expect PROPERTY]
                       [--states] [--progress]

Without --bug: visits every state, depth first, checks every property in each, and that no step leads back to a state on the way to it: what is
fair then ends, and ends where QuietMeansConverged holds, which is the specification's liveness.
With --bug: breadth first until the expected property is violated. --states prints every state, one a line.
)";

/// Visited states, by their hashes. Open addressing; a mark in the lowest bit says that a state is on the present path.
class Visited {
 public:
  Visited() : slots_(1 << 16) {}
  /// The state's mark, for it to be read or set until the next call; and whether the state is new.
  std::pair<std::uint64_t*, bool> insert(Hash hash) {
    if (count_ * 10 > slots_.size() * 7) grow();
    auto& slot = find(slots_, hash);
    const bool fresh = slot.low == 0;
    if (fresh) {
      slot = normal(hash);
      ++count_;
    }
    return {&slot.low, fresh};
  }
  std::size_t count() const { return count_; }

 private:
  static Hash normal(Hash hash) { return {hash.high, (hash.low | 2) & ~std::uint64_t{1}}; } // never 0
  static Hash& find(std::vector<Hash>& slots, Hash hash) {
    const Hash wanted = normal(hash);
    std::size_t at = hash.high & (slots.size() - 1);
    while (slots[at].low != 0 && !(slots[at].high == wanted.high && (slots[at].low & ~std::uint64_t{1}) == wanted.low)) at = (at + 1) & (slots.size() - 1);
    return slots[at];
  }
  void grow() {
    std::vector<Hash> larger(slots_.size() * 2);
    for (const Hash& slot : slots_) {
      if (slot.low != 0) find(larger, slot) = slot;
    }
    slots_.swap(larger);
  }
  std::vector<Hash> slots_;
  std::size_t count_ = 0;
};

struct Result {
  std::size_t states = 0;
  std::size_t steps = 0;
  std::size_t depth = 0;
  std::size_t quiet = 0;
  const char* violated = nullptr;
  std::vector<std::string> trace;
};

bool is_quiet(const std::vector<Action>& actions) {
  return std::ranges::none_of(actions, [](const Action& action) { return is_fair(action.kind); });
}

Result explore(const Bounds& bounds, bool print, bool progress) {
  struct Frame {
    World world;
    std::vector<Action> actions;
    std::size_t next;
    Hash hash;
  };
  Result result;
  Visited visited;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> inner; // with --states: the abstraction loses nothing
  std::deque<Frame> path;
  const auto violation = [&](const char* what, const World& last) {
    result.violated = what;
    for (const Frame& frame : path) {
      if (frame.next > 0) result.trace.push_back(to_text(frame.actions[frame.next - 1]));
    }
    result.trace.push_back(to_text(last.abstract()));
  };
  const auto visit = [&](World world) { // false: stop
    const Abstract abstract = world.abstract();
    const Hash hash = hash_of(abstract);
    const auto [mark, fresh] = visited.insert(hash);
    if (print) {
      const auto [known, first] = inner.emplace(std::pair(hash.high, hash.low), world.inner_state());
      if (!first && known->second != world.inner_state()) {
        violation("the abstraction hides a difference", world);
        result.trace.push_back(known->second);
        result.trace.push_back(world.inner_state());
        return false;
      }
    }
    if (!fresh) {
      if ((*mark & 1) == 0) return true;
      violation("a cycle", world);
      return false;
    }
    *mark |= 1;
    if (print) std::puts(to_text(abstract).c_str());
    auto actions = world.actions();
    const bool quiet = is_quiet(actions);
    result.quiet += quiet;
    if (const char* what = violated(abstract, quiet)) {
      violation(what, world);
      return false;
    }
    path.push_back({std::move(world), std::move(actions), 0, hash});
    result.depth = std::max(result.depth, path.size());
    if (progress && visited.count() % 1'000'000 == 0) std::fprintf(stderr, "%zu million states\n", visited.count() / 1'000'000);
    return true;
  };
  bool going = visit(World(bounds));
  while (going && !path.empty()) {
    Frame& top = path.back();
    if (top.next == top.actions.size()) {
      *visited.insert(top.hash).first &= ~std::uint64_t{1};
      path.pop_back();
      continue;
    }
    const Action action = top.actions[top.next++];
    World world = top.world;
    world.take(action);
    ++result.steps;
    going = visit(std::move(world));
  }
  result.states = visited.count();
  return result;
}

/// The shortest way to a violation of that one property.
Result search(const Bounds& bounds, std::string_view property, std::size_t most_states) {
  struct Node {
    std::size_t parent;
    Action action;
  };
  Result result;
  Visited visited;
  std::vector<Node> nodes;
  std::deque<std::pair<World, std::size_t>> frontier;
  const auto visit = [&](World world, std::size_t parent, Action action) {
    const Abstract abstract = world.abstract();
    if (!visited.insert(hash_of(abstract)).second) return true;
    nodes.push_back({parent, action});
    if (const char* what = violated(abstract, is_quiet(world.actions()), property)) {
      result.violated = what;
      for (std::size_t at = nodes.size() - 1; at != 0; at = nodes[at].parent) result.trace.push_back(to_text(nodes[at].action));
      std::ranges::reverse(result.trace);
      result.trace.push_back(to_text(abstract));
      return false;
    }
    frontier.emplace_back(std::move(world), nodes.size() - 1);
    return true;
  };
  bool going = visit(World(bounds), 0, {});
  while (going && !frontier.empty() && visited.count() < most_states) {
    const auto [world, index] = std::move(frontier.front());
    frontier.pop_front();
    for (const Action& action : world.actions()) {
      World next = world;
      next.take(action);
      ++result.steps;
      if (!(going = visit(std::move(next), index, action))) break;
    }
  }
  result.states = visited.count();
  return result;
}

bool set_bug(std::string_view name) {
  struct Switch {
    const char* name;
    bool* value;
  };
  const Switch switches[] = {
      {"merge_at_send", &bug_switches.merge_at_send},
      {"no_gate", &bug_switches.no_gate},
      {"welcome_before_acceptance", &bug_switches.welcome_before_acceptance},
      {"drop_own", &bug_switches.drop_own},
      {"commit_before_reading", &bug_switches.commit_before_reading},
      {"genesis_forgotten", &bug_switches.genesis_forgotten},
      {"snapshot", &bug_switches.snapshot},
      {"socket_heartbeat", &bug_switches.socket_heartbeat},
      {"gone_may_commit", &bug_switches.gone_may_commit},
      {"unchecked_adds", &bug_switches.unchecked_adds},
      {"one_at_a_time", &bug_switches.one_at_a_time},
      {"deaf_while_waiting", &bug_switches.deaf_while_waiting},
      {"stays_after_removal", &bug_switches.stays_after_removal},
  };
  for (const Switch& one : switches) {
    if (one.name == name) return *one.value = true;
  }
  return false;
}

int run(int count, char** arguments) {
  Bounds bounds;
  bool print = false, progress = false;
  std::string bug, expected;
  for (int i = 1; i < count; ++i) {
    const std::string_view name = arguments[i];
    const auto value = [&]() -> std::string_view { return i + 1 < count ? arguments[++i] : ""; };
    const auto number = [&] { return static_cast<std::uint8_t>(std::atoi(std::string(value()).c_str())); };
    if (name == "--people") {
      bounds.people = number();
    } else if (name == "--warm") {
      bounds.warm = number();
    } else if (name == "--budget") {
      bounds.budget = number();
    } else if (name == "--faults") {
      const std::string faults = "," + std::string(value()) + ",";
      const auto has = [&](const char* fault) { return faults.find("," + std::string(fault) + ",") != std::string::npos; };
      bounds.crash = has("crash");
      bounds.wedge = has("wedge");
      bounds.suspect = has("suspect");
      bounds.disconnect = has("disconnect");
      bounds.duplicate = has("duplicate");
      bounds.refresh = has("refresh");
    } else if (name == "--bug") {
      bug = value();
    } else if (name == "--expect") {
      expected = value();
    } else if (name == "--states") {
      print = true;
    } else if (name == "--progress") {
      progress = true;
    } else {
      std::fputs(usage, stderr);
      return 2;
    }
  }
  if ((!bug.empty() && (!set_bug(bug) || expected.empty())) || bounds.people < 1 || bounds.people > most_people || bounds.warm > bounds.people) {
    std::fputs(usage, stderr);
    return 2;
  }
  const std::clock_t began = std::clock();
  const Result result = bug.empty() ? explore(bounds, print, progress) : search(bounds, expected, 2'000'000);
  const double seconds = static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
  const bool good = bug.empty() ? result.violated == nullptr : result.violated != nullptr && result.violated == expected;
  if (result.violated != nullptr) {
    std::fprintf(stderr, "%s is violated:\n", result.violated);
    for (const std::string& line : result.trace) std::fprintf(stderr, "  %s\n", line.c_str());
  }
  std::fprintf(stderr, "%u people, %u of them members at the start, %u faults%s%s: %zu states, %zu steps, %zu deep, %zu quiet, %.1f s of CPU: %s\n", bounds.people,
               bounds.warm, bounds.budget, bug.empty() ? "" : ", ", bug.c_str(), result.states, result.steps, result.depth, result.quiet, seconds,
               good ? "as expected" : "NOT as expected");
  return good ? 0 : 1;
}

} // namespace
} // namespace satsuma::explore

int main(int count, char** arguments) { return satsuma::explore::run(count, arguments); }
