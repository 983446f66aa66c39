// What is in memory after a frame, and how much of it is asked for: a program of its own, since it takes over the heap.
#include <openssl/crypto.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <set>

#include "protocol_reference.h"

namespace {

/// Everything that is asked for while `on`, by us or by OpenSSL, comes from here and is never used again: so a look at it sees what was freed too.
struct Arena {
  static constexpr std::size_t capacity = 64 << 20;
  alignas(64) unsigned char bytes[capacity];
  std::size_t used = 0;
  std::size_t allocations = 0;
  bool on = false;

  bool owns(const void* p) const { return p >= bytes && p < bytes + capacity; }
  void* take(std::size_t size) {
    ++allocations;
    const std::size_t whole = (size + 16 + 63) / 64 * 64;
    if (used + whole > capacity) std::abort();
    unsigned char* block = bytes + used;
    used += whole;
    *reinterpret_cast<std::size_t*>(block) = size;
    return block + 16;
  }
  static std::size_t size_of(const void* p) { return *reinterpret_cast<const std::size_t*>(static_cast<const unsigned char*>(p) - 16); }
} arena;

void* allocate(std::size_t size) { return arena.on ? arena.take(size) : std::malloc(size == 0 ? 1 : size); }
void release(void* p) {
  if (!arena.owns(p)) std::free(p);
}
void* openssl_malloc(std::size_t size, const char*, int) { return allocate(size); }
void openssl_free(void* p, const char*, int) { release(p); }
void* openssl_realloc(void* p, std::size_t size, const char*, int) {
  if (!arena.on && !arena.owns(p)) return std::realloc(p, size);
  void* fresh = allocate(size);
  if (p != nullptr) {
    if (!arena.owns(p)) std::abort(); // what was there before has no size that we know
    std::memcpy(fresh, p, std::min(size, Arena::size_of(p)));
    release(p);
  }
  return fresh;
}

} // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }

namespace satsuma::sframe {
namespace {

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
        if (contains(ByteView(secret).subspan(at, 12))) return true;
      }
    }
    return false;
  }

 private:
  bool contains(ByteView bytes) const {
    return std::search(memory_.begin(), memory_.end(), std::boyer_moore_horspool_searcher(bytes.begin(), bytes.end())) != memory_.end();
  }

  CipherSuite suite_;
  Bytes memory_;
};

struct Recording {
  Recording() {
    wipe({arena.bytes, arena.used});
    arena.used = arena.allocations = 0;
    arena.on = true;
  }
  ~Recording() { arena.on = false; }
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
  {
    const Recording recording;
    receiver = new Receiver(GetParam());
    receiver->try_key(key_id, key);
    for (std::uint64_t i = 0; i <= last; ++i) {
      if (lost.contains(i)) continue;
      ASSERT_TRUE(receiver->unprotect({}, frames[i], out).has_value());
    }
  }
  const Thief thief(GetParam());
  for (const std::uint64_t used : {0, 1, 7, 8, 39, 48, 63, 64, 127, 129, 130}) EXPECT_FALSE(thief.can_decrypt(used)) << used;
  for (const std::uint64_t may_come : {3, 40, 47, 100, 131}) EXPECT_TRUE(thief.can_decrypt(may_come)) << may_come;
  for (const std::uint64_t hole : lost) EXPECT_TRUE(receiver->unprotect({}, frames[hole], out).has_value());
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

TEST_P(Memory, IsNotAskedForByAnyFrame) {
  const Bytes key = base_key(), plaintext(1200, 0xaa), metadata(3, 1);
  Bytes out(1300), back(1300);
  Sender sender(GetParam());
  Receiver receiver(GetParam());
  sender.set_key(key_id, key);
  ASSERT_TRUE(receiver.add_key(key_id, key).has_value());
  const auto pass = [&](bool deliver) {
    const auto frame = sender.protect(metadata, plaintext, out);
    ASSERT_TRUE(frame.has_value());
    if (!deliver) return;
    ASSERT_TRUE(receiver.unprotect(metadata, *frame, back).has_value());
    ASSERT_EQ(receiver.unprotect(metadata, *frame, back).error(), Error(sframe_replayed));
    out[frame->size() - 1] ^= 1;
    ASSERT_FALSE(receiver.unprotect(metadata, *frame, back).has_value());
  };
  for (int i = 0; i < 2000; ++i) pass(i % 20 != 0); // 5 % are lost: the state has the size that it needs for that
  const Recording recording;
  for (int i = 0; i < 5000; ++i) pass(i % 20 != 0);
  EXPECT_EQ(arena.allocations, 0u);
}

} // namespace
} // namespace satsuma::sframe

int main(int argc, char** argv) {
  if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1) return 2;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
