#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace satsuma::sfu {

/// Space for the packets of one tick. What was taken stays in its place until clear(); chunks are kept, so that a shard that
/// has seen its busiest tick allocates no more.
class SendArena {
 public:
  explicit SendArena(std::size_t limit) : limit_(limit) {}

  /// Empty when the limit is reached. At most chunk_size.
  MutableByteView take(std::size_t size);
  void clear();
  /// Bytes, about.
  std::size_t used() const { return chunk_ * chunk_size + used_; }

 private:
  static constexpr std::size_t chunk_size = 256U << 10;

  std::size_t limit_;
  std::vector<std::unique_ptr<std::uint8_t[]>> chunks_;
  std::size_t chunk_ = 0; ///< the one in use
  std::size_t used_ = 0;  ///< of it
};

} // namespace satsuma::sfu
