#include "room_link.h"

#include <gtest/gtest.h>

namespace satsuma::client {
namespace {

TEST(RoomLink, SaysServerRoomSecretAndSuite) {
  const auto link = parse_room_link("https://meet.example.org/r/orchard-42#AAECAwQFBgcICQoLDA0ODw");
  ASSERT_TRUE(link) << link.error();
  EXPECT_TRUE(link->server.tls);
  EXPECT_EQ(link->server.port, 443);
  EXPECT_EQ(link->server.authority(), "meet.example.org");
  EXPECT_EQ(link->room, "orchard-42");
  EXPECT_EQ(to_hex(link->secret.view()), "000102030405060708090a0b0c0d0e0f");
  EXPECT_EQ(link->suite, call::RoomSuite::standard);
  const auto other = parse_room_link("http://[::1]:8080/r/a#AAECAwQFBgcICQoLDA0ODw.aes");
  ASSERT_TRUE(other);
  EXPECT_FALSE(other->server.tls);
  EXPECT_EQ(other->server.authority(), "[::1]:8080");
  EXPECT_EQ(other->suite, call::RoomSuite::mandatory);
}

TEST(RoomLink, WhatIsDamagedIsToldWithItsPlace) {
  const auto complaint = [](std::string_view text) {
    const auto link = parse_room_link(text);
    return link ? std::string("taken") : link.error();
  };
  const std::string secret = "#AAECAwQFBgcICQoLDA0ODw";
  EXPECT_NE(complaint("meet.example.org/r/a" + secret).find("no link"), std::string::npos);
  EXPECT_NE(complaint("https://meet.example.org").find("no room"), std::string::npos);
  EXPECT_NE(complaint("https:///r/a" + secret).find("no server"), std::string::npos);
  EXPECT_NE(complaint("https://h/r/A_B" + secret).find("A_B"), std::string::npos);
  EXPECT_NE(complaint("https://h/r/a").find("#"), std::string::npos);
  EXPECT_NE(complaint("https://h/r/a#AAEC").find("damaged"), std::string::npos);
  EXPECT_NE(complaint("https://h/r/a#AAECAwQFBgcICQoLDA0ODx").find("damaged"), std::string::npos) << "spare bits";
  EXPECT_NE(complaint("https://h/r/a" + secret + ".rot13").find("suite"), std::string::npos);
  EXPECT_NE(complaint("https://h:0/r/a" + secret).find("port"), std::string::npos);
  EXPECT_NE(complaint("https://h:99999/r/a" + secret).find("port"), std::string::npos);
}

TEST(RoomLink, WhatIsMadeIsReadAgain) {
  Bytes secret(16);
  for (std::size_t i = 0; i < 16; ++i) secret[i] = static_cast<std::uint8_t>(37 * i + 200);
  const auto link = parse_room_link(make_room_link("https://h:8443/", secret, "demo"));
  ASSERT_TRUE(link) << link.error();
  EXPECT_TRUE(equal(link->secret.view(), secret));
  EXPECT_EQ(link->server.port, 8443);
}

} // namespace
} // namespace satsuma::client
