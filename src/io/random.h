#pragma once

#include "base/random.h"

namespace satsuma::io {

/// The operating system's generator (getrandom). Has no state: any thread may use any instance.
/// Ends the process if the system has no randomness to give, for nothing sound can follow.
class SystemRandom final : public RandomSource {
 public:
  void fill(MutableByteView out) override;
};

} // namespace satsuma::io
