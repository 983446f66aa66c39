#include "base/secret.h"

#include <atomic>

namespace satsuma {

void wipe(MutableByteView bytes) {
  volatile std::uint8_t* p = bytes.data();
  for (std::size_t i = 0; i < bytes.size(); ++i) p[i] = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
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
