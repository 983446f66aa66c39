#include "base/bytes.h"

#include <gtest/gtest.h>

#include "base/secret.h"

namespace satsuma {
namespace {

TEST(ByteReader, ReadsBigEndianAndStopsAtTheEnd) {
  const Bytes input = {1, 2, 3, 4, 5, 6, 7};
  ByteReader reader(input);
  EXPECT_EQ(*reader.u8(), 1);
  EXPECT_EQ(*reader.u16(), 0x0203);
  EXPECT_EQ(*reader.u32(), 0x04050607u);
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(reader.u8().error(), Error(bytes_truncated));
}

TEST(ByteReader, AFailedReadConsumesNothing) {
  const Bytes input = {1, 2, 3};
  ByteReader reader(input);
  EXPECT_FALSE(reader.u32().has_value());
  EXPECT_EQ(*reader.u24(), 0x010203u);
  EXPECT_TRUE(reader.expect_end().has_value());
}

TEST(ByteReader, TrailingBytesAreAnError) {
  const Bytes input = {1};
  EXPECT_EQ(ByteReader(input).expect_end().error(), Error(bytes_trailing));
}

TEST(SpanWriter, WritesWhatFitsAndReportsWhatDoesNot) {
  std::uint8_t room[4];
  SpanWriter writer(room);
  writer.u16(0x0102);
  writer.u24(0x030405);
  writer.u8(9);
  EXPECT_FALSE(writer.ok());
  EXPECT_EQ(writer.written().error(), Error(bytes_no_space));
  EXPECT_EQ(writer.size(), 2u);
}

TEST(Hex, GoesBothWaysAndRefusesOtherText) {
  EXPECT_EQ(to_hex(*from_hex("00ffA7")), "00ffa7");
  EXPECT_FALSE(from_hex("0").has_value());
  EXPECT_FALSE(from_hex("zz").has_value());
}

TEST(Secret, ComparesLengthToo) {
  const Bytes a = {1, 2, 3}, b = {1, 2};
  EXPECT_FALSE(constant_time_equal(a, b));
  EXPECT_TRUE(constant_time_equal(a, a));
}

TEST(Secret, AMovedFromSecretIsEmpty) {
  SecretBytes a = SecretBytes::copy_of(Bytes{1, 2, 3});
  SecretBytes b = std::move(a);
  EXPECT_EQ(b.size(), 3u);
  EXPECT_TRUE(a.empty()); // NOLINT: the moved-from state is what is tested
}

} // namespace
} // namespace satsuma
