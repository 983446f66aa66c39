#pragma once

#include "base/random.h"

namespace satsuma {

/// Bytes that follow from a seed: good enough for weather and noise, and the same everywhere.
class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  void fill(MutableByteView out) override {
    for (std::uint8_t& byte : out) {
      state_ = state_ * 6364136223846793005U + 1442695040888963407U;
      byte = static_cast<std::uint8_t>(state_ >> 56);
    }
  }

 private:
  std::uint64_t state_;
};

} // namespace satsuma
