#include "call/safety_number.h"

#include "crypto/hash.h"

namespace satsuma::call {

SafetyNumber safety_number(ByteView epoch_authenticator) {
  constexpr int groups = 6;
  constexpr int bytes_in_group = 5;
  std::uint8_t digest[32];
  crypto::hash_into(crypto::HashAlgorithm::sha256, {as_bytes("satsuma safety number 1"), epoch_authenticator}, digest);
  std::string digits;
  for (int group = 0; group < groups; ++group) {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes_in_group; ++i) value = value << 8 | digest[group * bytes_in_group + i];
    const std::string number = std::to_string(value % 100000);
    if (group > 0) digits += ' ';
    digits.append(5 - number.size(), '0').append(number);
  }
  return {std::move(digits), to_bytes(epoch_authenticator)};
}

} // namespace satsuma::call
