#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/time.h"
#include "rtp/sequence.h"

namespace satsuma::rtp {

/// Which packets of one stream to ask for again (RFC 4585 s.6.2.1), and when. Memory is taken once, with the first packet.
class NackGenerator {
 public:
  /// `capacity`: packets waited for at once. `repeat_after` is somewhat more than a round trip.
  NackGenerator(std::size_t capacity, Duration repeat_after = std::chrono::milliseconds(80), unsigned max_requests = 10);

  enum class Outcome : std::uint8_t {
    fine,
    /// More is missing than is worth asking for; the list is empty again and only a key frame helps.
    given_up,
  };
  /// A packet arrived, by whatever way.
  Outcome on_packet(ExtendedSequence sequence);
  /// A key frame starts here: what is missing before it is of no use any more.
  void forget_before(ExtendedSequence sequence);
  /// What to ask for now, rising, into `out`; returns how many. Asked `max_requests` times, a packet is given up.
  std::size_t poll(TimePoint now, std::span<std::uint16_t> out);

  std::size_t missing() const { return missing_.size(); }
  void reset();
  /// The same, and gives the memory back.
  void rest();

 private:
  struct Missing {
    ExtendedSequence sequence;
    TimePoint asked_at;
    unsigned requests;
  };

  std::size_t capacity_;
  Duration repeat_after_;
  unsigned max_requests_;
  ExtendedSequence highest_ = -1;
  std::vector<Missing> missing_; ///< rising
};

} // namespace satsuma::rtp
