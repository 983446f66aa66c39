#include "sframe/sframe.h"

#include <gtest/gtest.h>

#include "protocol_reference.h"

namespace satsuma::sframe {
namespace {

constexpr CipherSuite suites[] = {
    CipherSuite::aes_128_ctr_hmac_sha256_80, CipherSuite::aes_128_ctr_hmac_sha256_64, CipherSuite::aes_128_ctr_hmac_sha256_32,
    CipherSuite::aes_128_gcm_sha256_128,     CipherSuite::aes_256_gcm_sha512_128,     CipherSuite::aes_256_ctr_hmac_sha512_80,
    CipherSuite::aes_256_ctr_hmac_sha512_64, CipherSuite::aes_256_ctr_hmac_sha512_32, CipherSuite::chacha20_poly1305_sha256_128};

const Bytes base_key(32, 0x42);

Bytes protect(Sender& sender, ByteView plaintext, ByteView metadata = {}) {
  Bytes out(plaintext.size() + max_overhead);
  return to_bytes(*sender.protect(metadata, plaintext, out));
}

Result<Bytes> unprotect(Receiver& receiver, ByteView frame, ByteView metadata = {}) {
  Bytes out(frame.size());
  ForgeryAllowance line{Bytes(32, 1)};
  SATSUMA_TRY(const Unprotected opened, receiver.unprotect(line, metadata, frame, out));
  return to_bytes(opened.plaintext);
}

struct Pair {
  Sender sender;
  Receiver receiver;
  explicit Pair(CipherSuite suite, std::uint64_t key_id = 0x1234) : sender(suite), receiver(suite) {
    sender.set_key(key_id, base_key);
    receiver.try_key(key_id, base_key);
  }
};

class EverySuite : public testing::TestWithParam<CipherSuite> {};
INSTANTIATE_TEST_SUITE_P(SFrame, EverySuite, testing::ValuesIn(suites));

TEST_P(EverySuite, AFrameComesBackAndCarriesAtMost24BytesMore) {
  Pair pair(GetParam(), 3u << 16 | 4095u << 4 | 15);
  const Bytes plaintext(1200, 7), metadata = {1};
  const Bytes frame = protect(pair.sender, plaintext, metadata);
  EXPECT_LE(frame.size(), plaintext.size() + 24);
  EXPECT_EQ(*unprotect(pair.receiver, frame, metadata), plaintext);
}

TEST_P(EverySuite, AnEmptyFrameIsAFrame) {
  Pair pair(GetParam());
  EXPECT_TRUE(unprotect(pair.receiver, protect(pair.sender, {}))->empty());
}

TEST_P(EverySuite, AnyFlippedBitAndAnyTruncationIsRejectedAndMovesNoWindow) {
  Pair pair(GetParam());
  const Bytes plaintext = {1, 2, 3, 4, 5}, metadata = {9};
  const Bytes frame = protect(pair.sender, plaintext, metadata);
  for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    Bytes changed = frame;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1 << (bit % 8));
    EXPECT_FALSE(unprotect(pair.receiver, changed, metadata).has_value()) << bit;
  }
  for (std::size_t size = 0; size < frame.size(); ++size) {
    EXPECT_FALSE(unprotect(pair.receiver, ByteView(frame).first(size), metadata).has_value()) << size;
  }
  EXPECT_EQ(unprotect(pair.receiver, frame, Bytes{8}).error(), Error(sframe_authentication_failed));
  EXPECT_TRUE(unprotect(pair.receiver, frame, metadata).has_value());
}

TEST(Sender, WithoutAKeyNothingIsProtected) {
  Sender sender(CipherSuite::chacha20_poly1305_sha256_128);
  Bytes out(100);
  EXPECT_EQ(sender.protect({}, Bytes{1}, out).error(), Error(sframe_no_key));
}

TEST(Sender, ASpanThatIsTooSmallIsRefusedAndUsesNoCounter) {
  Pair pair(CipherSuite::chacha20_poly1305_sha256_128);
  Bytes out(10);
  EXPECT_EQ(pair.sender.protect({}, Bytes{1}, out).error(), Error(sframe_too_large));
  EXPECT_EQ(pair.sender.next_counter(), 0u);
}

TEST(Receiver, ADuplicateIsAReplayAndAnUnknownKeySaysSo) {
  Pair pair(CipherSuite::chacha20_poly1305_sha256_128);
  const Bytes frame = protect(pair.sender, Bytes{1});
  EXPECT_TRUE(unprotect(pair.receiver, frame).has_value());
  EXPECT_EQ(unprotect(pair.receiver, frame).error(), Error(sframe_replayed));
  pair.receiver.remove_key(0x1234);
  EXPECT_EQ(unprotect(pair.receiver, frame).error(), Error(sframe_unknown_key));
}

