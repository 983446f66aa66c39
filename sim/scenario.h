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
///   EachIsAdmitted    everyone who is up and has the secret is a member; one more person who knocks is in within two seconds
///   EachLeaves        nobody else is
///   OnlyInsiders      who was taken out knows
///   InTheEndAllAgree  on epoch, roster and number, and everyone decrypts everyone's frames and messages
struct SeedOptions {
  bool trace = false;
  /// Runs on after other violations (WorldOptions::only_property).
  std::string only_property;
  /// Only the beginning of a room: a few come at once over slow networks, and leave again at once.
  bool founders = false;
};
SeedResult run_seed(std::uint64_t seed, const SeedOptions& options = {});

} // namespace satsuma::sim
