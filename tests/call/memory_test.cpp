// What a member's media keys leave in memory: a program of its own, since it takes over the heap.
#include "../base/heap_arena.h"
#include "../sframe/protocol_reference.h"
#include "call/epoch_keys.h"
#include "helpers.h"

namespace satsuma::call {
namespace {

using namespace std::chrono_literals;
using heap::arena;
using test::at;

constexpr auto suite = sframe::CipherSuite::chacha20_poly1305_sha256_128;
constexpr std::uint64_t era = 5, number = 7;

Bytes expand(ByteView secret, ByteView info) { return to_bytes(crypto::hkdf_expand(crypto::HashAlgorithm::sha256, secret, info, 32).view()); }

/// docs/protocol.md, section 4: from the epoch's secret to the key of one frame, and all that lies between.
std::vector<Bytes> way_to_key(ByteView epoch_secret, std::uint32_t leaf, StreamContext context, std::uint64_t counter) {
  ByteWriter member, stream;
  member.bytes(as_bytes("satsuma member 1"));
  member.u64(era);
  member.u64(number);
  member.u32(leaf);
  stream.bytes(as_bytes("satsuma stream 1"));
  stream.u32(static_cast<std::uint32_t>(context));
  std::vector<Bytes> way{to_bytes(epoch_secret), expand(epoch_secret, member.view())};
  const Bytes base_key = expand(way.back(), stream.view());
  const std::uint64_t key_id = KeyId{static_cast<std::uint32_t>(context), leaf, static_cast<std::uint8_t>(number)}.value();
  for (Bytes& secret : sframe::reference::way_to_key(suite, key_id, base_key, counter)) way.push_back(std::move(secret));
  return way;
}

TEST(Memory, OfBothEndsDecryptsNothingOfWhatWasSentInAnEpochThatGoesOn) {
  const Bytes epoch_secret(32, 0x6b), plaintext(100, 0xaa);
  Bytes frame(200), out(200);
  constexpr std::uint64_t last = 20;
  EpochKeys *alice, *bob;
  Line line{Bytes(32, 1)};
  {
    const heap::Recording recording;
    alice = new EpochKeys(suite);
    bob = new EpochKeys(suite);
    for (EpochKeys* keys : {alice, bob}) {
      keys->enter(at(0s), {era, number, keys == alice ? 0u : 1u, {0, 1, 2}, SecretBytes::copy_of(epoch_secret)}, false);
    }
    for (std::uint64_t i = 0; i <= last; ++i) {
      const auto sent = alice->protect(at(0s), StreamContext::camera, sframe::Shell::vp8_delta, plaintext, frame);
      ASSERT_TRUE(sent);
      ASSERT_TRUE(bob->unprotect(at(0s), line, sframe::ShellKind::video, *sent, out));
    }
  }
  const ByteView memory(arena.bytes, arena.used);
  const auto can_decrypt = [&](StreamContext context, std::uint64_t counter) {
    for (const Bytes& secret : way_to_key(epoch_secret, 0, context, counter)) {
      if (heap::arena_contains(memory, ByteView(secret).first(12)) || heap::arena_contains(memory, ByteView(secret).subspan(16, 12))) return true;
    }
    return false;
  };
  for (const std::uint64_t used : {0, 1, 7, 8, 19, 20}) EXPECT_FALSE(can_decrypt(StreamContext::camera, used)) << used;
  EXPECT_TRUE(can_decrypt(StreamContext::camera, last + 1));
  EXPECT_TRUE(can_decrypt(StreamContext::microphone, 0)); // not begun: nothing of it was sent
  delete alice;
  delete bob;
}

} // namespace
} // namespace satsuma::call

int main(int argc, char** argv) {
  if (!satsuma::heap::take_over_openssl_heap()) return 2;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