TEST(Receiver, ReorderingWithinTheWindowIsFineAndBeyondItIsNot) {
  Pair pair(CipherSuite::chacha20_poly1305_sha256_128);
  constexpr std::size_t step = FrameKeyTree::floor_step;
  std::vector<Bytes> frames;
  for (std::size_t i = 0; i < replay_window + 2 * step; ++i) frames.push_back(protect(pair.sender, Bytes{static_cast<std::uint8_t>(i)}));
  EXPECT_TRUE(unprotect(pair.receiver, frames[5]).has_value());
  EXPECT_TRUE(unprotect(pair.receiver, frames[2]).has_value());
  EXPECT_TRUE(unprotect(pair.receiver, frames.back()).has_value());
  EXPECT_EQ(unprotect(pair.receiver, frames[2 * step - 1]).error(), Error(sframe_replayed)); // just outside
  EXPECT_TRUE(unprotect(pair.receiver, frames[2 * step]).has_value());                       // the oldest inside
  EXPECT_EQ(unprotect(pair.receiver, frames[2 * step]).error(), Error(sframe_replayed));
  EXPECT_TRUE(unprotect(pair.receiver, protect(pair.sender, Bytes{1})).has_value());
  EXPECT_TRUE(unprotect(pair.receiver, frames[2 * step + 1]).has_value()); // its 64 are done with when all of them are outside
  for (std::size_t i = 1; i < step; ++i) EXPECT_TRUE(unprotect(pair.receiver, protect(pair.sender, Bytes{1})).has_value());
  EXPECT_EQ(unprotect(pair.receiver, frames[3 * step - 1]).error(), Error(sframe_replayed)); // as they are now
  EXPECT_TRUE(unprotect(pair.receiver, frames[replay_window]).has_value());
}

TEST_P(EverySuite, AGapOfAMillionFramesCostsOneFrame) {
  Pair pair(GetParam());
  EXPECT_EQ(*unprotect(pair.receiver, reference::protect(GetParam(), 0x1234, base_key, 1'000'000, Bytes{3}, Bytes{1}), Bytes{3}), Bytes{1});
  EXPECT_EQ(unprotect(pair.receiver, protect(pair.sender, Bytes{1})).error(), Error(sframe_replayed));
}

TEST_P(EverySuite, FramesAreThoseOfTheProtocol) {
  Pair pair(GetParam());
  for (std::uint64_t counter = 0; counter < 20; ++counter) {
    EXPECT_EQ(protect(pair.sender, Bytes{4, 5}, Bytes{6}), reference::protect(GetParam(), 0x1234, base_key, counter, Bytes{6}, Bytes{4, 5}));
  }
}

TEST(Receiver, AForgedFrameMovesNothingHoweverFarItsCounter) {
  Pair pair(CipherSuite::chacha20_poly1305_sha256_128);
  for (const std::uint64_t counter : {1u, 1000u, 5000u, 10'000'000u}) {
    Bytes forged = reference::protect(CipherSuite::chacha20_poly1305_sha256_128, 0x1234, base_key, counter, {}, Bytes{1});
    forged.back() ^= 1;
    EXPECT_EQ(unprotect(pair.receiver, forged).error(), Error(sframe_authentication_failed));
  }
  EXPECT_TRUE(unprotect(pair.receiver, protect(pair.sender, Bytes{1})).has_value());
}

TEST(Receiver, ACounterThatNobodyReachesIsRefusedUnseen) {
  Pair pair(CipherSuite::chacha20_poly1305_sha256_128);
  for (const std::uint64_t counter : {FrameKeyTree::capacity, ~std::uint64_t{0}}) {
    Bytes frame(40);
    write_header({0x1234, counter}, frame);
    EXPECT_EQ(unprotect(pair.receiver, frame).error(), Error(sframe_counter_too_large));
  }
}

TEST(Receiver, AKeyThatIsTriedStaysWithTheFirstGoodFrameOnly) {
  constexpr CipherSuite suite = CipherSuite::chacha20_poly1305_sha256_128;
  Receiver receiver(suite);
  Bytes frame = reference::protect(suite, 7, base_key, 3, {}, Bytes{1});
  Bytes forged = frame;
  forged.back() ^= 1;
  receiver.try_key(7, base_key);
  EXPECT_EQ(unprotect(receiver, forged).error(), Error(sframe_authentication_failed));
  EXPECT_EQ(receiver.key_count(), 0u);
  receiver.try_key(8, base_key);
  EXPECT_EQ(unprotect(receiver, frame).error(), Error(sframe_unknown_key));
  receiver.try_key(7, base_key);
  EXPECT_TRUE(unprotect(receiver, frame).has_value());
  EXPECT_TRUE(receiver.has_key(7));
  EXPECT_EQ(unprotect(receiver, frame).error(), Error(sframe_replayed));
}

TEST(Header, EveryWidthComesBack) {
  for (int key_bits = 0; key_bits <= 64; ++key_bits) {
    for (int counter_bits = 0; counter_bits <= 64; ++counter_bits) {
      const auto ones = [](int bits) { return bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1; };
      const Header header{ones(key_bits), ones(counter_bits)};
      std::uint8_t bytes[max_header_size];
      const std::size_t size = write_header(header, bytes);
      EXPECT_EQ(size, header_size(header));
      const auto parsed = parse_header(ByteView(bytes).first(size));
      ASSERT_TRUE(parsed.has_value());
      EXPECT_EQ(parsed->header.key_id, header.key_id);
      EXPECT_EQ(parsed->header.counter, header.counter);
      EXPECT_EQ(parsed->size, size);
    }
  }
}

} // namespace
} // namespace satsuma::sframe
