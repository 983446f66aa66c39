#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>

#include "mls/group/group.h"
#include "seeded_random.h"

namespace satsuma::mls {

/// The value, or the test stops and says which rule was broken.
template <class T>
T expect_value(Result<T> result, const char* what) {
  if (!result) ADD_FAILURE() << what << ": " << result.error().name();
  SATSUMA_CHECK(result);
  return std::move(*result);
}
#define VALUE(...) ::satsuma::mls::expect_value((__VA_ARGS__), #__VA_ARGS__)

template <class T>
std::string error_name(const Result<T>& result) {
  return result ? "none" : std::string(result.error().name());
}
#define EXPECT_ERROR(code, ...) EXPECT_EQ(std::string((code).name), ::satsuma::mls::error_name(__VA_ARGS__))

/// A group's members in one place, and a follower without secrets beside them.
class World {
 public:
  explicit World(CipherSuite suite = CipherSuite{3}, std::uint64_t seed = 1) : suite_(suite), random_(seed) {}

  SeededRandom& random() { return random_; }

  KeyPackageBundle new_person(const std::string& name) {
    const crypto::SignatureKeyPair keys = VALUE(generate_signature_keys(suite_, random_));
    KeyPackageParams params;
    params.suite = suite_;
    params.credential = Credential::basic(as_bytes(name));
    return VALUE(generate_key_package(params, keys, random_));
  }

  Group& create(const std::string& name) {
    const KeyPackageBundle bundle = new_person(name);
    GroupParams params;
    params.group_id = to_bytes(as_bytes("a group"));
    params.padding = 64;
    members_.emplace(name, VALUE(Group::create(params, bundle, random_)));
    signature_keys_[name] = bundle.signature_private_key.clone();
    follower_.emplace(VALUE(PublicGroup::from_group_info(VALUE(MLSMessage::decode_as<GroupInfo>(VALUE(members_.at(name).group_info()))))));
    return members_.at(name);
  }

  Group& at(const std::string& name) { return members_.at(name); }
  std::map<std::string, Group>& members() { return members_; }
  PublicGroup& follower() { return *follower_; }
  ByteView signature_key(const std::string& name) { return signature_keys_[name].view(); }

  /// `committer` adds and removes; everyone processes, the new ones join, and all agree.
  void commit(const std::string& committer, const std::vector<std::string>& add, const std::vector<std::string>& remove, bool force_path = true) {
    CommitParams params;
    params.force_path = force_path;
    std::map<std::string, KeyPackageBundle> bundles;
    for (const std::string& name : add) {
      bundles.emplace(name, new_person(name));
      params.add.push_back(bundles.at(name).key_package);
    }
    for (const std::string& name : remove) params.remove.push_back(at(name).own_leaf());
    PendingCommit pending = VALUE(at(committer).commit(params, random_));
    EXPECT_EQ(add.size(), pending.staged.effects().added.size());
    EXPECT_EQ(!add.empty(), pending.welcome.has_value());
    deliver(committer, pending);
    for (const auto& [name, bundle] : bundles) {
      members_.emplace(name, VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), bundle)));
      signature_keys_[name] = bundle.signature_private_key.clone();
    }
    expect_agreement();
  }

  void deliver(const std::string& committer, PendingCommit& pending) {
    const PublicMessage message = VALUE(MLSMessage::decode_as<PublicMessage>(pending.commit));
    StagedPublicCommit followed = VALUE(follower_->verify(message));
    EXPECT_TRUE(follower_->apply(std::move(followed)));
    for (auto it = members_.begin(); it != members_.end();) {
      Group& group = it->second;
      StagedCommit staged = it->first == committer ? std::move(pending.staged) : VALUE(group.stage(pending.commit));
      const bool removed = staged.removes_self();
      EXPECT_TRUE(group.merge(std::move(staged)));
      EXPECT_EQ(!removed, group.active());
      it = removed ? members_.erase(it) : std::next(it);
    }
  }

  /// A group that came to be elsewhere is one of us from now on.
  void adopt(const std::string& name, Group group, const KeyPackageBundle& bundle) {
    members_.insert_or_assign(name, std::move(group));
    signature_keys_[name] = bundle.signature_private_key.clone();
  }

  /// A commit that ends the group: nobody is active afterwards.
  void deliver_ending(const std::string& committer, PendingCommit& pending) {
    for (auto& [name, group] : members_) {
      StagedCommit staged = name == committer ? std::move(pending.staged) : VALUE(group.stage(pending.commit));
      EXPECT_TRUE(group.merge(std::move(staged)));
    }
  }

  void expect_agreement() {
    const Group& first = members_.begin()->second;
    EXPECT_EQ(members_.size(), first.members().size());
    for (auto& [name, group] : members_) {
      EXPECT_EQ(first.epoch(), group.epoch());
      EXPECT_EQ(first.context(), group.context()) << name;
      EXPECT_TRUE(equal(first.epoch_authenticator(), group.epoch_authenticator())) << name;
      EXPECT_EQ(first.export_secret("test", as_bytes("context"), 32), group.export_secret("test", as_bytes("context"), 32));
      EXPECT_EQ(name, as_text(group.tree().leaf(group.own_leaf())->credential.identity));
    }
    EXPECT_EQ(first.context(), follower_->context());
    EXPECT_EQ(first.tree().serialise(), follower_->tree().serialise());
  }

 private:
  CipherSuite suite_;
  SeededRandom random_;
  std::map<std::string, Group> members_;
  std::map<std::string, SecretBytes> signature_keys_;
  std::optional<PublicGroup> follower_;
};

/// a, b and c, of whom a and b have committed.
class ThreeMembers : public ::testing::Test {
 protected:
  ThreeMembers() {
    world.create("a");
    world.commit("a", {"b", "c"}, {});
    world.commit("b", {}, {});
  }
  Group& a() { return world.at("a"); }
  Group& b() { return world.at("b"); }
  const SuiteParameters& suite() { return a().tree().suite(); }
  static PublicMessage open(const Bytes& message) { return VALUE(MLSMessage::decode_as<PublicMessage>(message)); }

  World world;
};

} // namespace satsuma::mls
