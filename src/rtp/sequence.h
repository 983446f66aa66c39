#pragma once

#include <cstdint>
#include <optional>

namespace satsuma::rtp {

/// A sequence number without its wrap-arounds: rises for ever, comparable with <. The low 16 bits are what is on the wire.
using ExtendedSequence = std::int64_t;

inline std::uint16_t wire(ExtendedSequence sequence) { return static_cast<std::uint16_t>(sequence); }

/// Whether `a` comes after `b` on the circle of 2^16 (RFC 1982).
inline bool newer(std::uint16_t a, std::uint16_t b) { return static_cast<std::int16_t>(static_cast<std::uint16_t>(a - b)) > 0; }
inline bool newer(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) > 0; }

/// Turns wire sequence numbers into extended ones, each as near to the highest so far as can be.
class SequenceUnwrapper {
 public:
  /// What `sequence` would become; changes nothing.
  ExtendedSequence peek(std::uint16_t sequence) const {
    if (!highest_) return first_cycle + sequence;
    return *highest_ + static_cast<std::int16_t>(static_cast<std::uint16_t>(sequence - wire(*highest_)));
  }
  ExtendedSequence unwrap(std::uint16_t sequence) {
    const ExtendedSequence extended = peek(sequence);
    if (!highest_ || extended > *highest_) highest_ = extended;
    return extended;
  }
  std::optional<ExtendedSequence> highest() const { return highest_; }
  void reset() { highest_.reset(); }

 private:
  // One cycle above zero, so that packets reordered before the first stay positive.
  static constexpr ExtendedSequence first_cycle = 65536;
  std::optional<ExtendedSequence> highest_;
};

} // namespace satsuma::rtp
