#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>

#include "base/bytes.h"

namespace satsuma::crypto {

/// An HMAC-SHA-1 key (RFC 2104) whose two pads have been hashed once: what is left for each packet are its own blocks and
/// one more, and nothing allocates.
class HmacSha1Key {
 public:
  static constexpr std::size_t tag_size = 20;

  explicit HmacSha1Key(ByteView key);
  HmacSha1Key(HmacSha1Key&&) noexcept;
  HmacSha1Key& operator=(HmacSha1Key&&) noexcept;
  ~HmacSha1Key();

  /// The parts are authenticated as if concatenated. `out` has 1 to 20 bytes; a shorter one gets the tag's first bytes.
  void tag(std::initializer_list<ByteView> parts, MutableByteView out) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

} // namespace satsuma::crypto
