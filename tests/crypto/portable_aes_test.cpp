// What BearSSL's AES leaves in the module's memory. All of it is looked through, the stack too, which WebAssembly has there.
#include "crypto/portable_aes.h"

#include <bearssl.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/secret.h"
#include "crypto/cipher.h"

namespace satsuma::crypto {
namespace {

/// Sixteen bytes that are not to be found by themselves: kept with all bits turned.
class Needle {
 public:
  explicit Needle(const std::uint8_t* bytes) {
    for (std::size_t i = 0; i < size; ++i) turned_[i] = static_cast<std::uint8_t>(~bytes[i]);
  }
  bool in_memory() const {
    const auto* memory = reinterpret_cast<const volatile std::uint8_t*>(16); // the stack begins, and grows down to, near 0
    const std::size_t end = __builtin_wasm_memory_size(0) * 65536 - 16 - size;
    for (std::size_t at = 0; at < end; ++at) {
      std::size_t same = 0;
      while (same < size && static_cast<std::uint8_t>(~memory[at + same]) == turned_[same]) ++same;
      if (same == size) return true;
    }
    return false;
  }

 private:
  static constexpr std::size_t size = 16;
  std::uint8_t turned_[size];
};

// A key that is written nowhere else in the program.
[[gnu::noinline]] void make_key(MutableByteView key) {
  volatile std::uint8_t seed = 0x35;
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>((seed + i) * 37 ^ (i << 3));
}

struct Needles {
  Needle key;
  std::vector<Needle> round_keys; ///< as BearSSL expands them
  Needle key_stream;              ///< of the fourth block, which is not full
};

extern "C" void br_aes_ct64_skey_expand(std::uint64_t* expanded, unsigned rounds, const std::uint64_t* compressed);

[[gnu::noinline]] Needles needles(std::size_t key_size) {
  SecretArray<32> key;
  const MutableByteView bytes = key.mutable_view().first(key_size);
  make_key(bytes);
  br_aes_ct64_ctr_keys keys;
  br_aes_ct64_ctr_init(&keys, bytes.data(), bytes.size());
  std::uint64_t expanded[120];
  br_aes_ct64_skey_expand(expanded, keys.num_rounds, keys.skey);
  const auto at = [](const auto* words) { return Needle(reinterpret_cast<const std::uint8_t*>(words)); };
  std::vector<Needle> round_keys;
  for (unsigned round = 1; round <= keys.num_rounds; ++round) {
    round_keys.push_back(at(expanded + 8 * round));
    round_keys.push_back(at(keys.skey + 2 * round));
  }
  std::uint8_t stream[64] = {};
  const std::uint8_t nonce[12] = {};
  br_aes_ct64_ctr_run(&keys, nonce, 2, stream, sizeof stream);
  const Needles made{Needle(bytes.data()), std::move(round_keys), Needle(stream + 48)};
  wipe({reinterpret_cast<std::uint8_t*>(&keys), sizeof keys});
  wipe({reinterpret_cast<std::uint8_t*>(expanded), sizeof expanded});
  wipe(stream);
  return made;
}

[[gnu::noinline]] void wipe_stack() {
  std::uint8_t below[16384];
  wipe(below);
}

std::size_t found(const Needles& all) {
  std::size_t count = all.key.in_memory() ? 1 : 0;
  if (all.key_stream.in_memory()) ++count;
  for (const Needle& round_key : all.round_keys) count += round_key.in_memory() ? 1 : 0;
  return count;
}

/// One call after another, with zeros as nonce, over 48 + 13 bytes.
template <class Call>
[[gnu::noinline]] void with_key(std::size_t key_size, Call call) {
  SecretArray<32> key;
  const MutableByteView bytes = key.mutable_view().first(key_size);
  make_key(bytes);
  call(ByteView(bytes));
}

class PortableAes : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(KeySizes, PortableAes, testing::Values(16, 32));

TEST_P(PortableAes, LeavesNeitherKeyNorRoundKeysNorKeyStreamInMemory) {
  const Needles all = needles(GetParam());
  wipe_stack();
  EXPECT_EQ(found(all), 0u) << "before";

  // Bare, it leaves them on the stack: the look sees them there.
  with_key(GetParam(), [](ByteView key) {
    br_aes_ct64_ctr_keys keys;
    br_aes_ct64_ctr_init(&keys, key.data(), key.size());
    std::uint8_t out[61] = {};
    const std::uint8_t nonce[12] = {};
    br_aes_ct64_ctr_run(&keys, nonce, 2, out, sizeof out);
    wipe(out);
  });
  EXPECT_GT(found(all), all.round_keys.size() / 2);
  wipe_stack();

  const Bytes nonce(12), plaintext(61);
  Bytes counter(16), out(61 + aead_tag_size), back(61);
  counter[15] = 2;
  with_key(GetParam(), [&](ByteView key) { portable_aes::crypt_ctr(key, counter, plaintext, out); });
  wipe(out); // encrypted zeros are the key stream
  EXPECT_EQ(found(all), 0u) << "CTR";
  with_key(GetParam(), [&](ByteView key) {
    portable_aes::seal_gcm({key, nonce, {}}, {}, plaintext, out);
    EXPECT_TRUE(portable_aes::open_gcm({key, nonce, {}}, {}, out, back).has_value());
    out[3] ^= 1;
    EXPECT_FALSE(portable_aes::open_gcm({key, nonce, {}}, {}, out, back).has_value());
  });
  wipe(out);
  EXPECT_EQ(found(all), 0u) << "GCM";
}

} // namespace
} // namespace satsuma::crypto
