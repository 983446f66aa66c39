#include "call/identity.h"

#include <algorithm>

#include "call/utf8.h"
#include "codec/tls.h"
#include "crypto/cipher.h"
#include "crypto/hash.h"

namespace satsuma::call {

namespace {

constexpr std::uint8_t identity_version = 1;
constexpr std::size_t mac_size = 32;
// Device key, signature, a name with its length byte.
constexpr std::size_t max_profile_size = device_key_size + device_signature_size + 1 + max_name_size;
constexpr std::size_t max_sealed_profile_size = crypto::aead_nonce_size + max_profile_size + crypto::aead_tag_size;

bool is_room_name(std::string_view room) {
  return !room.empty() && room.size() <= max_room_size && std::ranges::all_of(room, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

} // namespace

IncarnationId incarnation_of(ByteView signature_key) {
  const Bytes digest = crypto::hash(crypto::HashAlgorithm::sha256, signature_key);
  IncarnationId id;
  std::copy_n(digest.begin(), IncarnationId::size, id.bytes.begin());
  return id;
}

bool is_valid_name(std::string_view name) {
  if (name.size() > max_name_size) return false;
  while (!name.empty()) {
    std::uint32_t code = 0;
    const std::size_t length = decode_utf8(name, code);
    if (length == 0 || is_unseen(code)) return false;
    name.remove_prefix(length);
  }
  return true;
}

Result<DeviceKey> DeviceKey::from_seed(ByteView seed) {
  SATSUMA_TRY(const auto pair, crypto::signature_key_pair_from_private(crypto::SignatureScheme::ed25519, seed));
  DeviceKey key;
  std::ranges::copy(pair.public_key, key.public_key_.begin());
  key.seed_ = SecretBytes::copy_of(seed);
  return key;
}

Result<Bytes> DeviceKey::sign(ByteView message) const {
  return crypto::sign(crypto::SignatureScheme::ed25519, seed_.view(), message);
}

Result<RoomKeys> RoomKeys::derive(std::string_view room, ByteView secret) {
  if (!is_room_name(room)) return identity_bad_room;
  if (secret.size() != room_secret_size) return identity_bad_secret;
  const SecretBytes key = crypto::hkdf_extract(crypto::HashAlgorithm::sha256, as_bytes("satsuma admission 1"), secret);
  const auto expand = [&](std::string_view label) {
    ByteWriter info;
    info.bytes(as_bytes(label));
    info.bytes(as_bytes(room));
    return crypto::hkdf_expand(crypto::HashAlgorithm::sha256, key.view(), info.view(), 32);
  };
  RoomKeys keys;
  keys.room_ = room;
  keys.mac_key_ = expand("mac");
  keys.profile_key_ = expand("profile");
  return keys;
}

Bytes RoomKeys::admission_mac(ByteView signature_key, ByteView sealed_profile) const {
  ByteWriter size;
  size.u16(static_cast<std::uint16_t>(signature_key.size()));
  return crypto::hmac(crypto::HashAlgorithm::sha256, mac_key_.view(), {size.view(), signature_key, sealed_profile});
}

Bytes RoomKeys::device_message(ByteView signature_key) const {
  ByteWriter message;
  message.bytes(as_bytes("satsuma session 1"));
  message.u8(0);
  message.u8(static_cast<std::uint8_t>(room_.size()));
  message.bytes(as_bytes(room_));
  message.bytes(signature_key);
  return std::move(message).take();
}

Result<Bytes> RoomKeys::seal_identity(const DeviceKey& device, std::string_view name, ByteView signature_key,
                                      RandomSource& random) const {
  if (!is_valid_name(name)) return identity_bad_name;
  SATSUMA_TRY(const Bytes device_signature, device.sign(device_message(signature_key)));
  ByteWriter profile;
  profile.bytes(device.public_key());
  profile.bytes(device_signature);
  profile.u8(static_cast<std::uint8_t>(name.size()));
  profile.bytes(as_bytes(name));

  Bytes sealed(crypto::aead_nonce_size + profile.size() + crypto::aead_tag_size);
  const MutableByteView nonce = MutableByteView(sealed).first(crypto::aead_nonce_size);
  random.fill(nonce);
  crypto::AeadKey key(crypto::AeadAlgorithm::chacha20_poly1305, profile_key_.view());
  key.seal(nonce, signature_key, profile.view(), MutableByteView(sealed).subspan(crypto::aead_nonce_size));

  ByteWriter identity;
  identity.u8(identity_version);
  codec::write_opaque(identity, sealed);
  identity.bytes(admission_mac(signature_key, sealed));
  return std::move(identity).take();
}

bool RoomKeys::proves_admission(ByteView identity, ByteView signature_key) const {
  ByteReader reader(identity);
  const auto version = reader.u8();
  if (!version || *version != identity_version) return false;
  const auto sealed = codec::read_opaque(reader, max_sealed_profile_size);
  const auto mac = reader.bytes(mac_size);
  return sealed && mac && reader.empty() && constant_time_equal(*mac, admission_mac(signature_key, *sealed));
}

Result<OpenedIdentity> RoomKeys::open_identity(ByteView identity, ByteView signature_key) const {
  ByteReader reader(identity);
  const auto version = reader.u8();
  if (!version || *version != identity_version) return identity_malformed;
  const auto sealed = codec::read_opaque(reader, max_sealed_profile_size);
  if (!sealed || sealed->size() < crypto::aead_nonce_size + crypto::aead_tag_size) return identity_malformed;
  const auto mac = reader.bytes(mac_size);
  if (!mac || !reader.empty()) return identity_malformed;
  if (!constant_time_equal(*mac, admission_mac(signature_key, *sealed))) return identity_not_admitted;

  const ByteView ciphertext = sealed->subspan(crypto::aead_nonce_size);
  Bytes plain(ciphertext.size() - crypto::aead_tag_size);
  crypto::AeadKey key(crypto::AeadAlgorithm::chacha20_poly1305, profile_key_.view());
  if (!key.open(sealed->first(crypto::aead_nonce_size), signature_key, ciphertext, plain)) return identity_not_admitted;

  ByteReader fields(plain);
  const auto device_key = fields.bytes(device_key_size);
  const auto device_signature = fields.bytes(device_signature_size);
  const auto name_size = fields.u8();
  if (!device_key || !device_signature || !name_size || *name_size != fields.remaining()) return identity_malformed;
  const std::string_view name = as_text(fields.rest());
  if (!is_valid_name(name)) return identity_malformed;
  OpenedIdentity opened;
  opened.profile.name = name;
  std::ranges::copy(*device_key, opened.claimed_key.begin());
  std::ranges::copy(*device_signature, opened.device_signature.begin());
  return opened;
}

void RoomKeys::check_device(OpenedIdentity& opened, ByteView signature_key) const {
  const bool holds = crypto::verify(crypto::SignatureScheme::ed25519, opened.claimed_key, device_message(signature_key), opened.device_signature).has_value();
  opened.profile.proof = holds ? DeviceProof::proven : DeviceProof::refuted;
  if (holds) opened.profile.device_key = opened.claimed_key;
}

Result<Profile> RoomKeys::verify_identity(ByteView identity, ByteView signature_key) const {
  SATSUMA_TRY(OpenedIdentity opened, open_identity(identity, signature_key));
  check_device(opened, signature_key);
  if (opened.profile.proof != DeviceProof::proven) return identity_device_mismatch;
  return std::move(opened.profile);
}

} // namespace satsuma::call
