// SHA1_Init and its like are deprecated in favour of EVP, which since OpenSSL 3 allocates for each message and takes longer for it than
// for hashing a short one; the key schedules of MLS and of frames hash thousands of short ones.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/hash.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

namespace satsuma::crypto {

namespace {

std::size_t block_size(HashAlgorithm algorithm) {
  return algorithm == HashAlgorithm::sha384 || algorithm == HashAlgorithm::sha512 ? 128 : 64;
}

/// A hash under way, on the stack. It may have eaten secrets, so it is wiped.
class Digest {
 public:
  explicit Digest(HashAlgorithm algorithm) : algorithm_(algorithm) {
    switch (algorithm) {
      case HashAlgorithm::sha1: SHA1_Init(&state_.sha1); break;
      case HashAlgorithm::sha256: SHA256_Init(&state_.sha256); break;
      case HashAlgorithm::sha384: SHA384_Init(&state_.sha512); break;
      case HashAlgorithm::sha512: SHA512_Init(&state_.sha512); break;
    }
  }
  Digest(const Digest& other) { *this = other; }
  /// Copies, as the destructor wipes, what this hash has of the union: of a short message the rest of it would be a good part of the time.
  Digest& operator=(const Digest& other) {
    algorithm_ = other.algorithm_;
    switch (algorithm_) {
      case HashAlgorithm::sha1: state_.sha1 = other.state_.sha1; break;
      case HashAlgorithm::sha256: state_.sha256 = other.state_.sha256; break;
      case HashAlgorithm::sha384:
      case HashAlgorithm::sha512: state_.sha512 = other.state_.sha512; break;
    }
    return *this;
  }
  ~Digest() {
    switch (algorithm_) {
      case HashAlgorithm::sha1: wipe_state(state_.sha1); break;
      case HashAlgorithm::sha256: wipe_state(state_.sha256); break;
      case HashAlgorithm::sha384:
      case HashAlgorithm::sha512: wipe_state(state_.sha512); break;
    }
  }

  void update(ByteView bytes) {
    if (bytes.empty()) return;
    switch (algorithm_) {
      case HashAlgorithm::sha1: SHA1_Update(&state_.sha1, bytes.data(), bytes.size()); break;
      case HashAlgorithm::sha256: SHA256_Update(&state_.sha256, bytes.data(), bytes.size()); break;
      case HashAlgorithm::sha384: SHA384_Update(&state_.sha512, bytes.data(), bytes.size()); break;
      case HashAlgorithm::sha512: SHA512_Update(&state_.sha512, bytes.data(), bytes.size()); break;
    }
  }
  /// `out` has hash_size() bytes.
  void finish(std::uint8_t* out) {
    switch (algorithm_) {
      case HashAlgorithm::sha1: SHA1_Final(out, &state_.sha1); break;
      case HashAlgorithm::sha256: SHA256_Final(out, &state_.sha256); break;
      case HashAlgorithm::sha384: SHA384_Final(out, &state_.sha512); break;
      case HashAlgorithm::sha512: SHA512_Final(out, &state_.sha512); break;
    }
  }

 private:
  template <class State>
  static void wipe_state(State& state) {
    wipe({reinterpret_cast<std::uint8_t*>(&state), sizeof state});
  }

  HashAlgorithm algorithm_;
  union {
    SHA_CTX sha1;
    SHA256_CTX sha256;
    SHA512_CTX sha512; // of SHA-384 too
  } state_;
};

} // namespace

std::size_t hash_size(HashAlgorithm algorithm) {
  switch (algorithm) {
    case HashAlgorithm::sha1: return 20;
    case HashAlgorithm::sha256: return 32;
    case HashAlgorithm::sha384: return 48;
    case HashAlgorithm::sha512: return 64;
  }
  return 0;
}

void hash_into(HashAlgorithm algorithm, std::initializer_list<ByteView> parts, MutableByteView out) {
  SATSUMA_CHECK(out.size() == hash_size(algorithm));
  Digest digest(algorithm);
  for (ByteView part : parts) digest.update(part);
  digest.finish(out.data());
}

Bytes hash(HashAlgorithm algorithm, ByteView data) {
  Bytes digest(hash_size(algorithm));
  hash_into(algorithm, {data}, digest);
  return digest;
}

struct HmacKey::State {
  Digest inner;
  Digest outer;
};

// RFC 2104 s.2.
HmacKey::HmacKey(HashAlgorithm algorithm, ByteView key) : size_(hash_size(algorithm)) {
  static_assert(sizeof(State) <= sizeof(storage_) && alignof(State) <= alignof(HmacKey));
  const std::size_t block = block_size(algorithm);
  std::array<std::uint8_t, 128> pad{};
  if (key.size() > block) {
    hash_into(algorithm, {key}, MutableByteView(pad).first(size_));
  } else if (!key.empty()) {
    std::memcpy(pad.data(), key.data(), key.size());
  }
  const MutableByteView pad_block = MutableByteView(pad).first(block);
  State* state = new (storage_) State{Digest(algorithm), Digest(algorithm)};
  for (std::uint8_t& byte : pad_block) byte ^= 0x36;
  state->inner.update(pad_block);
  for (std::uint8_t& byte : pad_block) byte ^= 0x36 ^ 0x5c;
  state->outer.update(pad_block);
  wipe(pad);
}

HmacKey::~HmacKey() { state().~State(); }

HmacKey::State& HmacKey::state() { return *std::launder(reinterpret_cast<State*>(storage_)); }

void HmacKey::tag_into(std::initializer_list<ByteView> parts, MutableByteView out) {
  SATSUMA_CHECK(out.size() == size_);
  Digest digest = state().inner;
  for (ByteView part : parts) digest.update(part);
  digest.finish(out.data());
  digest = state().outer;
  digest.update(out);
  digest.finish(out.data());
}

void HmacKey::expand_into(ByteView info, MutableByteView out) {
  SATSUMA_CHECK(out.size() <= 255 * size_);
  std::uint8_t counter = 1;
  ByteView previous;
  for (; out.size() >= size_; ++counter) {
    const MutableByteView block = out.first(size_);
    tag_into({previous, info, ByteView(&counter, 1)}, block);
    previous = block;
    out = out.subspan(size_);
  }
  if (out.empty()) return;
  SecretArray<max_hash_size> last;
  const MutableByteView block = last.mutable_view().first(size_);
  tag_into({previous, info, ByteView(&counter, 1)}, block);
  std::memcpy(out.data(), block.data(), out.size());
}

void hmac_into(HashAlgorithm algorithm, ByteView key, std::initializer_list<ByteView> parts, MutableByteView out) {
  HmacKey(algorithm, key).tag_into(parts, out);
}

Bytes hmac(HashAlgorithm algorithm, ByteView key, std::initializer_list<ByteView> parts) {
  Bytes tag(hash_size(algorithm));
  hmac_into(algorithm, key, parts, tag);
  return tag;
}

SecretBytes hkdf_extract(HashAlgorithm algorithm, ByteView salt, ByteView input_key) {
  SecretBytes key(hash_size(algorithm));
  hmac_into(algorithm, salt, {input_key}, key.mutable_view());
  return key;
}

SecretBytes hkdf_expand(HashAlgorithm algorithm, ByteView pseudorandom_key, ByteView info, std::size_t size) {
  SecretBytes output(size);
  HmacKey(algorithm, pseudorandom_key).expand_into(info, output.mutable_view());
  return output;
}

} // namespace satsuma::crypto
