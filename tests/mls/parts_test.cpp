#include <gtest/gtest.h>

#include "mls/group/secret_tree.h"
#include "mls/tree/validation.h"
#include "world.h"

namespace satsuma::mls {
namespace {

TEST(Codec, OnlyTheShortestFormOfALengthIsRead) {
  for (const char* text : {"c0", "ffffffff", "4000", "403f", "80003fff", "80000000", "40", "800040", ""}) {
    const Bytes bytes = *from_hex(text);
    ByteReader reader(bytes);
    EXPECT_FALSE(codec::read_varint(reader)) << text;
    EXPECT_EQ(bytes.size(), reader.remaining()) << text;
  }
}

TEST(Codec, AnnouncedBytesThatAreNotThereAreRefused) {
  const Bytes bytes = *from_hex("bfffffff00");
  ByteReader reader(bytes);
  EXPECT_ERROR(bytes_truncated, codec::read_bytes(reader));
  EXPECT_ERROR(bytes_truncated, codec::read_vector<Extension>(reader));
}

TEST(Codec, AnOptionalThatIsNeitherThereNorNotIsRefused) {
  const Bytes bytes = *from_hex("02");
  ByteReader reader(bytes);
  EXPECT_ERROR(codec::codec_optional_invalid, codec::read_optional<Extension>(reader));
}

TEST(Extensions, ATypeStandsOnce) {
  ByteWriter writer;
  write_extensions(writer, {{10, {1}}, {11, {}}, {10, {}}});
  ByteReader reader(writer.view());
  EXPECT_ERROR(mls_extension_duplicate, read_extensions(reader));
}

class KeyPackages : public testing::Test {
 protected:
  KeyPackages() : bundle(world.new_person("a")) {}
  Result<void> resigned(KeyPackage package) {
    EXPECT_TRUE(package.leaf_node.sign(suite, bundle.signature_private_key.view(), {}, {}));
    EXPECT_TRUE(package.sign(suite, bundle.signature_private_key.view()));
    return verify_key_package(package);
  }

