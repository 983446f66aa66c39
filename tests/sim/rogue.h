#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "../mls/hostile_member.h"
#include "call/identity.h"
#include "sim/world.h"

namespace satsuma::sim {

/// A member without a session: it has the link, real keys and MLS, follows the log as everybody does, and sends what it likes. It sits on a person of the
/// world, whose own session is never heard. It hears the server at once and is heard after its person's delay, so it is always the first to commit.
class Rogue {
 public:
  /// Uses the world's hooks.
  Rogue(World& world, const std::string& name) : world_(world), person_(world.add(name, 1, false)), random_(4711), bundle_(make_bundle(name)) {
    who_ = incarnation_of(bundle_.key_package.leaf_node.signature_key);
    world.on_up = [this](Person& from, Bytes& frame) { return &from != &person_ || greet(frame); };
    world.on_down = [this](Person& to, Bytes& frame) {
      if (&to == &person_) take(frame);
      return &to != &person_;
    };
    world.reconnect(person_);
    show_life();
  }
  Rogue(const Rogue&) = delete;
  Rogue& operator=(const Rogue&) = delete;
  ~Rogue() {
    alive_ = false;
    world_.on_up = nullptr;
    world_.on_down = nullptr;
  }

  IncarnationId who() const { return who_; }
  Person& person() { return person_; }
  bool in() const { return group_.has_value(); }
  std::uint64_t era() const { return era_; }
  mls::Group& group() { return *group_; }
  /// Of those whom it could let in, in the order of the log.
  const std::vector<std::pair<IncarnationId, Bytes>>& waiting() const { return waiting_; }
  std::uint64_t accepted() const { return accepted_; } ///< commits of its own that came back
  std::uint64_t refused() const { return refused_; }   ///< rejected(67)
  std::vector<signaling::ErrorReason> errors;          ///< that ended its connections
  /// Called after each entry: the place for what it has in mind.
  std::function<void(const signaling::Entry&)> on_entry;

  void send(const signaling::ClientMessage& message) { world_.inject_up(person_, signaling::write_client_message(message)); }

  /// Made after having read the whole log, with the removals that it must contain.
  mls::PendingCommit honest(const std::vector<Bytes>& key_packages = {}) {
    mls::CommitParams params;
    params.authenticated_data = read_so_far();
    params.ratchet_tree_in_welcome = false;
    for (const Bytes& one : key_packages) params.add.push_back(mls::MLSMessage::decode_as<mls::KeyPackage>(one).value());
    for (const IncarnationId& gone : gone_members()) params.remove.push_back(*leaf_of(gone));
    return group_->commit(params, random_).value();
  }
  mls::PendingCommit spoilt(const mls::internal::HostileMember::Spoilt& how) {
    std::vector<mls::Proposal> removals;
    for (const IncarnationId& gone : gone_members()) removals.push_back({mls::Remove{*leaf_of(gone)}});
    return mls::internal::HostileMember::commit(*group_, std::move(removals), read_so_far(), how, random_).value();
  }
  /// The path cannot be read by this member; by whoever shares its ciphertext neither.
  mls::PendingCommit spoilt_for(const IncarnationId& victim) {
    const mls::LeafIndex leaf = *leaf_of(victim);
    return spoilt({.path = [this, leaf](const mls::RatchetTree& tree, std::vector<mls::UpdatePathNode>& nodes) {
      const auto steps = tree.filtered_direct_path(group_->own_leaf());
      for (std::size_t i = 0; i < steps.size(); ++i) {
        const auto recipients = tree.path_recipients(steps[i].copath_child, {});
        for (std::size_t k = 0; k < recipients.size(); ++k) {
          if (mls::tree_math::is_in_subtree(leaf, recipients[k])) nodes[i].encrypted_path_secret[k].ciphertext.back() ^= 1;
        }
      }
    }});
  }
  void send_commit(mls::PendingCommit pending) {
    send(signaling::Commit{era_, group_->epoch(), pending.commit, pending.welcome.value_or(Bytes{})});
    under_way_.push_back(std::move(pending));
  }
  std::optional<mls::LeafIndex> leaf_of(const IncarnationId& who) const {
    for (const mls::Member& member : group_->members()) {
      if (incarnation_of(member.signature_key) == who) return member.leaf;
    }
    return std::nullopt;
  }
  static IncarnationId incarnation_of(ByteView signature_key) { return call::incarnation_of(signature_key); }
  Bytes read_so_far() const { return signaling::write_log_prefix({next_index_, digest_}); }
  RandomSource& random() { return random_; }

