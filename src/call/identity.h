#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/random.h"
#include "base/secret.h"
#include "crypto/signature.h"

/// Who a member is, and how it proves that it holds the room's link: docs/protocol.md, section 3.
namespace satsuma::call {

inline constexpr ErrorCode identity_bad_room{"identity_bad_room", ErrorKind::caller};
inline constexpr ErrorCode identity_bad_secret{"identity_bad_secret", ErrorKind::caller};
inline constexpr ErrorCode identity_bad_name{"identity_bad_name", ErrorKind::caller};
inline constexpr ErrorCode identity_malformed{"identity_malformed", ErrorKind::peer};
/// The proof of admission is wrong: the sender does not hold the room secret, or someone moved the identity to another key.
inline constexpr ErrorCode identity_not_admitted{"identity_not_admitted", ErrorKind::peer};
/// Admitted, but the device key did not sign this session.
inline constexpr ErrorCode identity_device_mismatch{"identity_device_mismatch", ErrorKind::peer};

inline constexpr std::size_t room_secret_size = 16;
inline constexpr std::size_t device_key_size = 32;
inline constexpr std::size_t device_signature_size = 64;
inline constexpr std::size_t max_name_size = 64; ///< bytes of UTF-8
inline constexpr std::size_t max_room_size = 64;

/// SHA-256 over the MLS signature public key, cut to 16 bytes.
IncarnationId incarnation_of(ByteView signature_key);

/// Valid UTF-8 without control characters, at most max_name_size bytes. Empty is a name.
bool is_valid_name(std::string_view name);

/// The long-term key of a device, Ed25519.
class DeviceKey {
 public:
  /// `seed`: 32 bytes (RFC 8032).
  static Result<DeviceKey> from_seed(ByteView seed);

  const std::array<std::uint8_t, device_key_size>& public_key() const { return public_key_; }
  Result<Bytes> sign(ByteView message) const;

 private:
  DeviceKey() = default;
  std::array<std::uint8_t, device_key_size> public_key_{};
  SecretBytes seed_;
};

/// Whether a device's key signed this session. It says which device it is, not who may be here: that is the proof of admission.
enum class DeviceProof : std::uint8_t {
  pending, ///< not checked yet
  proven,
  refuted, ///< the signature does not hold: somebody with the link pretends to be another's device
};

/// What is known of a member whose proof of admission holds. There is no other way to get one from received bytes.
struct Profile {
  std::array<std::uint8_t, device_key_size> device_key{}; ///< zeros unless proven
  std::string name;
  DeviceProof proof = DeviceProof::pending;
  friend bool operator==(const Profile&, const Profile&) = default;
};

/// An identity that was opened, with what is left to check.
struct OpenedIdentity {
  Profile profile;
  std::array<std::uint8_t, device_key_size> claimed_key{};
  std::array<std::uint8_t, device_signature_size> device_signature{};
  friend bool operator==(const OpenedIdentity&, const OpenedIdentity&) = default;
};

/// The keys that a room's secret gives to those who have the link.
class RoomKeys {
 public:
  static Result<RoomKeys> derive(std::string_view room, ByteView secret);

  /// The identity for a basic credential (RFC 9420 s.5.3) of the MLS key `signature_key`.
  Result<Bytes> seal_identity(const DeviceKey& device, std::string_view name, ByteView signature_key, RandomSource& random) const;
  /// What section 3 asks of a member: the proof of admission and a profile that is well formed. Costs hashes only.
  Result<OpenedIdentity> open_identity(ByteView identity, ByteView signature_key) const;
  /// The device's signature, a tenth of a millisecond: the profile's proof is pending no more.
  void check_device(OpenedIdentity& opened, ByteView signature_key) const;
  /// Both; identity_device_mismatch where the proof is refuted.
  Result<Profile> verify_identity(ByteView identity, ByteView signature_key) const;
  /// The proof of admission alone, which costs a hash where the whole costs a signature check: good enough to hope that someone can be
  /// added, not to show a name.
  bool proves_admission(ByteView identity, ByteView signature_key) const;

  const std::string& room() const { return room_; }

 private:
  RoomKeys() = default;
  Bytes admission_mac(ByteView signature_key, ByteView sealed_profile) const;
  Bytes device_message(ByteView signature_key) const;

  std::string room_;
  SecretBytes mac_key_;
  SecretBytes profile_key_;
};

} // namespace satsuma::call
