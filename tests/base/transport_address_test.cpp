#include "base/transport_address.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace satsuma {
namespace {

TEST(TransportAddress, IsReadAndWrittenInTheFormOfRfc5952) {
  for (const auto& [text, canonical] : {std::pair{"192.0.2.1", "192.0.2.1"},
                                        {"0.0.0.0", "0.0.0.0"},
                                        {"255.255.255.255", "255.255.255.255"},
                                        {"::", "::"},
                                        {"::1", "::1"},
                                        {"1::", "1::"},
                                        {"2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"},
                                        {"2001:0db8:0001:0001:0001:0001:0001:0001", "2001:db8:1:1:1:1:1:1"},
                                        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
                                        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
                                        {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
                                        {"::ffff:192.0.2.1", "192.0.2.1"},
                                        {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"}}) {
    const auto address = TransportAddress::parse(text, 7);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->ip_text(), canonical);
    EXPECT_EQ(address->port, 7);
    EXPECT_EQ(*TransportAddress::parse(address->ip_text(), 7), *address);
  }
}

TEST(TransportAddress, RefusesTextThatIsNoAddress) {
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1..2.3", "a.b.c.d", ":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3",
                           "12345::", "g::", "::1%eth0", "[::1]", "1:2:3:4:5:6:7:8::", "1:", ":1", "::1.2.3", "1:2:3:4:5:6:7:1.2.3.4", "1.2.3.4::"}) {
    EXPECT_FALSE(TransportAddress::parse(text, 7)) << text;
  }
}

TEST(TransportAddress, HasOneFormForAnIpv4Address) {
  const TransportAddress v4 = TransportAddress::v4({192, 0, 2, 1}, 5);
  EXPECT_EQ(v4, *TransportAddress::parse("192.0.2.1", 5));
  EXPECT_EQ(v4, *TransportAddress::parse("::ffff:c000:201", 5));
  EXPECT_TRUE(v4.is_v4());
  EXPECT_EQ(v4.v4_bytes(), (std::array<std::uint8_t, 4>{192, 0, 2, 1}));
  EXPECT_FALSE(TransportAddress::parse("2001:db8::1", 5)->is_v4());
}

TEST(NetworkPath, IsAKeyByAllItsParts) {
  const NetworkPath path{TransportAddress::v4({192, 0, 2, 1}, 5), 1};
  std::unordered_set<NetworkPath> set{path, {TransportAddress::v4({192, 0, 2, 2}, 5), 1}, {TransportAddress::v4({192, 0, 2, 1}, 6), 1},
                                      {TransportAddress::v4({192, 0, 2, 1}, 5), 2}};
  EXPECT_EQ(set.size(), 4u);
  EXPECT_TRUE(set.contains(path));
}

} // namespace
} // namespace satsuma
