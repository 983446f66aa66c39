// Which secrets are in memory, and from when on they are not: the moments of docs/mls.md. A program of its own, since it takes over the heap.
#include "../base/heap_arena.h"

#include <gtest/gtest.h>

#include <bitset>
#include <set>
#include <string>

#include "hostile_member.h"
#include "world.h"

namespace satsuma::mls {
namespace {

using heap::arena;
using internal::GroupState;
using internal::HostileMember;

/// While it lives, what is asked for does not come from the arena: what the test itself knows is not to be found.
class Aside {
 public:
  Aside() { arena.on = false; }
  ~Aside() { arena.on = was_; }
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;

 private:
  bool was_ = arena.on;
};

/// Remembers what it gave.
class RecordedRandom : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    const Aside aside;
    inner_.fill(out);
    if (out.size() >= 32) drawn.emplace_back(out.begin(), out.end());
  }
  std::vector<Bytes> drawn; ///< since the last look

 private:
  SeededRandom inner_{5};
};

/// A good part of a secret counts as well: its beginning and its end.
constexpr std::size_t part = 12;
Bytes beginning(ByteView secret) { return to_bytes(secret.first(part)); }
Bytes ending(ByteView secret) { return to_bytes(secret.last(part)); }

/// Those of the parts that are in memory, found in one pass.
std::set<Bytes> parts_in_memory(const std::set<Bytes>& parts) {
  std::bitset<65536> begins; // with these two bytes
  for (const Bytes& bytes : parts) begins.set(static_cast<std::size_t>(bytes[0] << 8 | bytes[1]));
  const ByteView memory(arena.bytes, arena.used);
  std::set<Bytes> found;
  for (std::size_t i = 0; i + part <= memory.size(); ++i) {
    if (!begins[static_cast<std::size_t>(memory[i] << 8 | memory[i + 1])]) continue;
    const Bytes here = to_bytes(memory.subspan(i, part));
    if (parts.contains(here)) found.insert(here);
  }
  return found;
}

class Memory : public testing::TestWithParam<int> {
 protected:
  using Named = std::map<Bytes, std::string>;

  explicit Memory() : suite(*find_suite(static_cast<CipherSuite>(GetParam()))) {}

