#include "call/identity.h"

#include <gtest/gtest.h>

#include "helpers.h"

namespace satsuma::call {
namespace {

using test::secret_of;
using test::SeededRandom;

struct Identity : ::testing::Test {
  SeededRandom random{1};
  RoomKeys keys = RoomKeys::derive("orchard", secret_of(1, 16).view()).value();
  DeviceKey device = DeviceKey::from_seed(secret_of(2, 32).view()).value();
  Bytes signature_key = Bytes(32, 3);

  Bytes seal(std::string_view name = "Ada") { return keys.seal_identity(device, name, signature_key, random).value(); }
};

TEST_F(Identity, SealedWithTheRoomSecretVerifiesAndGivesTheProfile) {
  const auto profile = keys.verify_identity(seal("Zoë 🍊"), signature_key);
  ASSERT_TRUE(profile);
  EXPECT_EQ(profile->name, "Zoë 🍊");
  EXPECT_EQ(profile->device_key, device.public_key());
}

TEST_F(Identity, HidesTheNameFromWhoLacksTheSecret) {
  const Bytes identity = seal("Ada Lovelace");
  EXPECT_EQ(as_text(identity).find("Ada"), std::string_view::npos);
}

TEST_F(Identity, OfAnotherSecretIsNotAdmitted) {
  const auto others = RoomKeys::derive("orchard", secret_of(9, 16).view()).value();
  EXPECT_EQ(others.verify_identity(seal(), signature_key).error(), Error(identity_not_admitted));
}

TEST_F(Identity, OfAnotherRoomWithTheSameSecretIsNotAdmitted) {
  const auto others = RoomKeys::derive("garden", secret_of(1, 16).view()).value();
  EXPECT_EQ(others.verify_identity(seal(), signature_key).error(), Error(identity_not_admitted));
}

TEST_F(Identity, MovedToAnotherSignatureKeyIsNotAdmitted) {
  EXPECT_EQ(keys.verify_identity(seal(), Bytes(32, 4)).error(), Error(identity_not_admitted));
}

TEST_F(Identity, WithAnyBitChangedIsRefused) {
  const Bytes identity = seal();
  for (std::size_t i = 0; i < identity.size(); ++i) {
    Bytes changed = identity;
    changed[i] ^= 0x10;
    EXPECT_FALSE(keys.verify_identity(changed, signature_key)) << "byte " << i;
  }
}

TEST_F(Identity, CutShortOrWithATailIsMalformed) {
  const Bytes identity = seal();
  for (std::size_t size = 0; size < identity.size(); ++size) {
    EXPECT_FALSE(keys.verify_identity(ByteView(identity).first(size), signature_key));
  }
  Bytes longer = identity;
  longer.push_back(0);
  EXPECT_EQ(keys.verify_identity(longer, signature_key).error(), Error(identity_malformed));
}

// Somebody who has the link, and wants to appear as another one's device.
TEST_F(Identity, WithAnotherDevicesSignatureIsRefused) {
  const Bytes forged = test::identity_with_anothers_device("orchard", 1, device, signature_key, "Ada", random);
  EXPECT_EQ(keys.verify_identity(forged, signature_key).error(), Error(identity_device_mismatch));
  OpenedIdentity opened = keys.open_identity(forged, signature_key).value();
  EXPECT_EQ(opened.profile.proof, DeviceProof::pending);
  EXPECT_NE(opened.profile.device_key, device.public_key()) << "nothing is known before it is checked";
  keys.check_device(opened, signature_key);
  EXPECT_EQ(opened.profile.proof, DeviceProof::refuted);
  EXPECT_EQ(opened.profile.device_key, Profile{}.device_key);
}

TEST_F(Identity, RefusesNamesThatAreTooLongOrNotText) {
  EXPECT_TRUE(is_valid_name(""));
  EXPECT_TRUE(is_valid_name(std::string(64, 'a')));
  EXPECT_FALSE(is_valid_name(std::string(65, 'a')));
  EXPECT_FALSE(is_valid_name("a\nb"));
  EXPECT_FALSE(is_valid_name("Ada\u200b")) << "looks like Ada";
  EXPECT_FALSE(is_valid_name("Ada\u2060"));
  EXPECT_TRUE(is_valid_name("\U0001f469\u200d\U0001f680"));
  EXPECT_FALSE(is_valid_name("\xff"));
  EXPECT_FALSE(is_valid_name("\xc0\x80"));         // not the shortest form
  EXPECT_FALSE(is_valid_name("\xed\xa0\x80"));     // a surrogate
  EXPECT_FALSE(is_valid_name("\xe2\x80\xae" "abc")); // turns the direction of what follows
  EXPECT_EQ(keys.seal_identity(device, "a\nb", signature_key, random).error(), Error(identity_bad_name));
}

TEST_F(Identity, NeedsARoomNameAndASecretOfTheRightForm) {
  EXPECT_EQ(RoomKeys::derive("", secret_of(1, 16).view()).error(), Error(identity_bad_room));
  EXPECT_EQ(RoomKeys::derive("Orchard", secret_of(1, 16).view()).error(), Error(identity_bad_room));
  EXPECT_EQ(RoomKeys::derive(std::string(65, 'a'), secret_of(1, 16).view()).error(), Error(identity_bad_room));
  EXPECT_EQ(RoomKeys::derive("orchard", secret_of(1, 15).view()).error(), Error(identity_bad_secret));
}

TEST(Incarnation, IsTheFrontOfTheHashOfTheSignatureKey) {
  const Bytes key(32, 0xab);
  const Bytes digest = crypto::hash(crypto::HashAlgorithm::sha256, key);
  EXPECT_EQ(to_hex(incarnation_of(key).view()), to_hex(ByteView(digest).first(16)));
}

} // namespace
} // namespace satsuma::call
