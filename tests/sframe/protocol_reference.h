#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "sframe/sframe.h"

/// docs/protocol.md, section 4, followed word for word and without a thought of speed: what another client would compute.
namespace satsuma::sframe::reference {

inline Bytes expand(CipherSuite suite, ByteView secret, std::string_view label, std::uint64_t key_id, std::size_t size) {
  ByteWriter info;
  info.bytes(as_bytes(label));
  info.u64(key_id);
  info.u16(static_cast<std::uint16_t>(suite));
  return to_bytes(crypto::hkdf_expand(parameters(suite).hash, secret, info.view(), size).view());
}

/// Everything from the base key to the key of a frame, which is the last of them.
inline std::vector<Bytes> way_to_key(CipherSuite suite, std::uint64_t key_id, ByteView base_key, std::uint64_t counter) {
  const CipherSuiteParameters all = parameters(suite);
  const std::size_t hash_size = crypto::hash_size(all.hash);
  std::vector<Bytes> way{to_bytes(base_key), to_bytes(crypto::hkdf_extract(all.hash, {}, base_key).view())};
  way.push_back(expand(suite, way.back(), "satsuma frame tree ", key_id, 32));
  for (int level = 7; level >= 0; --level) {
    const std::size_t size = level > 0 ? 32 : all.aead ? all.key_size : hash_size; // AES-CTR's key and HMAC's are half as long as the hash
    const std::uint64_t siblings = hash_size / size;
    const std::uint64_t child = counter >> 3 * level;
    ByteWriter info;
    info.u32(1);
    info.bytes(way.back());
    info.bytes(as_bytes("satsuma frame"));
    info.u8(static_cast<std::uint8_t>(level));
    info.u32(static_cast<std::uint32_t>(child / siblings * siblings << 3 * level));
    const Bytes secrets = crypto::hash(all.hash, info.view());
    way.push_back(to_bytes(ByteView(secrets).subspan(static_cast<std::size_t>(child % siblings) * size, size)));
  }
  return way;
}

inline Bytes frame_key(CipherSuite suite, std::uint64_t key_id, ByteView base_key, std::uint64_t counter) {
  return way_to_key(suite, key_id, base_key, counter).back();
}

inline Bytes protect(CipherSuite suite, std::uint64_t key_id, ByteView base_key, std::uint64_t counter, ByteView metadata, ByteView plaintext) {
  Bytes nonce = expand(suite, crypto::hkdf_extract(parameters(suite).hash, {}, base_key).view(), "SFrame 1.0 Secret salt ", key_id, nonce_size);
  for (std::size_t i = 0; i < 8; ++i) nonce[nonce_size - 1 - i] ^= static_cast<std::uint8_t>(counter >> 8 * i);
  Bytes frame(max_header_size);
  frame.resize(write_header({key_id, counter}, frame));
  Bytes associated = frame;
  associated.insert(associated.end(), metadata.begin(), metadata.end());
  Bytes sealed(plaintext.size() + max_tag_size);
  FrameCipher cipher(suite);
  const auto written = cipher.seal({frame_key(suite, key_id, base_key, counter), nonce, associated}, {}, plaintext, sealed);
  frame.insert(frame.end(), written.begin(), written.end());
  return frame;
}

} // namespace satsuma::sframe::reference
