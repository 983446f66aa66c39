#pragma once

#include <cstddef>

namespace satsuma::bench {

/// What is offered: every publisher sends `packets_per_second` packets of `packet_bytes` on the wire, `packets_per_frame` at a time.
struct Shape {
  unsigned participants = 101;
  unsigned publishers = 1;
  bool audio = false; ///< packets of 20 ms of sound, one at a time
  unsigned packet_bytes = 1200;
  double packets_per_second = 300;
  unsigned packets_per_frame = 4;
  double seconds = 5;
};

/// The limit without any logic: AES-128-GCM under a context for each subscriber and UDP_SEGMENT, of the same shape, to sockets that another process reads.
int raw(const Shape& shape);

} // namespace satsuma::bench
