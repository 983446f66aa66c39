#include "sframe/forgery_allowance.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "crypto/hash.h"

namespace satsuma::sframe {

ForgeryAllowance::ForgeryAllowance(ByteView seed) {
  SATSUMA_CHECK(seed.size() == seed_.size());
  std::memcpy(seed_.mutable_view().data(), seed.data(), seed.size());
}

bool ForgeryAllowance::admits_far(std::uint32_t derivations) {
  const std::uint32_t cost = derivations * frames_for_one;
  if (credit_ < cost && draw() >= 256 / (derivations + 1)) return false;
  charged_ = std::min(credit_, cost);
  credit_ -= charged_;
  return true;
}

// Thirty-two to one HMAC: less than the comparison of a header.
std::uint8_t ForgeryAllowance::draw() {
  if (used_ == drawn_.size()) {
    std::array<std::uint8_t, 8> number;
    SpanWriter(number).u64(draws_++);
    crypto::hmac_into(crypto::HashAlgorithm::sha256, seed_.view(), {number}, drawn_.mutable_view());
    used_ = 0;
  }
  return drawn_.view()[used_++];
}

} // namespace satsuma::sframe
