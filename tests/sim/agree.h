#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/world.h"

namespace satsuma::sim {

/// As its screen shows them.
inline std::set<std::string> names(const Person& person) {
  std::set<std::string> all;
  for (const call::RosterEntry& entry : person.session->roster().entries()) all.insert(entry.profile.name);
  return all;
}

/// These, `others`, and nobody else are in one group in the same epoch, and see the same number.
inline testing::AssertionResult agree(std::initializer_list<const Person*> people, std::initializer_list<std::string> others = {}) {
  std::set<std::string> expected(others);
  for (const Person* person : people) expected.insert(person->name);
  std::set<std::string> digits;
  std::set<std::pair<std::uint64_t, std::uint64_t>> epochs;
  for (const Person* person : people) {
    if (!person->in()) return testing::AssertionFailure() << person->name << " is not in";
    if (names(*person) != expected) return testing::AssertionFailure() << person->name << " sees " << person->roster_size() << " people";
    digits.insert(person->digits());
    epochs.insert({person->epochs.back().era, person->epochs.back().epoch});
  }
  if (digits.size() != 1 || epochs.size() != 1) return testing::AssertionFailure() << "they differ";
  return testing::AssertionSuccess();
}

inline std::vector<call::RejoinReason> rejoined(const Person& person) {
  std::vector<call::RejoinReason> reasons;
  for (const auto& event : person.all<call::RejoiningEvent>()) reasons.push_back(event.reason);
  return reasons;
}

} // namespace satsuma::sim
