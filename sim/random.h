#pragma once

#include <cstdint>

#include "base/random.h"
#include "base/time.h"

namespace satsuma::sim {

/// Numbers that follow from a seed, the same on every machine (xoshiro256**, seeded by splitmix64). For the weather, and as the
/// random source of simulated clients: nothing here protects anything.
class Dice final : public RandomSource {
 public:
  explicit Dice(std::uint64_t seed) {
    for (std::uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      std::uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      word = z ^ (z >> 31);
    }
  }

  std::uint64_t next() {
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }
  void fill(MutableByteView out) override {
    for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(next() >> 56);
  }

  /// From 0 to below `bound`.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  /// From `least` to `most`, both included.
  std::int64_t between(std::int64_t least, std::int64_t most) {
    return least + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(most - least) + 1));
  }
  Duration between(Duration least, Duration most) { return Duration(between(least.count(), most.count())); }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

 private:
  static std::uint64_t rotate(std::uint64_t value, int bits) { return value << bits | value >> (64 - bits); }
  std::uint64_t state_[4];
};

} // namespace satsuma::sim
