#include "crypto/hash.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

namespace satsuma::crypto {

namespace {

struct MdContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using MdContext = std::unique_ptr<EVP_MD_CTX, MdContextFree>;

// Fetched once: a fetch by name for each call costs more than hashing a short message.
const EVP_MD* message_digest(HashAlgorithm algorithm) {
  static const std::array<const EVP_MD*, 4> table = {
      EVP_MD_fetch(nullptr, "SHA1", nullptr), EVP_MD_fetch(nullptr, "SHA256", nullptr),
      EVP_MD_fetch(nullptr, "SHA384", nullptr), EVP_MD_fetch(nullptr, "SHA512", nullptr)};
  return table[static_cast<std::size_t>(algorithm)];
}

EVP_MD_CTX* thread_context() {
  thread_local MdContext context(EVP_MD_CTX_new());
  SATSUMA_CHECK(context != nullptr);
  return context.get();
}

std::size_t block_size(HashAlgorithm algorithm) {
  return algorithm == HashAlgorithm::sha384 || algorithm == HashAlgorithm::sha512 ? 128 : 64;
}

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
  EVP_MD_CTX* context = thread_context();
  SATSUMA_CHECK(EVP_DigestInit_ex(context, message_digest(algorithm), nullptr) == 1);
  for (ByteView part : parts) SATSUMA_CHECK(EVP_DigestUpdate(context, part.data(), part.size()) == 1);
  SATSUMA_CHECK(EVP_DigestFinal_ex(context, out.data(), nullptr) == 1);
}

Bytes hash(HashAlgorithm algorithm, ByteView data) {
  Bytes digest(hash_size(algorithm));
  hash_into(algorithm, {data}, digest);
  return digest;
}

// HMAC is written out over the digest (RFC 2104 s.2): EVP_MAC costs several allocations and a
// parameter parse for each call, and the key schedule calls this thousands of times an epoch.
void hmac_into(HashAlgorithm algorithm, ByteView key, std::initializer_list<ByteView> parts, MutableByteView out) {
  const std::size_t block = block_size(algorithm);
  const std::size_t size = hash_size(algorithm);
  SATSUMA_CHECK(out.size() == size);
  std::array<std::uint8_t, 128> pad{};
  if (key.size() > block) {
    hash_into(algorithm, {key}, MutableByteView(pad).first(size));
  } else if (!key.empty()) {
    std::memcpy(pad.data(), key.data(), key.size());
  }
  const MutableByteView pad_block = MutableByteView(pad).first(block);

  std::array<std::uint8_t, max_hash_size> inner;
  const MutableByteView inner_digest = MutableByteView(inner).first(size);
  EVP_MD_CTX* context = thread_context();
  for (std::uint8_t& byte : pad_block) byte ^= 0x36;
  SATSUMA_CHECK(EVP_DigestInit_ex(context, message_digest(algorithm), nullptr) == 1);
  SATSUMA_CHECK(EVP_DigestUpdate(context, pad_block.data(), block) == 1);
  for (ByteView part : parts) SATSUMA_CHECK(EVP_DigestUpdate(context, part.data(), part.size()) == 1);
  SATSUMA_CHECK(EVP_DigestFinal_ex(context, inner_digest.data(), nullptr) == 1);

  for (std::uint8_t& byte : pad_block) byte ^= 0x36 ^ 0x5c;
  hash_into(algorithm, {pad_block, inner_digest}, out);
  wipe(pad);
  wipe(inner);
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
  const std::size_t block = hash_size(algorithm);
  SATSUMA_CHECK(size <= 255 * block);
  SecretBytes output(size);
  std::array<std::uint8_t, max_hash_size> previous;
  std::size_t previous_size = 0;
  std::uint8_t counter = 1;
  for (std::size_t done = 0; done < size; ++counter) {
    const ByteView last = ByteView(previous).first(previous_size);
    hmac_into(algorithm, pseudorandom_key, {last, info, ByteView(&counter, 1)}, MutableByteView(previous).first(block));
    previous_size = block;
    const std::size_t take = std::min(block, size - done);
    std::memcpy(output.mutable_view().data() + done, previous.data(), take);
    done += take;
  }
  wipe(previous);
  return output;
}

} // namespace satsuma::crypto