 private:
  mls::KeyPackageBundle make_bundle(const std::string& name) {
    SecretBytes secret(call::room_secret_size), seed(call::device_key_size);
    for (std::uint8_t& byte : secret.mutable_view()) byte = 1; // the room's, as World::add has it
    random_.fill(seed.mutable_view());
    constexpr auto suite = mls::CipherSuite::x25519_chacha20poly1305_sha256_ed25519;
    const auto keys = mls::generate_signature_keys(suite, random_).value();
    mls::KeyPackageParams params;
    params.suite = suite;
    params.credential = mls::Credential::basic(call::RoomKeys::derive(World::room_name, secret.view())
                                                   .value()
                                                   .seal_identity(call::DeviceKey::from_seed(seed.view()).value(), name, keys.public_key, random_)
                                                   .value());
    return mls::generate_key_package(params, keys, random_).value();
  }
  std::set<IncarnationId> gone_members() const {
    std::set<IncarnationId> members;
    for (const IncarnationId& gone : gone_) {
      if (leaf_of(gone)) members.insert(gone);
    }
    return members;
  }
  // The session's hello becomes ours, the rest of what it says is not heard.
  bool greet(Bytes& frame) {
    const auto message = signaling::parse_client_message(frame);
    if (!message || !std::holds_alternative<signaling::Hello>(*message)) return false;
    signaling::Hello hello;
    hello.room = World::room_name;
    hello.key_package = bundle_.message();
    hello.cursor = following_ ? next_index_ : 0;
    frame = signaling::write_client_message(std::move(hello));
    return true;
  }
  void show_life() {
    world_.at(world_.now() + 3s, [this] {
      if (!alive_) return;
      if (following_) send(signaling::Ack{next_index_});
      show_life();
    });
  }
  void take(ByteView frame) {
    auto message = signaling::parse_server_message(frame).value();
    if (auto* ready = std::get_if<signaling::Ready>(&message); ready != nullptr && !ready->resumed) {
      digest_ = ready->snapshot.log_digest;
      era_ = ready->snapshot.era;
      gone_.insert(ready->snapshot.gone.begin(), ready->snapshot.gone.end());
      for (const auto& one : ready->snapshot.waiting) waiting_.emplace_back(one.who, one.key_package);
    } else if (auto* part = std::get_if<signaling::TreePart>(&message)) {
      tree_.insert(tree_.end(), part->part.begin(), part->part.end());
    } else if (const auto* entry = std::get_if<signaling::Entry>(&message)) {
      if (following_ && entry->index < next_index_) return;
      following_ = true;
      next_index_ = entry->index + 1;
      digest_ = signaling::next_log_digest(digest_, *entry);
      follow(*entry);
      send(signaling::Ack{next_index_});
      if (on_entry) on_entry(*entry);
    } else if (std::holds_alternative<signaling::Rejected>(message)) {
      ++refused_;
    } else if (const auto* error = std::get_if<signaling::ErrorMessage>(&message)) {
      errors.push_back(error->code);
    }
  }
  void follow(const signaling::Entry& entry) {
    const auto waits_no_more = [this](const IncarnationId& who) { std::erase_if(waiting_, [&](const auto& one) { return one.first == who; }); };
    if (const auto* join = std::get_if<signaling::JoinEntry>(&entry.body)) {
      if (join->who != who_) waiting_.emplace_back(join->who, join->key_package);
    } else if (const auto* gone = std::get_if<signaling::GoneEntry>(&entry.body)) {
      waits_no_more(gone->who);
      gone_.insert(gone->who);
    } else if (const auto* genesis = std::get_if<signaling::GenesisEntry>(&entry.body)) {
      era_ = entry.index;
      waits_no_more(genesis->who);
      group_.reset();
    } else if (const auto* commit = std::get_if<signaling::CommitEntry>(&entry.body)) {
      const auto own = std::ranges::find(under_way_, commit->commit, &mls::PendingCommit::commit);
      if (!group_) {
        const auto welcome = mls::MLSMessage::decode_as<mls::Welcome>(commit->welcome);
        if (welcome && welcome->find(bundle_.key_package.reference(*mls::find_suite(bundle_.key_package.cipher_suite))) != nullptr) {
          mls::JoinParams params;
          params.ratchet_tree = std::exchange(tree_, {});
          group_ = mls::Group::join(*welcome, bundle_, params).value();
          era_ = commit->era;
        }
      } else if (own != under_way_.end()) {
        SATSUMA_CHECK(group_->merge(std::move(own->staged)).has_value());
        ++accepted_;
      } else {
        SATSUMA_CHECK(group_->merge(group_->stage(commit->commit).value()).has_value());
      }
      under_way_.clear();
      if (group_) {
        for (const mls::Member& member : group_->members()) waits_no_more(incarnation_of(member.signature_key));
      }
    }
  }

  World& world_;
  Person& person_;
  Dice random_;
  mls::KeyPackageBundle bundle_;
  IncarnationId who_;
  bool alive_ = true;
  bool following_ = false;
  std::uint64_t next_index_ = 0;
  std::uint64_t era_ = 0;
  signaling::LogDigest digest_{};
  Bytes tree_;
  std::vector<std::pair<IncarnationId, Bytes>> waiting_;
  std::set<IncarnationId> gone_;
  std::optional<mls::Group> group_;
  std::vector<mls::PendingCommit> under_way_;
  std::uint64_t accepted_ = 0;
  std::uint64_t refused_ = 0;
};

} // namespace satsuma::sim
