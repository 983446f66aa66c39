// What a frame with a key of its own costs, beside what cannot be saved: the AEAD, and one derivation of a key. See `run`.
#include <openssl/evp.h>
#ifdef SATSUMA_WASM
#include <bearssl.h>
#endif

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
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

#ifdef SATSUMA_WASM
/// AES as the library has it that the module uses: key, nonce, data in.
double bearssl_with_key(const CipherSuiteParameters& all, ByteView plaintext, MutableByteView out) {
  const Bytes key(all.key_size, 7), nonce(nonce_size, 1), header(9, 2), lengths(24, 4);
  const std::size_t hash_size = crypto::hash_size(all.hash);
  Bytes tag(std::max<std::size_t>(hash_size, 16));
  br_aes_ct64_ctr_keys aes;
  if (all.aead) {
    br_gcm_context gcm;
    return fastest([&](int) {
      std::memcpy(out.data(), plaintext.data(), plaintext.size()); // it encrypts in place
      br_aes_ct64_ctr_init(&aes, key.data(), key.size());
      br_gcm_init(&gcm, &aes.vtable, br_ghash_ctmul64);
      br_gcm_reset(&gcm, nonce.data(), nonce.size());
      br_gcm_aad_inject(&gcm, header.data(), header.size());
      br_gcm_flip(&gcm);
      br_gcm_run(&gcm, 1, out.data(), plaintext.size());
      br_gcm_get_tag(&gcm, tag.data());
    });
  }
  return fastest([&](int) {
    std::memcpy(out.data(), plaintext.data(), plaintext.size());
    br_aes_ct64_ctr_init(&aes, key.data(), hash_size / 2);
    br_aes_ct64_ctr_run(&aes, nonce.data(), 0, out.data(), plaintext.size());
    crypto::hmac_into(all.hash, ByteView(key).subspan(hash_size / 2), {lengths, nonce, header, out.first(plaintext.size())}, tag);
  });
}
#endif

/// The AEAD as RFC 5116 has it: key, nonce, data in. OpenSSL's context is kept, and so is, until the next frame, the key in it.
double aead_with_key(CipherSuite suite, ByteView plaintext, MutableByteView out) {
  const CipherSuiteParameters all = parameters(suite);
#ifdef SATSUMA_WASM
  if (all.aead != crypto::AeadAlgorithm::chacha20_poly1305) return bearssl_with_key(all, plaintext, out);
#endif
  const Bytes key(all.key_size, 7), nonce(16, 1), header(9, 2);
  const std::size_t hash_size = crypto::hash_size(all.hash);
  const char* name = all.aead == crypto::AeadAlgorithm::aes_128_gcm         ? "AES-128-GCM"
                     : all.aead == crypto::AeadAlgorithm::aes_256_gcm       ? "AES-256-GCM"
                     : all.aead == crypto::AeadAlgorithm::chacha20_poly1305 ? "ChaCha20-Poly1305"
                     : hash_size == 32                                      ? "AES-128-CTR"
                                                                            : "AES-256-CTR";
  EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, name, nullptr);
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  int written = 0;
  require(EVP_EncryptInit_ex(context, cipher, nullptr, key.data(), nonce.data()) == 1);
  const auto size = static_cast<int>(plaintext.size());
  const Bytes lengths(24, 4);
  Bytes tag(std::max<std::size_t>(hash_size, 16));
  const double time = fastest([&](int) {
    EVP_EncryptInit_ex(context, nullptr, nullptr, key.data(), nonce.data());
    if (all.aead) EVP_EncryptUpdate(context, nullptr, &written, header.data(), static_cast<int>(header.size()));
    EVP_EncryptUpdate(context, out.data(), &written, plaintext.data(), size);
    if (all.aead) {
      EVP_EncryptFinal_ex(context, out.data() + size, &written);
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag.data());
    } else {
      crypto::hmac_into(all.hash, ByteView(key).subspan(hash_size / 2), {lengths, nonce, header, out.first(plaintext.size())}, tag);
    }
  });
  EVP_CIPHER_CTX_free(context);
  EVP_CIPHER_free(cipher);
  return time;
}

double bare_derivation(CipherSuite suite) {
  const CipherSuiteParameters all = parameters(suite);
  const Bytes secret(crypto::hash_size(all.hash), 5), info(20, 6);
  Bytes key(all.frame_key_size);
  return fastest([&](int) { crypto::HmacKey(all.hash, secret).expand_into(info, key); });
}

