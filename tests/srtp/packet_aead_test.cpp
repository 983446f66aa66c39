#include "srtp/packet_aead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace satsuma::srtp {
namespace {

class Packets : public testing::TestWithParam<PacketAead::Library> {
 protected:
  void SetUp() override {
    if (GetParam() == PacketAead::Library::ipsec_mb && PacketAead::fastest() != PacketAead::Library::ipsec_mb) GTEST_SKIP() << "built without ipsec-mb, or no AES instructions";
  }

  std::mt19937 random_{7};
  Bytes bytes(std::size_t size) {
    Bytes made(size);
    for (std::uint8_t& byte : made) byte = static_cast<std::uint8_t>(random_());
    return made;
  }
};
INSTANTIATE_TEST_SUITE_P(Aead, Packets, testing::Values(PacketAead::Library::openssl, PacketAead::Library::ipsec_mb));

// The third test case of GCM's specification (McGrew and Viega, appendix B) with its 96-bit nonce.
TEST_P(Packets, AreThoseOfTheSpecification) {
  PacketAead aead(*from_hex("feffe9928665731c6d6a8f9467308308"), GetParam());
  const Bytes plaintext = *from_hex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255");
  Bytes out(plaintext.size() + crypto::aead_tag_size);
  EXPECT_EQ(to_hex(aead.seal(*from_hex("cafebabefacedbaddecaf888"), {}, plaintext, out)),
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
            "4d5c2af327cd64a62cf35abd2ba6fab4");
}

// Of all sizes that a datagram may have, wherever the blocks of the cipher end.
TEST_P(Packets, AreTheSameAsWithOpensslAndOpenInPlace) {
  const Bytes key = bytes(16);
  PacketAead aead(key, GetParam());
  crypto::AeadKey other(crypto::AeadAlgorithm::aes_128_gcm, key);
  for (std::size_t size = 0; size <= 1500; ++size) {
    const Bytes nonce = bytes(12), header = bytes(12 + size % 61), plaintext = bytes(size);
    Bytes expected(size + crypto::aead_tag_size), out = plaintext;
    other.seal(nonce, header, plaintext, expected);
    out.resize(expected.size());
    ASSERT_EQ(to_bytes(aead.seal(nonce, header, ByteView(out).first(size), out)), expected) << size;
    const auto opened = aead.open(nonce, header, out, out);
    ASSERT_TRUE(opened) << size;
    ASSERT_EQ(to_bytes(*opened), plaintext);
  }
}

TEST_P(Packets, AreRefusedWithAnyBitChanged) {
  PacketAead aead(bytes(16), GetParam());
  const Bytes nonce = bytes(12), header = bytes(20), plaintext = bytes(100);
  Bytes packet(plaintext.size() + crypto::aead_tag_size), out(packet.size());
  aead.seal(nonce, header, plaintext, packet);
  const auto refused = [&](const Bytes& n, const Bytes& h, ByteView p) {
    std::ranges::fill(out, std::uint8_t{0xee});
    const auto opened = aead.open(n, h, p, out);
    const std::size_t written = p.size() < crypto::aead_tag_size ? 0 : p.size() - crypto::aead_tag_size;
    return !opened && opened.error() == crypto::aead_open_failed && std::ranges::all_of(ByteView(out).first(written), [](std::uint8_t byte) { return byte == 0; });
  };
  const auto changed = [](Bytes bytes, std::size_t bit) {
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    return bytes;
  };
  for (std::size_t bit = 0; bit < 8 * packet.size(); ++bit) ASSERT_TRUE(refused(nonce, header, changed(packet, bit))) << bit;
  for (std::size_t bit = 0; bit < 8 * header.size(); ++bit) ASSERT_TRUE(refused(nonce, changed(header, bit), packet)) << bit;
  for (std::size_t bit = 0; bit < 8 * nonce.size(); ++bit) ASSERT_TRUE(refused(changed(nonce, bit), header, packet)) << bit;
  for (std::size_t size = 0; size < packet.size(); ++size) ASSERT_TRUE(refused(nonce, header, ByteView(packet).first(size))) << size;
  EXPECT_TRUE(aead.open(nonce, header, packet, out));
}

} // namespace
} // namespace satsuma::srtp
