#include "mls/wire/grease.h"

namespace satsuma::mls {

std::uint16_t grease_value(RandomSource& random) {
  // 0x0A0A, 0x1A1A, and so on to 0xEAEA.
  const auto byte = static_cast<std::uint16_t>(0x0a + 0x10 * (random.u64() % 15));
  return static_cast<std::uint16_t>(byte << 8 | byte);
}

Extension grease_extension(RandomSource& random) {
  Extension extension{grease_value(random), Bytes(random.u64() % 17)};
  random.fill(extension.data);
  return extension;
}

void add_grease(Capabilities& capabilities, RandomSource& random) {
  for (NumberList* list : {&capabilities.cipher_suites, &capabilities.extensions, &capabilities.proposals, &capabilities.credentials}) {
    list->push_back(grease_value(random));
  }
}

} // namespace satsuma::mls
