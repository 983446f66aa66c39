// What is in memory after a frame, and how much of it is asked for: a program of its own, since it takes over the heap.
#include <algorithm>
#include <set>

#include "../base/heap_arena.h"
#include "protocol_reference.h"

namespace satsuma::sframe {
namespace {

using heap::arena;
using heap::Recording;

constexpr CipherSuite suites[] = {CipherSuite::aes_128_ctr_hmac_sha256_80, CipherSuite::aes_128_gcm_sha256_128,
                                  CipherSuite::aes_256_ctr_hmac_sha512_80, CipherSuite::chacha20_poly1305_sha256_128};
constexpr std::uint64_t key_id = 0x212345;
Bytes base_key() { return Bytes(32, 0x42); }

/// Someone who has the whole memory and knows the protocol. A frame's key comes out of it if the key is there, or any of the secrets that it is
/// derived from; a good part of one of them counts as well.
class Thief {
 public:
  explicit Thief(CipherSuite suite) : suite_(suite), memory_(arena.bytes, arena.bytes + arena.used) {}

  bool can_decrypt(std::uint64_t counter) const {
    for (const Bytes& secret : reference::way_to_key(suite_, key_id, base_key(), counter)) {
      for (std::size_t at = 0; at + 12 <= secret.size(); at += 4) {
        if (heap::arena_contains(memory_, ByteView(secret).subspan(at, 12))) return true;
      }
    }
    return false;
  }

