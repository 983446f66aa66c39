#include "properties.h"

#include <algorithm>

namespace satsuma::explore {
namespace {

/// The log, with what has accumulated before each entry.
struct History {
  explicit History(const Abstract& abstract) : log(abstract.log) {
    State state = abstract.start;
    Set gone;
    for (std::size_t i = 0; i < log.count; ++i) {
      state_before[i] = state;
      gone_before[i] = gone;
      const Entry& entry = log.items[i];
      if (entry.kind == EntryKind::gone) gone.add(entry.who);
      if (entry.kind == EntryKind::genesis || entry.kind == EntryKind::commit) state = entry.state;
    }
    state_before[log.count] = state;
    gone_before[log.count] = gone;
  }
  const Few<Entry, most_entries>& log;
  std::array<State, most_entries + 1> state_before;
  std::array<Set, most_entries + 1> gone_before;
};

bool is_decision(const Entry& entry) { return entry.kind == EntryKind::genesis || entry.kind == EntryKind::commit; }

bool one_commit_for_each_epoch(const History& history) {
  for (std::size_t j = 0; j < history.log.count; ++j) {
    for (std::size_t k = j + 1; k < history.log.count; ++k) {
      const Entry &a = history.log.items[j], &b = history.log.items[k];
      if (is_decision(a) && is_decision(b) && a.state.era == b.state.era && a.state.epoch() == b.state.epoch()) return false;
    }
  }
  return true;
}

bool one_chain(const History& history) {
  for (std::size_t k = 0; k < history.log.count; ++k) {
    const Entry& entry = history.log.items[k];
    const State& before = history.state_before[k];
    if (entry.kind == EntryKind::genesis && !set_of(before.tree).within(history.gone_before[k])) return false;
    if (entry.kind == EntryKind::commit) {
      if (entry.state.history.count != before.history.count + 1) return false;
      if (!std::equal(before.history.begin(), before.history.end(), entry.state.history.begin())) return false;
    }
  }
  return true;
}

bool no_commit_from_the_gone(const History& history) {
  for (std::size_t k = 0; k < history.log.count; ++k) {
    if (is_decision(history.log.items[k]) && history.gone_before[k].has(history.log.items[k].who)) return false;
  }
  return true;
}

bool nobody_comes_back(const History& history) {
  for (std::size_t k = 0; k < history.log.count; ++k) {
    const Entry& entry = history.log.items[k];
    for (const Person added : entry.adds) {
      if (history.gone_before[k].has(added)) return false;
    }
    if (entry.kind == EntryKind::genesis && history.gone_before[k].has(entry.who)) return false;
  }
  return true;
}

bool only_what_was_asked(const History& history) {
  Set joined;
  for (std::size_t k = 0; k < history.log.count; ++k) {
    const Entry& entry = history.log.items[k];
    if (entry.kind == EntryKind::join) joined.add(entry.who);
    for (const Person added : entry.adds) {
      if (history.gone_before[k].has(added)) return false;
    }
    if (!set_of(entry.adds).within(joined) || !entry.removes.within(history.gone_before[k])) return false;
  }
  return true;
}

bool bounded_overtaking(const History& history, Set without_admission) {
  for (std::size_t k = 0; k < history.log.count; ++k) {
    const Entry& request = history.log.items[k];
    if (is_decision(request) || (request.kind == EntryKind::join && without_admission.has(request.who))) continue;
    int passed_over = 0;
    for (std::size_t j = k + 1; j < history.log.count; ++j) {
      const Entry& entry = history.log.items[j];
      if (entry.kind != EntryKind::commit) continue;
      const bool inside = entry.state.tree.has(request.who);
      if (request.kind == EntryKind::join ? !inside && !history.gone_before[j].has(request.who) : inside) ++passed_over;
    }
    if (passed_over > 1) return false;
  }
  return true;
}

bool agreement(const Abstract& state) {
  for (Person i = 1; i <= state.people; ++i) {
    for (Person j = 1; j < i; ++j) {
      const Client &a = state.client[i], &b = state.client[j];
      if (a.phase != Phase::member || b.phase != Phase::member) continue;
      if (a.held.era == b.held.era && a.held.epoch() == b.held.epoch() && !(a.held == b.held)) return false;
    }
  }
  return true;
}

bool own_is_held(const Abstract& state) {
  for (Person who = 1; who <= state.people; ++who) {
    const Client& client = state.client[who];
    if (!client.runs()) continue;
    for (std::size_t k = client.cursor; k < state.log.count; ++k) {
      const Entry& entry = state.log.items[k];
      if (is_decision(entry) && entry.who == who && (client.attempt.who == 0 || client.attempt.tries != entry.tries)) return false;
    }
  }
  return true;
}

bool one_attempt(const Abstract& state) {
  for (Person who = 1; who <= state.people; ++who) {
    const auto& messages = state.uplink[who];
    for (std::size_t j = 0; j < messages.count; ++j) {
      for (std::size_t k = j + 1; k < messages.count; ++k) {
        if (messages.items[j].parent == messages.items[k].parent && messages.items[j].tries != messages.items[k].tries) return false;
      }
    }
  }
  return true;
}

People live_leaves(const Client& client) {
  People live;
  for (const Person who : client.held.tree) {
    if (who != 0 && !client.gone.has(who)) live.push(who);
  }
  return live;
}

bool one_designated(const Abstract& state) {
  for (Person i = 1; i <= state.people; ++i) {
    for (Person j = 1; j < i; ++j) {
      const Client &a = state.client[i], &b = state.client[j];
      if (a.phase != Phase::member || b.phase != Phase::member || a.cursor != b.cursor) continue;
      if (!(live_leaves(a) == live_leaves(b))) return false;
    }
  }
  return true;
}

bool converged(const Abstract& state) {
  Set running;
  for (Person who = 1; who <= state.people; ++who) {
    const Client& client = state.client[who];
    if (!client.runs()) continue;
    running.add(who);
    if (client.phase != Phase::member || !(client.held == state.state)) return false;
  }
  return running.empty() || set_of(state.state.tree) == running;
}

} // namespace

const char* violated(const Abstract& state, bool quiet, std::string_view only) {
  const History history(state);
  const auto broken = [&](std::string_view name, auto holds) { return (only.empty() || only == name) && !holds(); };
  const auto each_member = [&](auto holds) {
    for (Person who = 1; who <= state.people; ++who) {
      const Client& client = state.client[who];
      if (client.phase == Phase::member && !holds(who, client)) return false;
    }
    return true;
  };
#define SATSUMA_PROPERTY(name, holds) \
  if (broken(name, [&] { return holds; })) return name
  SATSUMA_PROPERTY("OneCommitForEachEpoch", one_commit_for_each_epoch(history));
  SATSUMA_PROPERTY("OneChain", one_chain(history));
  SATSUMA_PROPERTY("Agreement", agreement(state));
  SATSUMA_PROPERTY("HeldIsLogged", each_member([&](Person, const Client& client) { return client.held == history.state_before[client.cursor]; }));
  SATSUMA_PROPERTY("OnlyInsiders", each_member([](Person who, const Client& client) { return client.held.tree.has(who); }));
  SATSUMA_PROPERTY("NobodyComesBack", nobody_comes_back(history));
  SATSUMA_PROPERTY("NoCommitFromTheGone", no_commit_from_the_gone(history));
  SATSUMA_PROPERTY("OnlyWhatWasAsked", only_what_was_asked(history));
  SATSUMA_PROPERTY("OwnIsHeld", own_is_held(state));
  SATSUMA_PROPERTY("OneAttempt", one_attempt(state));
  SATSUMA_PROPERTY("NobodyBreaks", std::ranges::none_of(state.client, [](const Client& client) { return client.phase == Phase::broken; }));
  SATSUMA_PROPERTY("BoundedOvertaking", bounded_overtaking(history, state.without_admission));
  SATSUMA_PROPERTY("OneDesignated", one_designated(state));
  SATSUMA_PROPERTY("QuietMeansConverged", !quiet || converged(state));
#undef SATSUMA_PROPERTY
  return nullptr;
}

} // namespace satsuma::explore