  World world;
  KeyPackageBundle bundle;
  const SuiteParameters& suite = *find_suite(CipherSuite{3});
};

TEST_F(KeyPackages, AGoodOneIsAcceptedAndComesBackFromItsBytes) {
  EXPECT_TRUE(verify_key_package(bundle.key_package));
  EXPECT_EQ(bundle.key_package, VALUE(MLSMessage::decode_as<KeyPackage>(bundle.message())));
  EXPECT_ERROR(mls_wire_format_unexpected, MLSMessage::decode_as<Welcome>(bundle.message()));
}

TEST_F(KeyPackages, AnyBitFlippedIsRefused) {
  const Bytes bytes = bundle.message();
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    Bytes tampered = bytes;
    tampered[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    const auto parsed = MLSMessage::decode_as<KeyPackage>(tampered);
    if (parsed) {
      EXPECT_FALSE(verify_key_package(*parsed)) << "bit " << bit;
    }
  }
}

TEST_F(KeyPackages, ALifetimeThatIsOverOrNotYetIsRefused) {
  KeyPackage package = bundle.key_package;
  package.leaf_node.lifetime = {100, 200};
  ASSERT_TRUE(package.leaf_node.sign(suite, bundle.signature_private_key.view(), {}, {}));
  ASSERT_TRUE(package.sign(suite, bundle.signature_private_key.view()));
  EXPECT_TRUE(verify_key_package(package));
  EXPECT_TRUE(verify_key_package(package, 150));
  EXPECT_ERROR(mls_lifetime_over, verify_key_package(package, 99));
  EXPECT_ERROR(mls_lifetime_over, verify_key_package(package, 201));
}

TEST_F(KeyPackages, WhatBreaksARuleIsRefusedHoweverWellSigned) {
  KeyPackage package = bundle.key_package;
  EXPECT_TRUE(resigned(package));
  package.init_key = package.leaf_node.encryption_key;
  EXPECT_ERROR(mls_init_key_reused, resigned(package));
  package = bundle.key_package;
  package.init_key.pop_back();
  EXPECT_ERROR(mls_init_key_invalid, resigned(package));
  package = bundle.key_package;
  package.leaf_node.encryption_key.push_back(0);
  EXPECT_ERROR(mls_leaf_key_invalid, resigned(package));
  package = bundle.key_package;
  package.leaf_node.source = LeafNodeSource::update;
  EXPECT_ERROR(mls_leaf_source_wrong, resigned(package));
  package = bundle.key_package;
  package.leaf_node.capabilities.credentials.clear();
  EXPECT_ERROR(mls_leaf_capabilities_missing, resigned(package));
  package = bundle.key_package;
  package.leaf_node.extensions.push_back({0xf00d, {}});
  EXPECT_ERROR(mls_leaf_capabilities_missing, resigned(package));
  package.leaf_node.capabilities.extensions.push_back(0xf00d);
  EXPECT_TRUE(resigned(package));
  package = bundle.key_package;
  package.cipher_suite = CipherSuite{0x0a0a};
  EXPECT_ERROR(mls_suite_unsupported, resigned(package));
}

TEST(Group, ExtensionsThatAMemberDoesNotSupportAreNotCommitted) {
  World world;
  world.create("a");
  world.commit("a", {"b"}, {});
  CommitParams params;
  params.group_context_extensions = Extensions{{0xf00d, {}}};
  EXPECT_ERROR(mls_leaf_capabilities_missing, world.at("a").commit(params, world.random()));
  RequiredCapabilities required;
  required.proposals.push_back(0xf00e);
  params.group_context_extensions = Extensions{{extension_type::required_capabilities, codec::encode(required)}};
  EXPECT_ERROR(mls_leaf_capabilities_missing, world.at("a").commit(params, world.random()));
}

TEST(SecretTree, AKeyIsGivenOnceAndAJumpIsBounded) {
  const SuiteParameters& suite = *find_suite(CipherSuite{3});
  SecretTree tree(suite, {4}, SecretBytes(32));
  EXPECT_ERROR(mls_generation_too_far, tree.find({1}, RatchetType::application, SecretTreeLimits().max_skip + 1));
  EXPECT_ERROR(mls_generation_too_far, tree.find({1}, RatchetType::application, ~0u));
  EXPECT_TRUE(tree.find({1}, RatchetType::application, SecretTreeLimits().max_skip));
  EXPECT_TRUE(tree.find({1}, RatchetType::application, 7));
  tree.consume({1}, RatchetType::application, 7);
  EXPECT_ERROR(mls_generation_consumed, tree.find({1}, RatchetType::application, 7));
  EXPECT_ERROR(mls_generation_consumed, tree.find({4}, RatchetType::application, 0));
  // max_kept: the very first was let go.
  EXPECT_ERROR(mls_generation_consumed, tree.find({1}, RatchetType::application, 0));
  const SecretTree::Next first = VALUE(tree.take_next({2}, RatchetType::handshake));
  const SecretTree::Next second = VALUE(tree.take_next({2}, RatchetType::handshake));
  EXPECT_EQ(0u, first.generation);
  EXPECT_EQ(1u, second.generation);
  EXPECT_FALSE(first.key.key == second.key.key);
}

TEST(RatchetTree, TreesThatAreNotTreesAreRefused) {
  const auto parse = [](const char* hex) { return RatchetTree::parse(CipherSuite{3}, *from_hex(hex)); };
  EXPECT_ERROR(mls_tree_malformed, parse("00"));         // no node at all
  EXPECT_ERROR(mls_tree_malformed, parse("0100"));       // a blank at the end
  EXPECT_ERROR(mls_tree_malformed, parse("020102"));     // a parent in a leaf's place
  EXPECT_ERROR(codec::codec_optional_invalid, parse("0102"));
  EXPECT_ERROR(bytes_trailing, parse("010000"));
  EXPECT_ERROR(mls_suite_unsupported, RatchetTree::parse(CipherSuite{0x0a0a}, {}));
}

TEST(RatchetTree, MathAgreesWithItself) {
  for (std::uint32_t a = 0; a < 32; ++a) {
    for (std::uint32_t b = 0; b < 32; ++b) {
      const NodeIndex ancestor = tree_math::common_ancestor({a}, {b});
      EXPECT_TRUE(tree_math::is_in_subtree({a}, ancestor) && tree_math::is_in_subtree({b}, ancestor));
      if (a != b) {
        EXPECT_FALSE(tree_math::is_in_subtree({b}, a < b ? tree_math::left(ancestor) : tree_math::right(ancestor)));
      }
    }
  }
}

} // namespace
} // namespace satsuma::mls
