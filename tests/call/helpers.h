#pragma once

#include <chrono>
#include <string>

#include "base/random.h"
#include "base/secret.h"
#include "base/time.h"
#include "crypto/hash.h"

namespace satsuma::call::test {

using namespace std::chrono_literals;

/// Bytes that follow from a seed.
class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : seed_(seed) {}
  void fill(MutableByteView out) override {
    for (std::uint8_t& byte : out) {
      if (used_ == block_.size()) {
        ByteWriter input;
        input.u64(seed_);
        input.u64(counter_++);
        block_ = crypto::hash(crypto::HashAlgorithm::sha256, input.view());
        used_ = 0;
      }
      byte = block_[used_++];
    }
  }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
  Bytes block_;
  std::size_t used_ = 0;
};

inline TimePoint at(Duration since_start) { return TimePoint(since_start); }

inline SecretBytes secret_of(std::uint8_t byte, std::size_t size) {
  SecretBytes secret(size);
  for (std::uint8_t& b : secret.mutable_view()) b = byte;
  return secret;
}

} // namespace satsuma::call::test