 private:
  CipherSuite suite_;
  Bytes memory_;
};

class Memory : public testing::TestWithParam<CipherSuite> {};
INSTANTIATE_TEST_SUITE_P(SFrame, Memory, testing::ValuesIn(suites));

TEST_P(Memory, OfAReceiverAfterAFrameDecryptsNoFrameUpToItButTheWindowsHoles) {
  const std::set<std::uint64_t> lost = {3, 40, 41, 42, 43, 44, 45, 46, 47, 100};
  constexpr std::uint64_t last = 130;
  const Bytes key = base_key(), plaintext(50, 0xaa);
  std::vector<Bytes> frames;
  for (std::uint64_t i = 0; i <= last + 1; ++i) frames.push_back(reference::protect(GetParam(), key_id, key, i, {}, plaintext));
  Bytes out(200);
  { FrameCipher warm(GetParam()); } // what OpenSSL keeps for good is fetched before

  Receiver* receiver;
  ForgeryAllowance line{Bytes(32, 1)};
  {
    const Recording recording;
    receiver = new Receiver(GetParam());
    receiver->try_key(key_id, key);
    for (std::uint64_t i = 0; i <= last; ++i) {
      if (lost.contains(i)) continue;
      ASSERT_TRUE(receiver->unprotect(line, {}, frames[i], out).has_value());
    }
  }
  const Thief thief(GetParam());
  for (const std::uint64_t used : {0, 1, 7, 8, 39, 48, 63, 64, 127, 129, 130}) EXPECT_FALSE(thief.can_decrypt(used)) << used;
  for (const std::uint64_t may_come : {3, 40, 47, 100, 131}) EXPECT_TRUE(thief.can_decrypt(may_come)) << may_come;
  for (const std::uint64_t hole : lost) EXPECT_TRUE(receiver->unprotect(line, {}, frames[hole], out).has_value());
  delete receiver;
}

TEST_P(Memory, OfAReceiverThatForgedFramesLedAstrayDecryptsNoFrameThatPassed) {
  const Bytes key = base_key(), plaintext(50, 0xaa);
  const auto frame = [&](std::uint64_t counter) { return reference::protect(GetParam(), key_id, key, counter, {}, plaintext); };
  const std::vector<Bytes> genuine = {frame(9), frame(10), frame(11), frame(1000), frame(70'000)};
  std::vector<Bytes> forged = {frame(10), frame(12), frame(1000), frame(70'000), frame(70'001), frame(9'000'000)};
  for (Bytes& bytes : forged) bytes.back() ^= 1;
  Bytes out(200);
  { FrameCipher warm(GetParam()); }
  Receiver* receiver;
  ForgeryAllowance line{Bytes(32, 1)};
  {
    const Recording recording;
    receiver = new Receiver(GetParam());
    receiver->try_key(key_id, key);
    for (const Bytes& good : genuine) {
      ASSERT_TRUE(receiver->unprotect(line, {}, good, out).has_value());
      for (const Bytes& bad : forged) ASSERT_FALSE(receiver->unprotect(line, {}, bad, out).has_value());
    }
  }
  const Thief thief(GetParam());
  for (const std::uint64_t used : {8, 9, 10, 11, 12, 999, 1000, 60'000, 68'900, 70'000}) EXPECT_FALSE(thief.can_decrypt(used)) << used;
  for (const std::uint64_t may_come : {69'000, 69'999, 70'001, 9'000'000}) EXPECT_TRUE(thief.can_decrypt(may_come)) << may_come;
  delete receiver;
}

TEST_P(Memory, OfASenderAfterAFrameDecryptsNothingThatItSent) {
  const Bytes key = base_key(), plaintext(50, 0xaa);
  Bytes out(200);
  { FrameCipher warm(GetParam()); }
  Sender* sender;
  {
    const Recording recording;
    sender = new Sender(GetParam());
    sender->set_key(key_id, key);
    for (int i = 0; i < 75; ++i) ASSERT_TRUE(sender->protect({}, plaintext, out).has_value());
  }
  const Thief thief(GetParam());
  for (const std::uint64_t used : {0, 1, 7, 8, 63, 64, 72, 73, 74}) EXPECT_FALSE(thief.can_decrypt(used)) << used;
  EXPECT_TRUE(thief.can_decrypt(75));
  delete sender;
}

TEST_P(Memory, HoldsNoKeyStreamOfAFrameThatPassed) {
  const Bytes key = base_key(), plaintext(1213, 0xaa); // its last block is not full: ciphers keep the rest of its key stream for what may follow
  Bytes out(1300), back(1300);
  { FrameCipher warm(GetParam()); }
  Sender* sender;
  Receiver* receiver;
  ForgeryAllowance line{Bytes(32, 1)};
  Bytes frame;
  {
    const Recording recording;
    sender = new Sender(GetParam());
    sender->set_key(key_id, key);
    receiver = new Receiver(GetParam());
    receiver->try_key(key_id, key);
    for (int i = 0; i < 3; ++i) {
      const auto made = sender->protect({}, plaintext, out);
      ASSERT_TRUE(made.has_value());
      ASSERT_TRUE(receiver->unprotect(line, {}, *made, back).has_value());
      if (i == 2) frame.assign(made->begin(), made->end());
    }
    wipe(out);
  }
  const std::size_t header = parse_header(frame)->size;
  Bytes stream;
  for (std::size_t i = 0; i < plaintext.size(); ++i) stream.push_back(static_cast<std::uint8_t>(frame[header + i] ^ plaintext[i]));
  const Bytes memory(arena.bytes, arena.bytes + arena.used);
  EXPECT_TRUE(heap::arena_contains(memory, frame)) << "the look sees what is there";
  for (std::size_t at = 0; at + 12 <= stream.size(); ++at)
    EXPECT_FALSE(heap::arena_contains(memory, ByteView(stream).subspan(at, 12))) << at;
  delete sender;
  delete receiver;
}

TEST_P(Memory, IsNotAskedForByAnyFrame) {
  const Bytes key = base_key(), plaintext(1200, 0xaa), metadata(3, 1);
  Bytes out(1300), back(1300);
  Sender sender(GetParam());
  Receiver receiver(GetParam());
  sender.set_key(key_id, key);
  receiver.try_key(key_id, key);
  ForgeryAllowance line{Bytes(32, 1)};
  const auto pass = [&](bool deliver) {
    const auto frame = sender.protect(metadata, plaintext, out);
    ASSERT_TRUE(frame.has_value());
    if (!deliver) return;
    ASSERT_TRUE(receiver.unprotect(line, metadata, *frame, back).has_value());
    ASSERT_EQ(receiver.unprotect(line, metadata, *frame, back).error(), Error(sframe_replayed));
    out[frame->size() - 1] ^= 1;
    ASSERT_FALSE(receiver.unprotect(line, metadata, *frame, back).has_value());
  };
  for (int i = 0; i < 2000; ++i) pass(i % 20 != 0); // 5 % are lost: the state has the size that it needs for that
  const Recording recording;
  for (int i = 0; i < 5000; ++i) pass(i % 20 != 0);
  EXPECT_EQ(arena.allocations, 0u);
}

} // namespace
} // namespace satsuma::sframe

int main(int argc, char** argv) {
  if (!satsuma::heap::take_over_openssl_heap()) return 2;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
