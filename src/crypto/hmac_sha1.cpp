// The digest as a plain structure can be copied by value; the interface that replaced it in OpenSSL 3 allocates for a copy,
// and this runs once for each packet.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "crypto/hmac_sha1.h"

#include <openssl/sha.h>

#include <array>
#include <cstring>

#include "base/secret.h"

namespace satsuma::crypto {

struct HmacSha1Key::State {
  SHA_CTX inner;
  SHA_CTX outer;
};

HmacSha1Key::HmacSha1Key(ByteView key) : state_(std::make_unique<State>()) {
  std::array<std::uint8_t, SHA_CBLOCK> pad{};
  if (key.size() > pad.size()) {
    SHA1(key.data(), key.size(), pad.data());
  } else if (!key.empty()) {
    std::memcpy(pad.data(), key.data(), key.size());
  }
  for (std::uint8_t& byte : pad) byte ^= 0x36;
  SATSUMA_CHECK(SHA1_Init(&state_->inner) == 1 && SHA1_Update(&state_->inner, pad.data(), pad.size()) == 1);
  for (std::uint8_t& byte : pad) byte ^= 0x36 ^ 0x5c;
  SATSUMA_CHECK(SHA1_Init(&state_->outer) == 1 && SHA1_Update(&state_->outer, pad.data(), pad.size()) == 1);
  wipe(pad);
}

HmacSha1Key::HmacSha1Key(HmacSha1Key&&) noexcept = default;
HmacSha1Key& HmacSha1Key::operator=(HmacSha1Key&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
HmacSha1Key::~HmacSha1Key() {
  if (state_) wipe({reinterpret_cast<std::uint8_t*>(state_.get()), sizeof(State)});
}

void HmacSha1Key::tag(std::initializer_list<ByteView> parts, MutableByteView out) const {
  SATSUMA_CHECK(!out.empty() && out.size() <= tag_size);
  std::array<std::uint8_t, tag_size> digest;
  SHA_CTX context = state_->inner;
  for (ByteView part : parts) {
    if (!part.empty()) SHA1_Update(&context, part.data(), part.size());
  }
  SHA1_Final(digest.data(), &context);
  context = state_->outer;
  SHA1_Update(&context, digest.data(), digest.size());
  SHA1_Final(digest.data(), &context);
  std::memcpy(out.data(), digest.data(), out.size());
}

} // namespace satsuma::crypto
