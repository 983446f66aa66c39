#pragma once

#include "base/bytes.h"

namespace satsuma {

/// Where random bytes come from. `io` implements it with the operating system's generator, the
/// simulator with a seed, so that a run can be replayed.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void fill(MutableByteView out) = 0;

  std::uint64_t u64() {
    std::uint8_t b[8];
    fill(b);
    std::uint64_t value = 0;
    for (std::uint8_t byte : b) value = value << 8 | byte;
    return value;
  }
};

} // namespace satsuma
