#pragma once

#include <string>

#include "base/bytes.h"

namespace satsuma::call {

/// What people compare to find out that they are in the same group and nobody else is: derived from the MLS epoch
/// authenticator (RFC 9420 s.8.7), so it differs as soon as anything about group or history differs.
struct SafetyNumber {
  std::string digits; ///< 30 digits in groups of five
  Bytes bits;         ///< the whole authenticator, for machines (a QR code)
  friend bool operator==(const SafetyNumber&, const SafetyNumber&) = default;
};

/// Six groups, each 5 bytes of SHA-256("satsuma safety number 1" || authenticator) as a big-endian number modulo 100000: 99.6 bits.
SafetyNumber safety_number(ByteView epoch_authenticator);

} // namespace satsuma::call