void frames(const Named& named) {
  std::printf("%s\n  %-6s %9s %9s %9s %9s %9s %7s %7s %8s %9s\n", named.name, "bytes", "one key", "AEAD", "derive", "protect", "unprotect", "ratio", "ratio",
              "one key", "overhead");
  const Bytes base_key(32, 0x42);
  for (const std::size_t size : {100, 1200, 5000}) {
    const Bytes plaintext(size, 0xaa);
    Bytes out(size + max_overhead), back(size + max_overhead);
    const double one_key = bare_aead(named.suite, plaintext, out);
    const double aead = aead_with_key(named.suite, plaintext, out);
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
    receiver.try_key(key_id, base_key);
    ForgeryAllowance line{Bytes(32, 1)};
    std::vector<Bytes> made(calls);
    const double unprotect = fastest(
        [&] {
          for (Bytes& frame : made) frame = to_bytes(*source.protect({}, plaintext, out));
        },
        [&](int i) { require(receiver.unprotect(line, {}, made[static_cast<std::size_t>(i)], back).has_value()); });
    const double sum = aead + derivation;
    std::printf("  %-6zu %9.2f %9.2f %9.2f %9.2f %9.2f %7.2f %7.2f %8.2f %9zu\n", size, one_key, aead, derivation, protect, unprotect, protect / sum,
                unprotect / sum, unprotect / (one_key + derivation), overhead);
  }
}

