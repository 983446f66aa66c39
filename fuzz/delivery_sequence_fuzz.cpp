// Arbitrary sequences of what clients, network, clock and a killed server do to a room: tests/delivery/sequence_driver.h.
#include <cstddef>
#include <cstdint>

#include "../tests/delivery/sequence_driver.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  satsuma::delivery::testing::SequenceDriver(satsuma::ByteView(data, size)).run();
  return 0;
}
