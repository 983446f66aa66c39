// A schedule from text, and a link that lives by it: nothing that was taken in is invented, and what waits is bounded.

#include <cstdlib>

#include "impairment/link.h"

using namespace satsuma;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto schedule = impairment::Schedule::parse(as_text({data, size}), impairment::Direction::up);
  if (!schedule) return 0;
  const TimePoint start{};
  impairment::Link link(*schedule, size, start);
  const Bytes datagram(200);
  for (int i = 0; i < 200; ++i) {
    const TimePoint now = start + std::chrono::milliseconds(50) * i;
    link.handle_datagram(now, datagram);
    link.handle_timeout(now);
    while (const auto out = link.poll_output())
      if (out->size() != datagram.size()) std::abort();
    if (const auto next = link.next_deadline(); next && *next <= now) std::abort();
  }
  const auto& c = link.counters();
  if (c.out > c.in + c.duplicated || c.lost + c.cut + c.queue_full > c.in) std::abort();
  return 0;
}
