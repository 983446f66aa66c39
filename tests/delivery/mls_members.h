#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "delivery/mls_group_gate.h"
#include "mls/group/group.h"

namespace satsuma::delivery::testing {

/// Random bytes from a seed, so that a failure repeats.
class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : state_(seed) {}
  void fill(MutableByteView out) override {
    for (auto& byte : out) {
      state_ ^= state_ << 13;
      state_ ^= state_ >> 7;
      state_ ^= state_ << 17;
      byte = static_cast<std::uint8_t>(state_ >> 32);
    }
  }

 private:
  std::uint64_t state_;
};

/// One participant with real MLS. Errors end the test by value(), which is what a test wants.
struct MlsMember {
  SeededRandom random;
  crypto::SignatureKeyPair keys;
  mls::KeyPackageBundle bundle;
  IncarnationId who;
  std::optional<mls::Group> group;
  signaling::LogPrefix seen; ///< what its commits say that it has read

  explicit MlsMember(std::uint64_t seed)
      : random(seed * 0x9e3779b97f4a7c15ULL + 1),
        keys(mls::generate_signature_keys(suite, random).value()),
        bundle(make_bundle()),
        who(incarnation_of(keys.public_key)) {}

  static constexpr auto suite = mls::CipherSuite::x25519_chacha20poly1305_sha256_ed25519;

  mls::KeyPackageBundle make_bundle() {
    mls::KeyPackageParams params;
    params.suite = suite;
    params.credential = mls::Credential::basic(as_bytes("somebody"));
    return mls::generate_key_package(params, keys, random).value();
  }
  Bytes key_package() const { return bundle.message(); }
  void create() { group = mls::Group::create({.group_id = Bytes(16, 7), .extensions = {}, .padding = 0}, bundle, random).value(); }
  Bytes group_info() const { return group->group_info().value(); }
  mls::LeafIndex leaf_of(const MlsMember& other) const {
    for (const auto& member : group->members()) {
      if (member.signature_key == other.keys.public_key) return member.leaf;
    }
    ADD_FAILURE() << "not in the group";
    return {};
  }
  mls::PendingCommit commit(std::initializer_list<const MlsMember*> add, std::initializer_list<const MlsMember*> remove = {}) {
    mls::CommitParams params;
    params.authenticated_data = signaling::write_log_prefix(seen);
    for (const auto* one : add) params.add.push_back(one->bundle.key_package);
    for (const auto* one : remove) params.remove.push_back(leaf_of(*one));
    return group->commit(params, random).value();
  }
  void merge(mls::PendingCommit& pending) { ASSERT_TRUE(group->merge(std::move(pending.staged)).has_value()); }
  void process(ByteView commit) {
    auto staged = group->stage(commit);
    ASSERT_TRUE(staged.has_value());
    ASSERT_TRUE(group->merge(std::move(*staged)).has_value());
  }
  void join(ByteView welcome) {
    const auto parsed = mls::MLSMessage::decode_as<mls::Welcome>(welcome).value();
    group = mls::Group::join(parsed, bundle).value();
  }
};

} // namespace satsuma::delivery::testing