  KeyPackageBundle person(const char* name) {
    const crypto::SignatureKeyPair keys = VALUE(generate_signature_keys(suite.id, random));
    KeyPackageParams params;
    params.suite = suite.id;
    params.credential = Credential::basic(as_bytes(name));
    return VALUE(generate_key_package(params, keys, random));
  }
  GroupLimits limits() {
    GroupLimits out;
    out.max_past_epochs = past_epochs;
    out.max_past_resumption_psks = 1;
    out.additions.further_secret = "a label of the caller's";
    return out;
  }
  GroupParams group_params() {
    GroupParams params;
    params.group_id = to_bytes(as_bytes("group"));
    params.limits = limits();
    return params;
  }
  Group enter(const Bytes& welcome, const KeyPackageBundle& bundle, const PskStore* psks = nullptr) {
    JoinParams params;
    params.psks = psks;
    params.limits = limits();
    return VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(welcome)), bundle, params));
  }
  static void merge(Group& group, StagedCommit staged) { SATSUMA_CHECK(group.merge(std::move(staged))); }
  /// `by`'s commit, taken in by `others`.
  void commit(Group& by, const std::vector<Group*>& others, const CommitParams& params = {}) {
    PendingCommit pending = VALUE(by.commit(params, random));
    for (Group* other : others) merge(*other, VALUE(other->stage(pending.commit)));
    merge(by, std::move(pending.staged));
  }

  /// What a group has a use for.
  void add_live(const Group& group, Named& out) const {
    const GroupState& s = HostileMember::state(group);
    const auto add = [&out](const SecretBytes& secret, const char* name) {
      if (!secret.empty()) out.emplace(to_bytes(secret.view()), name);
    };
    const auto& [sender_data, encryption, exporter, external, confirmation, membership, resumption, authenticator, init, further] = s.secrets;
    add(sender_data, "sender data secret");
    add(encryption, "encryption secret");
    add(exporter, "exporter secret");
    add(external, "external secret");
    add(confirmation, "confirmation key");
    add(membership, "membership key");
    add(resumption, "resumption PSK");
    add(authenticator, "epoch authenticator");
    add(init, "init secret");
    add(further, "further secret");
    add(s.signature_private_key, "signature key");
    for (NodeIndex node{0}; node.value < s.tree.node_width(); ++node.value) {
      const crypto::KemKeyPair* keys = s.private_tree.find(node);
      const bool of_use = keys != nullptr && !s.tree.is_blank(node) && equal(s.tree.public_key(node), keys->public_key);
      if (of_use) add(keys->private_key, "private key of a node");
    }
    for (const auto& [epoch, psk] : s.past_resumption_psks) add(psk, "resumption PSK");
    for (const internal::PastEpoch& past : s.past_epochs) add(past.sender_data_secret, "sender data secret");
    for (const auto& [key, update] : s.pending_updates) {
      add(update.leaf_keys.private_key, "private key of an Update");
      add(update.signature_private_key, "signature key");
    }
  }

  /// Learns all secrets of the epoch that `group` has just entered, and all that lead to them from `before` and what was drawn since.
  void learn(const std::vector<const Group*>& groups, ByteView psk_secret) {
    const Aside aside;
    for (const Group* group : groups) add_live(*group, known_);
    const GroupState& s = HostileMember::state(*groups[0]);
    const Bytes context = codec::encode(s.context);
    std::vector<Bytes> starts = random.drawn;
    starts.push_back(to_bytes(zero_secret(suite).view()));
    bool found = init_secret_.empty();
    for (const Bytes& start : starts) {
      // A path secret, perhaps: what is derived from it, and whether it leads to this epoch.
      Bytes secret = start;
      for (int step = 0; step < 6 && start.size() == suite.hash_size(); ++step) {
        const SecretBytes joiner = derive_joiner_secret(suite, init_secret_, secret, context);
        const EpochSecrets secrets = derive_epoch_secrets(suite, joiner.view(), psk_secret, context);
        if (secrets.init_secret == s.secrets.init_secret) {
          found = true;
          known_.emplace(to_bytes(joiner.view()), "joiner secret");
          known_.emplace(to_bytes(derive_welcome_secret(suite, joiner.view(), psk_secret).view()), "welcome secret");
          encryption_secret_ = to_bytes(secrets.encryption_secret.view());
          if (secret != to_bytes(zero_secret(suite).view())) known_.emplace(secret, "commit secret");
          break;
        }
        known_.emplace(to_bytes(derive_secret(suite, secret, "node").view()), "node secret");
        secret = to_bytes(derive_secret(suite, secret, "path").view());
        known_.emplace(secret, "path secret");
      }
    }
    EXPECT_TRUE(found) << "the way into epoch " << s.context.epoch;
    for (const Bytes& drawn : random.drawn) known_.emplace(drawn, "something drawn at random");
    random.drawn.clear();
    init_secret_ = to_bytes(s.secrets.init_secret.view());
  }
  /// The PSK secret of a commit with this PSK.
  Bytes learn_psk(const PreSharedKeyId& id) {
    const Aside aside;
    std::vector<PskValue> values;
    values.push_back({id, SecretBytes::copy_of(psk_value)});
    std::erase(random.drawn, id.nonce); // no secret
    known_.emplace(psk_value, "PSK");
    return known_.emplace(to_bytes(derive_psk_secret(suite, values).view()), "PSK secret").first->first;
  }
  /// The first epoch, of whose beginning nothing is known but what was drawn.
  void learn_first(const Group& group) {
    init_secret_.clear();
    known_.clear();
    learn({&group}, {});
  }

  /// Of all secrets that there ever were, those that the groups have a use for are in memory, and no others.
  void look(const std::vector<const Group*>& groups, const char* when) {
    const Aside aside;
    if (!recording) return;
    Named live;
    for (const Group* group : groups) add_live(*group, live);
    std::set<Bytes> of_live, parts; // what is drawn for a key of P-521 is that key but for its first bits
    for (const auto& [secret, name] : live) of_live.insert(ending(secret));
    for (const auto& [secret, name] : known_) parts.insert({beginning(secret), ending(secret)});
    const std::set<Bytes> found = parts_in_memory(parts);
    std::size_t seen = 0, gone = 0;
    for (const auto& [secret, name] : known_) {
      const bool there = found.contains(beginning(secret)) || found.contains(ending(secret));
      if (of_live.contains(ending(secret))) {
        EXPECT_TRUE(there) << name << ", " << when;
        ++seen;
      } else {
        EXPECT_FALSE(there) << name << ", " << when;
        ++gone;
      }
    }
    EXPECT_TRUE(groups.empty() || seen > 8) << when;
    EXPECT_GT(gone, 1u) << when;
  }

  /// RFC 9420 s.9: from the encryption secret of the present epoch to the key of one message, all that gives it.
  std::vector<Bytes> way_to_key(LeafCount leaves, LeafIndex leaf, RatchetType type, std::uint32_t generation) const {
    std::vector<Bytes> way{encryption_secret_};
    for (NodeIndex node = tree_math::root(leaves); !tree_math::is_leaf(node);) {
      const bool to_left = tree_math::node_of(leaf) < node;
      node = to_left ? tree_math::left(node) : tree_math::right(node);
      way.push_back(to_bytes(expand_with_label(suite, way.back(), "tree", as_bytes(to_left ? "left" : "right"), suite.hash_size()).view()));
    }
    way.push_back(to_bytes(expand_with_label(suite, way.back(), type == RatchetType::handshake ? "handshake" : "application", {}, suite.hash_size()).view()));
    for (std::uint32_t i = 0; i < generation; ++i) way.push_back(to_bytes(derive_tree_secret(suite, way.back(), "secret", i, suite.hash_size()).view()));
    const Bytes secret = way.back();
    way.push_back(to_bytes(derive_tree_secret(suite, secret, "key", generation, crypto::aead_key_size(suite.aead)).view()));
    return way;
  }
  /// Whether someone who has the whole memory and knows the protocol can read a message of the present epoch.
  bool can_read(const Group& group, LeafIndex from, RatchetType type, std::uint32_t generation) const {
    const Aside aside;
    std::set<Bytes> parts;
    for (const Bytes& secret : way_to_key(group.tree().leaf_count(), from, type, generation)) parts.insert({beginning(secret), ending(secret)});
    return !parts_in_memory(parts).empty();
  }
  void expect_readable(bool readable, const Group& group, LeafIndex from, std::uint32_t generation, const char* when) {
    const Aside aside;
    if (!recording) return;
    EXPECT_EQ(readable, can_read(group, from, RatchetType::application, generation)) << "generation " << generation << ", " << when;
  }

  /// What OpenSSL keeps for good is fetched by a first life that nobody looks at.
  template <class Life>
  void live_twice(Life life) {
    life();
    random = RecordedRandom();
    recording = true;
    {
      const heap::Recording record;
      life();
    }
  }

  const SuiteParameters& suite;
  const Bytes psk_value = Bytes(32, 0x77);
  RecordedRandom random;
  bool recording = false;
  std::size_t past_epochs = 0;
  Named known_;
  Bytes init_secret_;
  Bytes encryption_secret_;
};
INSTANTIATE_TEST_SUITE_P(Suites, Memory, testing::Values(1, 2, 3, 5));

