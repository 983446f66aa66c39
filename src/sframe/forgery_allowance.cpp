#include "sframe/forgery_allowance.h"

#include <algorithm>
#include <array>

#include "crypto/hash.h"

namespace satsuma::sframe {

void ForgeryAllowance::seed(ByteView secret) {
  if (seeded_) return;
  crypto::hmac_into(crypto::HashAlgorithm::sha256, secret, {as_bytes("satsuma chance 1")}, seed_.mutable_view());
  seeded_ = true;
}

bool ForgeryAllowance::admits(std::uint32_t derivations) {
  if (credit_ >= derivations * frames_for_one) return true;
  return draw() < 256 / (derivations + 1);
}

void ForgeryAllowance::handle_failure(std::uint32_t derivations) {
  SATSUMA_CHECK(seeded_);
  credit_ -= std::min(credit_, derivations * frames_for_one);
}

void ForgeryAllowance::handle_success() { credit_ = std::min(credit_ + 1, most * frames_for_one); }

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
