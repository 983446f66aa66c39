// What a frame with a key of its own costs, beside what cannot be saved: the AEAD, and one derivation of a key. See `run`.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "crypto/cipher.h"
#include "crypto/hash.h"
#include "sframe/sframe.h"

using namespace satsuma;
using namespace satsuma::sframe;

namespace {

int rounds = 400;
constexpr int calls = 64; // a round: eight blocks of eight frames, so that each has its share of the tree's work
constexpr std::uint64_t key_id = 0x101203;

/// Microseconds for one of `calls` calls, the fastest round of all. `prepare` is not measured.
template <class Prepare, class Call>
double fastest(Prepare prepare, Call call, int calls_in_a_round = calls) {
  double best = 1e12;
  for (int round = 0; round < rounds; ++round) {
    prepare();
    const auto began = std::chrono::steady_clock::now();
    for (int i = 0; i < calls_in_a_round; ++i) call(i);
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
    best = std::min(best, took.count() / calls_in_a_round);
  }
  return best;
}
template <class Call>
double fastest(Call call) {
  return fastest([] {}, call);
}

struct Named {
  CipherSuite suite;
  const char* name;
};
constexpr Named suites[] = {
    {CipherSuite::chacha20_poly1305_sha256_128, "ChaCha20-Poly1305 (0xF003)"}, {CipherSuite::aes_128_gcm_sha256_128, "AES-128-GCM (4)"},
    {CipherSuite::aes_256_gcm_sha512_128, "AES-256-GCM (5)"},                  {CipherSuite::aes_128_ctr_hmac_sha256_80, "AES-128-CTR-HMAC-80 (1)"},
    {CipherSuite::aes_128_ctr_hmac_sha256_64, "AES-128-CTR-HMAC-64 (2)"},      {CipherSuite::aes_128_ctr_hmac_sha256_32, "AES-128-CTR-HMAC-32 (3)"},
    {CipherSuite::aes_256_ctr_hmac_sha512_80, "AES-256-CTR-HMAC-80 (6)"}};

void require(bool good) {
  if (good) return;
  std::puts("bench_frames: a frame did not pass");
  std::exit(1);
}

/// The AEAD with its key set once, as the RFC's construction has it for a whole epoch.
double bare_aead(CipherSuite suite, ByteView plaintext, MutableByteView out) {
  const CipherSuiteParameters all = parameters(suite);
  const Bytes key(all.key_size, 7), nonce(nonce_size, 1), header(9, 2);
  if (all.aead) {
    crypto::AeadKey aead(*all.aead, key);
    return fastest([&](int) { aead.seal(nonce, header, plaintext, out); });
  }
  const std::size_t hash_size = crypto::hash_size(all.hash);
  crypto::AesCtrKey encryption(ByteView(key).first(hash_size / 2));
  crypto::HmacKey authentication(all.hash, ByteView(key).subspan(hash_size / 2));
  const Bytes counter(16, 3), lengths(24, 4);
  Bytes tag(hash_size);
  return fastest([&](int) {
    encryption.crypt(counter, plaintext, out);
    authentication.tag_into({lengths, nonce, header, out.first(plaintext.size())}, tag);
  });
}

double bare_derivation(CipherSuite suite) {
  const CipherSuiteParameters all = parameters(suite);
  const Bytes secret(crypto::hash_size(all.hash), 5), info(20, 6);
  Bytes key(all.key_size);
  return fastest([&](int) { crypto::HmacKey(all.hash, secret).expand_into(info, key); });
}

void frames(const Named& named) {
  std::printf("%s\n  %-6s %10s %10s %10s %10s %10s %8s %8s %9s\n", named.name, "bytes", "AEAD", "derive", "sum", "protect", "unprotect", "ratio", "ratio",
              "overhead");
  const Bytes base_key(32, 0x42);
  for (const std::size_t size : {100, 1200, 5000}) {
    const Bytes plaintext(size, 0xaa);
    Bytes out(size + max_overhead), back(size + max_overhead);
    const double aead = bare_aead(named.suite, plaintext, out);
    const double derivation = bare_derivation(named.suite);
    Sender sender(named.suite);
    sender.set_key(key_id, base_key);
    std::size_t overhead = 0;
    // Counters stay clear of the tree's beginning, whose eight levels are there once an epoch.
    for (int i = 0; i < 4096; ++i) require(sender.protect({}, plaintext, out).has_value());
    const double protect = fastest([&](int) { overhead = sender.protect({}, plaintext, out)->size() - size; });

    Sender source(named.suite);
    source.set_key(key_id, base_key);
    Receiver receiver(named.suite);
    require(receiver.add_key(key_id, base_key).has_value());
    std::vector<Bytes> made(calls);
    const double unprotect = fastest(
        [&] {
          for (Bytes& frame : made) frame = to_bytes(*source.protect({}, plaintext, out));
        },
        [&](int i) { require(receiver.unprotect({}, made[static_cast<std::size_t>(i)], back).has_value()); });
    const double sum = aead + derivation;
    std::printf("  %-6zu %10.2f %10.2f %10.2f %10.2f %10.2f %8.2f %8.2f %9zu\n", size, aead, derivation, sum, protect, unprotect, protect / sum, unprotect / sum,
                overhead);
  }
}

/// Of a stream that has run for a while: to a counter a million ahead, and a forged frame that claims to be there.
void far_away(const Named& named) {
  const Bytes base_key(32, 0x42);
  constexpr std::uint64_t near = 5000, million = 1'000'000;
  FrameCipher cipher(named.suite);
  Bytes key(parameters(named.suite).key_size);
  std::vector<FrameKeyTree> trees;
  trees.reserve(8);
  const double jump = fastest(
      [&] {
        trees.clear();
        for (int i = 0; i < 8; ++i) {
          trees.push_back(std::move(StreamKeys(named.suite, key_id, base_key).keys));
          for (std::uint64_t counter = near - 20; counter < near; ++counter) trees.back().destroy(counter, counter + 1 - 1024);
        }
      },
      [&](int i) {
        FrameKeyTree& tree = trees[static_cast<std::size_t>(i)];
        require(tree.derive(near + million, key));
        tree.destroy(near + million, near + million + 1 - FrameKeyTree::max_window);
      },
      8);
  FrameKeyTree tree = std::move(StreamKeys(named.suite, key_id, base_key).keys);
  for (std::uint64_t counter = near - 20; counter < near; ++counter) tree.destroy(counter, counter + 1 - 1024);
  const double forged = fastest([&](int) { require(tree.derive(near + million, key)); });
  std::printf("  %-28s jump of a million frames %6.2f; key of a forged frame as far ahead %6.2f\n", named.name, jump, forged);
}

} // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--quick") rounds = 40;
  for (const Named& named : suites) frames(named);
  std::puts("Far ahead, microseconds for the keys");
  for (const Named& named : suites) far_away(named);
  return 0;
}