TEST_P(Memory, HoldsNoSecretOfAnEpochThatIsOverNorWhatLedIntoOne) {
  const Bytes no_psk(suite.hash_size());
  live_twice([&] {
    {
      Group a = VALUE(Group::create(group_params(), person("a"), random));
      learn_first(a);
      look({&a}, "founded");

      std::optional<Group> b, c;
      {
        const KeyPackageBundle bundle = person("b");
        CommitParams add;
        add.add.push_back(bundle.key_package);
        PendingCommit pending = VALUE(a.commit(add, random));
        b.emplace(enter(*pending.welcome, bundle));
        merge(a, std::move(pending.staged));
      } // the key package and its init key go
      learn({&a, &*b}, no_psk);
      look({&a, &*b}, "one joined");

      commit(*b, {&a});
      learn({&a, &*b}, no_psk);
      look({&a, &*b}, "the other committed");

      { (void)VALUE(a.commit({}, random)); }
      look({&a, &*b}, "a pending commit was dropped");
      {
        const PendingCommit unwanted = VALUE(a.commit({}, random));
        (void)VALUE(b->stage(unwanted.commit));
      }
      look({&a, &*b}, "a staged commit was dropped");

      // A PSK: the application's own copy is elsewhere.
      const std::optional<PskStore> psks = [this] {
        const Aside aside;
        PskStore store;
        store.add_external(as_bytes("id"), psk_value);
        return std::optional<PskStore>(std::move(store));
      }();
      std::optional<Bytes> psk_secret;
      {
        const KeyPackageBundle bundle = person("c");
        CommitParams add;
        add.add.push_back(bundle.key_package);
        add.psk_store = &*psks;
        PreSharedKeyId id;
        id.external_id = to_bytes(as_bytes("id"));
        add.psks = {id};
        PendingCommit pending = VALUE(a.commit(add, random));
        c.emplace(enter(*pending.welcome, bundle, &*psks));
        merge(*b, VALUE(b->stage(pending.commit, &*psks)));
        psk_secret = learn_psk(pending.staged.effects().psks.at(0));
        merge(a, std::move(pending.staged));
      }
      learn({&a, &*b, &*c}, *psk_secret);
      look({&a, &*b, &*c}, "one joined with a PSK");

      // An Update of c's, committed by b. A second one is forgotten with the epoch.
      const PublicMessage forgotten = VALUE(MLSMessage::decode_as<PublicMessage>(VALUE(c->propose_update({}, false, {}, random))));
      const PublicMessage update = VALUE(MLSMessage::decode_as<PublicMessage>(VALUE(c->propose_update({}, false, {}, random))));
      for (Group* group : {&a, &*b}) {
        for (const PublicMessage& message : {forgotten, update}) SATSUMA_CHECK(group->cache_proposal(VALUE(group->verify(message))));
      }
      CommitParams cached;
      cached.include_cached_proposals = true;
      commit(*b, {&a, &*c}, cached);
      learn({&a, &*b, &*c}, no_psk);
      look({&a, &*b, &*c}, "an Update was committed");

      {
        const crypto::SignatureKeyPair keys = VALUE(generate_signature_keys(suite.id, random));
        CommitParams change;
        change.leaf.signature_keys = &keys;
        commit(a, {&*b, &*c}, change);
      }
      learn({&a, &*b, &*c}, no_psk);
      look({&a, &*b, &*c}, "a signature key was replaced");

      CommitParams remove;
      remove.remove.push_back(c->own_leaf());
      commit(a, {&*b, &*c}, remove);
      learn({&a, &*b}, no_psk);
      look({&a, &*b, &*c}, "one was removed");
      {
        const Aside aside;
        const GroupState& out = HostileMember::state(*c);
        EXPECT_TRUE(out.secrets.init_secret.empty() && out.secrets.membership_key.empty() && out.secrets.exporter_secret.empty());
        EXPECT_EQ(nullptr, out.private_tree.find(tree_math::node_of(out.own_leaf())));
      }
      c.reset();
      a.erase_exporter_secret();
      b->erase_exporter_secret();
      look({&a, &*b}, "the exporter secret was erased");
    }
    look({}, "everybody has left");
  });
}

