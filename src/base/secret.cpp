#include "base/secret.h"

#include <cstring>

namespace satsuma {

void wipe(MutableByteView bytes) {
  if (bytes.empty()) return;
  std::memset(bytes.data(), 0, bytes.size());
  __asm__ __volatile__("" : : "r"(bytes.data()) : "memory"); // it may be read here, for all that the compiler knows
}

bool constant_time_equal(ByteView a, ByteView b) {
  if (a.size() != b.size()) return false;
  std::uint8_t difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<std::uint8_t>(a[i] ^ b[i]);
  volatile std::uint8_t opaque = difference;
  return opaque == 0;
}

SecretBytes SecretBytes::copy_of(ByteView view) {
  SecretBytes copy;
  copy.bytes_.assign(view.begin(), view.end());
  return copy;
}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    wipe(bytes_);
    bytes_ = std::move(other.bytes_);
    other.bytes_.clear();
  }
  return *this;
}

} // namespace satsuma
