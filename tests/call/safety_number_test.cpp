#include "call/safety_number.h"

#include <gtest/gtest.h>

namespace satsuma::call {
namespace {

TEST(SafetyNumber, HasSixGroupsOfFiveDigits) {
  const Bytes authenticator(32, 7);
  const SafetyNumber number = safety_number(authenticator);
  ASSERT_EQ(number.digits.size(), 35u);
  for (std::size_t i = 0; i < number.digits.size(); ++i) {
    const char c = number.digits[i];
    EXPECT_TRUE(i % 6 == 5 ? c == ' ' : c >= '0' && c <= '9') << i;
  }
  EXPECT_EQ(number.bits, authenticator);
}

TEST(SafetyNumber, DiffersWhenOneBitOfTheAuthenticatorDiffers) {
  Bytes authenticator(32, 7);
  const auto before = safety_number(authenticator);
  authenticator[31] ^= 1;
  EXPECT_NE(safety_number(authenticator).digits, before.digits);
}

// Golden, computed apart from this program: two versions of it must show the same.
TEST(SafetyNumber, OfAGivenAuthenticatorNeverChanges) {
  EXPECT_EQ(safety_number(Bytes(32, 0)).digits, "19381 31974 33718 50522 52507 92398");
}

} // namespace
} // namespace satsuma::call
