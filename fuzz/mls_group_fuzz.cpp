// Arbitrary lives of a small group, with arbitrary bytes in between: tests/mls/group_sequence.h.
#include <cstddef>
#include <cstdint>

#include "../tests/mls/group_sequence.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace satsuma;
  if (size < 1) return 0;
  mls::testing::GroupSequence sequence(mls::testing::Choices(ByteView(data + 1, size - 1)), mls::CipherSuite{3}, {6, 3}, data[0]);
  sequence.run(12);
  return 0;
}