/// Of a stream that has run for a while: to a counter a million ahead, and a forged frame that claims to be there. How much of the tree there is to split
/// depends on where that is: the mean of many jumps, and the longest.
void far_away(const Named& named) {
  const Bytes base_key(32, 0x42);
  constexpr std::uint64_t million = 1'000'000, window = FrameKeyTree::max_window;
  constexpr int jumps = 32;
  const auto near = [](int i) { return 5000 + 40'009 * static_cast<std::uint64_t>(i); };
  const auto at = [&](int i) {
    FrameKeyTree tree = std::move(StreamKeys(named.suite, key_id, base_key).keys);
    FrameKey key;
    for (std::uint64_t counter = near(i) - 20; counter < near(i); ++counter) {
      tree.look_ahead();
      require(tree.derive(counter, key));
      tree.destroy(key, counter + 1 - window);
    }
    return tree;
  };
  double sum = 0, longest = 0, forged = 0;
  for (int i = 0; i < jumps; ++i) {
    std::vector<FrameKeyTree> trees;
    trees.reserve(8);
    const double jump = fastest(
        [&] {
          trees.clear();
          for (int copy = 0; copy < 8; ++copy) trees.push_back(at(i));
        },
        [&](int copy) {
          FrameKeyTree& tree = trees[static_cast<std::size_t>(copy)];
          FrameKey key;
          tree.look_ahead();
          require(tree.derive(near(i) + million, key));
          tree.destroy(key, near(i) + million + 1 - window);
        },
        8);
    sum += jump;
    longest = std::max(longest, jump);
    const FrameKeyTree tree = at(i);
    forged = std::max(forged, fastest([&](int) {
      FrameKey key;
      require(tree.derive(near(i) + million, key));
    }));
  }
  std::printf("  %-28s %9.2f %9.2f %9.2f\n", named.name, sum / jumps, longest, forged);
}

/// A frame as a sender makes it that has come to `counter`.
Bytes genuine_at(CipherSuite suite, ByteView base_key, std::uint64_t counter, ByteView plaintext) {
  StreamKeys stream(suite, key_id, base_key);
  FrameKey key;
  require(stream.keys.derive(counter, key));
  std::array<std::uint8_t, nonce_size> nonce;
  std::copy_n(stream.salt.view().begin(), nonce_size, nonce.begin());
  for (std::size_t i = 0; i < 8; ++i) nonce[nonce_size - 1 - i] ^= static_cast<std::uint8_t>(counter >> (8 * i));
  Bytes frame(plaintext.size() + max_overhead);
  const std::size_t header = write_header({key_id, counter}, frame);
  FrameCipher cipher(suite);
  const MutableByteView sealed = cipher.seal({key.view(), nonce, ByteView(frame).first(header)}, {}, plaintext, MutableByteView(frame).subspan(header));
  frame.resize(header + sealed.size());
  return frame;
}

/// What forged frames cost a receiver beside good ones, all of 100 bytes, where keys weigh most. Hashes for digests included, as they are in calls.
void forged_frames(const Named& named) {
  const Bytes base_key(32, 0x42), plaintext(100, 0xaa);
  Bytes out(200), back(200);
  Sender source(named.suite);
  source.set_key(key_id, base_key);
  std::vector<Bytes> made(1024 + calls);
  for (Bytes& frame : made) frame = to_bytes(*source.protect({}, plaintext, out));
  const std::size_t size = made[0].size();
  std::uint64_t random = 1;
  const auto anywhere = [&] { return 4096 + ((random = random * 6364136223846793005u + 1442695040888963407u) >> 20) % (FrameKeyTree::capacity - 4096); };
  const auto claims = [&](std::uint64_t counter) {
    Bytes frame(size, 9);
    write_header({key_id, counter}, frame);
    return frame;
  };
  ForgeryAllowance line{Bytes(32, 1)};
  const auto begun = [&](std::size_t frames) {
    line.renew();
    Receiver receiver(named.suite, true);
    receiver.try_key(key_id, base_key);
    for (std::size_t i = 0; i < frames; ++i) require(receiver.unprotect(line, {}, made[i], back).has_value());
    return receiver;
  };
  const auto good = [&](Receiver& receiver, ByteView frame) { require(receiver.unprotect(line, {}, frame, back).has_value()); };
  const auto bad = [&](Receiver& receiver, ByteView frame) { require(!receiver.unprotect(line, {}, frame, back).has_value()); };

  std::optional<Receiver> receiver;
  const double good_next = fastest([&] { receiver.emplace(begun(1024)); }, [&](int i) { good(*receiver, made[1024 + static_cast<std::size_t>(i)]); });
  const Bytes next = claims(1024 + calls);
  const double bad_next = fastest([&](int) { bad(*receiver, next); });
  std::vector<Bytes> near;
  for (std::uint64_t i = 0; i < FrameKeyTree::ahead; ++i) near.push_back(claims(1024 + i));
  const double bad_near = fastest([&] { receiver.emplace(begun(1024)); }, [&](int i) { bad(*receiver, near[static_cast<std::size_t>(i)]); }, FrameKeyTree::ahead);

  constexpr int places = 8;
  std::vector<Bytes> far, genuine;
  for (int i = 0; i < places; ++i) {
    far.push_back(claims(1'000'000 + anywhere() / 2));
    genuine.push_back(genuine_at(named.suite, base_key, parse_header(far.back())->header.counter, plaintext));
  }
  const double bad_far = fastest([&] { receiver.emplace(begun(20)); }, [&](int i) { bad(*receiver, far[static_cast<std::size_t>(i)]); }, places);
  std::vector<Receiver> each;
  const double good_far = fastest(
      [&] {
        each.clear();
        for (int i = 0; i < places; ++i) each.push_back(begun(20));
      },
      [&](int i) { good(each[static_cast<std::size_t>(i)], genuine[static_cast<std::size_t>(i)]); }, places);

  // Which of them are opened is drawn: the mean of many, and not the luckiest round.
  const int flood = 200 * rounds;
  std::vector<Bytes> forged;
  for (int i = 0; i < 512; ++i) forged.push_back(claims(anywhere()));
  for (const Bytes& frame : forged) bad(*receiver, frame);
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < flood; ++i) bad(*receiver, forged[static_cast<std::size_t>(i) % forged.size()]);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - began;
  std::printf("  %-28s %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f\n", named.name, good_next, bad_next, bad_near, bad_far, took.count() / flood, good_far);
}

void hashes() {
  std::puts("The hash of a ciphertext for the signed digests (RFC 6234, SHA-256)");
  for (const std::size_t size : {100, 1200, 5000}) {
    const Bytes frame(size + 22, 1);
    Bytes hash(32);
    std::printf("  %-6zu %9.2f\n", size, fastest([&](int) { crypto::hash_into(crypto::HashAlgorithm::sha256, {frame}, hash); }));
  }
}

} // namespace

int main(int argc, char** argv) {
  bool only_far = false;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--quick") rounds = 50;
    if (std::string_view(argv[i]) == "--far") only_far = true;
  }
  if (!only_far) {
    for (const Named& named : suites) frames(named);
    hashes();
  }
  rounds /= 10; // of each of many places
  std::printf("Keys a million frames ahead\n  %-28s %9s %9s %9s\n", "", "jump", "longest", "forged");
  for (const Named& named : suites) far_away(named);
  std::printf("Frames of 100 bytes, genuine and forged\n  %-28s %9s %9s %9s %9s %9s %9s\n", "", "next", "forged", "near", "far", "far flood", "good far");
  for (const Named& named : suites) forged_frames(named);
  return 0;
}
