#pragma once

#include "base/random.h"
#include "crypto/hash.h"

namespace satsuma::mls {

/// Bytes that a seed decides.
class SeededRandom : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed = 1) : seed_(seed) {}
  void fill(MutableByteView out) override {
    for (std::size_t done = 0; done < out.size();) {
      ByteWriter counter;
      counter.u64(seed_);
      counter.u64(counter_++);
      const Bytes block = crypto::hash(crypto::HashAlgorithm::sha256, counter.view());
      for (std::size_t i = 0; i < block.size() && done < out.size(); ++i) out[done++] = block[i];
    }
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(u64() % bound); }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

} // namespace satsuma::mls
