#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace satsuma {

/// Overwrites memory in a way the compiler may not remove.
void wipe(MutableByteView bytes);

/// Takes a time that depends on the sizes only.
bool constant_time_equal(ByteView a, ByteView b);

/// Key material on the heap: move-only, wiped when destroyed or replaced, never printed.
/// Copies are made by name (`clone`), so that each is seen in review.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size) : bytes_(size) {}
  static SecretBytes copy_of(ByteView view);

  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::move(other.bytes_)) { other.bytes_.clear(); }
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { wipe(bytes_); }

  SecretBytes clone() const { return copy_of(view()); }
  ByteView view() const { return bytes_; }
  MutableByteView mutable_view() { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  friend bool operator==(const SecretBytes& a, const SecretBytes& b) { return constant_time_equal(a.bytes_, b.bytes_); }

 private:
  Bytes bytes_;
};

/// The same with a fixed capacity and no heap, for keys on the packet and frame paths.
template <std::size_t N>
class SecretArray {
 public:
  SecretArray() = default;
  SecretArray(SecretArray&& other) noexcept : bytes_(other.bytes_) { wipe(other.bytes_); }
  SecretArray& operator=(SecretArray&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      wipe(other.bytes_);
    }
    return *this;
  }
  SecretArray(const SecretArray&) = delete;
  SecretArray& operator=(const SecretArray&) = delete;
  ~SecretArray() { wipe(bytes_); }

  ByteView view() const { return bytes_; }
  MutableByteView mutable_view() { return bytes_; }
  static constexpr std::size_t size() { return N; }

 private:
  std::array<std::uint8_t, N> bytes_{};
};

} // namespace satsuma