TEST_P(Memory, HoldsNoKeyOfAMessageThatWasSentAndRead) {
  const Bytes no_psk(suite.hash_size());
  live_twice([&] {
    Group a = VALUE(Group::create(group_params(), person("a"), random));
    learn_first(a);
    const KeyPackageBundle bundle = person("b");
    CommitParams add;
    add.add.push_back(bundle.key_package);
    PendingCommit pending = VALUE(a.commit(add, random));
    Group b = enter(*pending.welcome, bundle);
    merge(a, std::move(pending.staged));
    learn({&a, &b}, no_psk);
    const LeafIndex from = a.own_leaf();
    std::vector<Bytes> messages;
    for (int i = 0; i < 4; ++i) messages.push_back(VALUE(a.protect_application(as_bytes("hello"), {}, random)));
    expect_readable(true, b, from, 0, "sent and not read");
    (void)VALUE(b.unprotect_application(messages[0]));
    (void)VALUE(b.unprotect_application(messages[2]));
    expect_readable(false, b, from, 0, "read");
    expect_readable(true, b, from, 1, "still to come");
    expect_readable(false, b, from, 2, "read");
    expect_readable(true, b, from, 3, "still to come");
    (void)VALUE(b.unprotect_application(messages[1]));
    (void)VALUE(b.unprotect_application(messages[3]));
    for (const std::uint32_t read : {0u, 1u, 2u, 3u}) expect_readable(false, b, from, read, "all are read");
    expect_readable(true, b, from, 4, "not sent yet");

    // Handshake messages have their own ratchet.
    CommitParams sealed;
    sealed.private_message = true;
    const PendingCommit in_private = VALUE(a.commit(sealed, random));
    (void)VALUE(b.unprotect(VALUE(MLSMessage::decode_as<PrivateMessage>(in_private.commit))));
    const Aside aside;
    if (!recording) return;
    EXPECT_FALSE(can_read(b, from, RatchetType::handshake, 0));
    EXPECT_TRUE(can_read(b, from, RatchetType::handshake, 1));
  });
}

TEST_P(Memory, HoldsTheKeysOfPastEpochsAsLongAsTheLimitsSayAndNoLonger) {
  past_epochs = 2;
  const Bytes no_psk(suite.hash_size());
  live_twice([&] {
    Group a = VALUE(Group::create(group_params(), person("a"), random));
    learn_first(a);
    const KeyPackageBundle bundle = person("b");
    CommitParams add;
    add.add.push_back(bundle.key_package);
    PendingCommit pending = VALUE(a.commit(add, random));
    Group b = enter(*pending.welcome, bundle);
    merge(a, std::move(pending.staged));
    learn({&a, &b}, no_psk);
    const LeafIndex from = a.own_leaf();
    const Bytes late = VALUE(a.protect_application(as_bytes("hello"), {}, random));
    commit(b, {&a});
    commit(b, {&a});
    expect_readable(true, b, from, 0, "two epochs later"); // encryption_secret_ is still the one of then
    commit(b, {&a});
    expect_readable(false, b, from, 0, "three epochs later");
    expect_readable(false, b, from, 1, "three epochs later");
  });
}

} // namespace
} // namespace satsuma::mls

int main(int argc, char** argv) {
  if (!satsuma::heap::take_over_openssl_heap()) return 2;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
