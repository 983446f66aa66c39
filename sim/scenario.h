#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sim/world.h"

namespace satsuma::sim {

struct SeedResult {
  std::optional<std::string> failure; ///< the property that was broken, and how
  std::uint64_t fingerprint = 0;
  std::uint64_t steps = 0;
  std::size_t people = 0;
  std::uint64_t commits = 0;
  std::uint64_t eras = 0;
  std::uint64_t departures = 0;
  std::uint64_t rejoins = 0;
  Weather weather;
  std::string trace;                  ///< when asked for
};

/// One run: people, weather and faults follow from the seed. First a time of trouble, with the safety properties of oracle.h checked at each
/// step; then everything heals, and within a bounded time
///   L1  everyone who is up and has the secret is a member
///   L2  nobody else is
///   L3  all agree on epoch, roster and number, and everyone decrypts everyone's frames and messages
///   L4  one more person who knocks is in within two seconds
SeedResult run_seed(std::uint64_t seed, bool trace = false);

} // namespace satsuma::sim
