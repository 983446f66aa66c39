#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "mls/group/group.h"
#include "mls/tree/public_group.h"
#include "seeded_random.h"

namespace satsuma::mls::testing {

/// Where a sequence takes its decisions from: a seed, or the bytes of a fuzzer (and then it ends with them).
class Choices {
 public:
  explicit Choices(SeededRandom& seeded) : seeded_(&seeded) {}
  explicit Choices(ByteView script) : script_(script) {}

  std::size_t below(std::size_t bound) {
    if (seeded_ != nullptr) return seeded_->below(bound);
    std::size_t value = byte();
    if (bound > 256) value = value << 8 | byte();
    return value % bound;
  }
  bool one_in(std::size_t bound) { return below(bound) == 0; }
  bool over() const { return seeded_ == nullptr && script_.empty(); }
  /// Bytes that nobody has made: the rest of a script up to a length that it says, or noise.
  Bytes junk() {
    if (seeded_ != nullptr) {
      Bytes out(seeded_->below(300));
      seeded_->fill(out);
      return out;
    }
    const std::size_t size = std::min<std::size_t>(script_.size(), byte());
    Bytes out = to_bytes(script_.first(std::min(size, script_.size())));
    script_ = script_.subspan(out.size());
    return out;
  }

 private:
  std::uint8_t byte() {
    if (script_.empty()) return 0;
    const std::uint8_t value = script_[0];
    script_ = script_.subspan(1);
    return value;
  }
  SeededRandom* seeded_ = nullptr;
  ByteView script_;
};

struct SequenceLimits {
  std::size_t members = 300;
  /// Members whose state is kept; the others are in the tree and say nothing, so that a large group costs little.
  std::size_t live = 10;
};

/// A group through whatever its members, the network and restarts may do to it. After each step all who are live agree, and what was refused
/// has changed nothing. A violation ends the process; the same choices give the same run.
class GroupSequence {
 public:
  GroupSequence(Choices choices, CipherSuite suite, SequenceLimits limits, std::uint64_t seed)
      : choices_(choices), random_(seed), suite_(suite), limits_(limits) {
    psks_.add_external(as_bytes("shared"), as_bytes("a secret that all of them know"));
    GroupParams params;
    params.group_id = to_bytes(as_bytes("sequence"));
    params.padding = 32;
    const KeyPackageBundle first = new_person();
    live_.push_back({value(Group::create(params, first, random_)), {}});
    follow_anew();
  }

  void run(std::size_t steps) {
    for (std::size_t i = 0; i < steps && !choices_.over(); ++i) step();
  }

  void step() {
    ++steps_;
    switch (choices_.below(18)) {
      case 0: case 1: case 2: case 3: commit(); break;
      case 4: rival_commits(); break;
      case 5: propose(); break;
      case 6: case 7: case 8: talk(); break;
      case 9: case 10: restart(pick()); break;
      case 11: restart_with_pending_commit(); break;
      case 12: case 13: hostile_bytes(); break;
      case 14: forget_somebody(); break;
      case 15: deliver_late(); break;
      case 16: propose_update(); break;
      case 17: join_externally(); break;
    }
  }

  std::size_t commits() const { return commits_; }
  std::size_t messages() const { return messages_; }
  std::size_t refused() const { return refused_; }
  std::size_t restarts() const { return restarts_; }
  std::size_t largest() const { return largest_; }
  std::size_t updates() const { return updates_; }
  std::size_t external_joins() const { return external_joins_; }

 private:
  struct Live {
    Group group;
    std::vector<Bytes> late; ///< messages of others, not delivered yet
  };

  template <class T>
  static T value(Result<T> result) {
    SATSUMA_CHECK(result.has_value());
    return std::move(*result);
  }
  static void done(const Result<void>& result) { SATSUMA_CHECK(result.has_value()); }

  KeyPackageBundle new_person() {
    KeyPackageParams params;
    params.suite = suite_;
    params.credential = Credential::basic(as_bytes("p" + std::to_string(next_name_++)));
    return value(generate_key_package(params, value(generate_signature_keys(suite_, random_)), random_));
  }

  Live& pick() { return live_[choices_.below(live_.size())]; }

  void follow_anew() { follower_.emplace(value(PublicGroup::from_group_info(value(MLSMessage::decode_as<GroupInfo>(value(live_[0].group.group_info())))))); }

  static Bytes stored(Group& group) { return to_bytes(value(group.store()).view()); }

  void restart(Live& member) {
    const Bytes before = stored(member.group);
    member.group = value(Group::load(before));
    SATSUMA_CHECK(stored(member.group) == before);
    follower_ = value(PublicGroup::deserialise(follower_->serialise()));
    ++restarts_;
  }

  // --- Commits

  struct Made {
    PendingCommit pending;
    std::vector<KeyPackageBundle> joining;
  };

  Made make_commit(Live& committer) {
    CommitParams params;
    params.psk_store = &psks_;
    params.private_message = choices_.one_in(8);
    params.force_path = !choices_.one_in(3);
    params.ratchet_tree_in_welcome = !choices_.one_in(4);
    params.include_cached_proposals = choices_.one_in(2);
    params.authenticated_data = Bytes(choices_.below(3), 7);
    std::vector<KeyPackageBundle> joining;
    const std::vector<LeafIndex> members = committer.group.tree().members();
    if (!params.include_cached_proposals) { // what is cached may be about the same leaf
      std::vector<LeafIndex> others = members;
      std::erase(others, committer.group.own_leaf());
      for (std::size_t n = choices_.one_in(3) ? 1 + choices_.below(3) : 0; n > 0 && !others.empty(); --n) {
        const std::size_t chosen = choices_.below(others.size());
        params.remove.push_back(others[chosen]);
        others.erase(others.begin() + static_cast<std::ptrdiff_t>(chosen));
      }
    }
    const std::size_t most = members.size() < limits_.members ? limits_.members - members.size() : 0;
    // Mostly one or two; in a while many at once.
    const std::size_t wanted = choices_.one_in(12) ? choices_.below(40) : choices_.below(3);
    for (std::size_t n = std::min(most, wanted); n > 0; --n) {
      joining.push_back(new_person());
      params.add.push_back(joining.back().key_package);
    }
    if (choices_.one_in(6)) {
      PreSharedKeyId id;
      id.external_id = to_bytes(as_bytes("shared"));
      params.psks.push_back(std::move(id));
    }
    auto pending = committer.group.commit(params, random_);
    if (!pending && params.include_cached_proposals) { // the cached ones contradict each other: without them
      params.include_cached_proposals = false;
      pending = committer.group.commit(params, random_);
    }
    return {value(std::move(pending)), std::move(joining)};
  }

  Result<StagedCommit> receive(Group& group, ByteView bytes) {
    SATSUMA_TRY(const MLSMessage message, MLSMessage::decode(bytes));
    if (const auto* open = message.as<PublicMessage>()) {
      SATSUMA_TRY(const VerifiedMessage verified, group.verify(*open));
      return group.stage(verified, &psks_);
    }
    const auto* closed = message.as<PrivateMessage>();
    if (closed == nullptr) return mls_wire_format_unexpected;
    SATSUMA_TRY(const VerifiedMessage verified, group.unprotect(*closed));
    return group.stage(verified, &psks_);
  }

  void accept(Live& committer, Made made) {
    const MLSMessage message = value(MLSMessage::decode(made.pending.commit));
    const auto* open = message.as<PublicMessage>();
    if (open != nullptr) {
      StagedPublicCommit followed = value(follower_->verify(*open));
      done(follower_->apply(std::move(followed)));
    }
    std::vector<bool> leaves(live_.size());
    for (std::size_t i = 0; i < live_.size(); ++i) {
      Group& group = live_[i].group;
      StagedCommit staged = &live_[i] == &committer ? std::move(made.pending.staged) : value(receive(group, made.pending.commit));
      leaves[i] = staged.removes_self();
      done(group.merge(std::move(staged)));
      SATSUMA_CHECK(group.active() != leaves[i]);
    }
    for (std::size_t i = live_.size(); i-- > 0;) {
      if (leaves[i]) live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    const Bytes tree = live_[0].group.tree().serialise();
    JoinParams join;
    join.psks = &psks_;
    join.ratchet_tree = tree;
    join.padding = 32;
    if (!made.joining.empty()) {
      const Welcome welcome = value(MLSMessage::decode_as<Welcome>(*made.pending.welcome));
      for (std::size_t i = 0; i < made.joining.size(); ++i) {
        if (live_.size() >= limits_.live && !(i == 0 && live_.size() < 2 * limits_.live)) break; // the others stay silent
        const KeyPackageBundle bundle = value(KeyPackageBundle::load(made.joining[i].store().view()));
        live_.push_back({value(Group::join(welcome, bundle, join)), {}});
      }
    }
    if (open == nullptr) follow_anew();
    ++commits_;
    while (live_.size() > limits_.live) live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(choices_.below(live_.size())));
    expect_agreement();
  }

  void commit() {
    Live& committer = pick();
    accept(committer, make_commit(committer));
  }

  void rival_commits() {
    Live& first = pick();
    Live& second = pick();
    Made winner = make_commit(first);
    if (&first != &second) (void)make_commit(second); // lost, and dropped
    accept(first, std::move(winner));
  }

  void restart_with_pending_commit() {
    Live& committer = pick();
    Made made = make_commit(committer);
    const SecretBytes pending = made.pending.store();
    restart(committer);
    made.pending = value(PendingCommit::load(pending.view()));
    SATSUMA_CHECK(made.pending.store() == pending);
    accept(committer, std::move(made));
  }

  /// Somebody comes in unasked, in place of somebody else in a while.
  void join_externally() {
    const Live& host = pick();
    const std::size_t members = host.group.tree().member_count();
    const KeyPackageBundle self = new_person();
    const GroupInfo info = value(MLSMessage::decode_as<GroupInfo>(value(host.group.group_info(true, true))));
    if (members >= limits_.members) return;
    ExternalJoinParams params;
    params.padding = 32;
    params.psk_store = &psks_;
    if (choices_.one_in(4)) {
      PreSharedKeyId id;
      id.external_id = to_bytes(as_bytes("shared"));
      params.psks.push_back(std::move(id));
    }
    ExternalJoin join = value(Group::join_external(info, self, params, random_));
    const PublicMessage message = value(MLSMessage::decode_as<PublicMessage>(join.commit()));
    StagedPublicCommit followed = value(follower_->verify(message));
    done(follower_->apply(std::move(followed)));
    for (Live& member : live_) done(member.group.merge(value(receive(member.group, join.commit()))));
    live_.push_back({std::move(join).merge(), {}});
    ++commits_;
    ++external_joins_;
    while (live_.size() > limits_.live) live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(choices_.below(live_.size())));
    expect_agreement();
  }

  // --- Proposals

  void propose() {
    Live& proposer = pick();
    std::optional<Proposal> proposal;
    const std::vector<LeafIndex> members = proposer.group.tree().members();
    switch (choices_.below(3)) {
      case 0: {
        if (members.size() >= limits_.members) return;
        proposal = Proposal{Add{new_person().key_package}}; // its bearer stays silent
        break;
      }
      case 1: {
        const LeafIndex removed = members[choices_.below(members.size())];
        if (is_live(removed)) return;
        proposal = Proposal{Remove{removed}};
        break;
      }
      case 2: {
        PreSharedKeyId id;
        id.external_id = to_bytes(as_bytes("shared"));
        id.nonce.resize(proposer.group.tree().suite().hash_size());
        random_.fill(id.nonce);
        proposal = Proposal{PreSharedKey{std::move(id)}};
        break;
      }
    }
    hear(proposer, value(proposer.group.propose(*proposal, false, {}, random_)));
  }

  void propose_update() {
    Live& proposer = pick();
    LeafChanges changes;
    std::optional<crypto::SignatureKeyPair> keys;
    if (choices_.one_in(3)) {
      keys.emplace(value(generate_signature_keys(suite_, random_)));
      changes.signature_keys = &*keys;
    }
    hear(proposer, value(proposer.group.propose_update(changes, false, {}, random_)));
    ++updates_;
  }

  void hear(Live& proposer, const Bytes& bytes) {
    const PublicMessage message = value(MLSMessage::decode_as<PublicMessage>(bytes));
    done(follower_->handle_proposal(message));
    for (Live& other : live_) {
      if (&other != &proposer) done(other.group.cache_proposal(value(other.group.verify(message))));
    }
  }

  bool is_live(LeafIndex leaf) const {
    return std::ranges::any_of(live_, [leaf](const Live& member) { return member.group.own_leaf() == leaf; });
  }

  // --- Messages

  void talk() {
    Live& sender = pick();
    if (sender.group.cached_proposals() > 0) {
      SATSUMA_CHECK(!sender.group.protect_application(as_bytes("too early"), {}, random_).has_value());
      return;
    }
    const std::string text = "message " + std::to_string(messages_++);
    const Bytes message = value(sender.group.protect_application(as_bytes(text), {}, random_));
    for (Live& other : live_) {
      if (&other == &sender) continue;
      if (choices_.one_in(4)) {
        if (other.late.size() < 16) other.late.push_back(message);
        continue;
      }
      const ReceivedApplication received = value(other.group.unprotect_application(message));
      SATSUMA_CHECK(as_text(received.plaintext.view()) == text);
      SATSUMA_CHECK(received.sender == sender.group.own_leaf());
      SATSUMA_CHECK(!other.group.unprotect_application(message).has_value()); // once
    }
  }

  void deliver_late() {
    Live& member = pick();
    while (!member.late.empty()) {
      const std::size_t chosen = choices_.below(member.late.size());
      const Bytes message = member.late[chosen];
      member.late.erase(member.late.begin() + static_cast<std::ptrdiff_t>(chosen));
      const Epoch epoch = value(MLSMessage::decode_as<PrivateMessage>(message)).epoch;
      const bool readable = epoch + GroupLimits().max_past_epochs >= member.group.epoch();
      SATSUMA_CHECK(member.group.unprotect_application(message).has_value() == readable);
    }
  }

  // --- What must be refused

  void hostile_bytes() {
    Live& victim = pick();
    Live& sender = pick();
    if (&victim == &sender) return;
    Bytes bytes;
    bool application = false;
    switch (choices_.below(4)) {
      case 0: bytes = choices_.junk(); break;
      case 1: bytes = std::move(make_commit(sender).pending.commit); break;
      case 2:
        if (sender.group.cached_proposals() > 0) return;
        bytes = value(sender.group.protect_application(as_bytes("x"), as_bytes("seen by all"), random_));
        application = true;
        break;
      case 3: bytes = value(sender.group.group_info(choices_.one_in(4))); break;
    }
    const Bytes real = bytes;
    if (!bytes.empty()) {
      if (choices_.one_in(2)) {
        bytes[choices_.below(bytes.size())] ^= static_cast<std::uint8_t>(1u << choices_.below(8));
      } else {
        bytes.resize(choices_.below(bytes.size()));
      }
    }
    // A PrivateMessage that does not open may leave its key derived, which the first attempt does.
    const auto attempt = [&] {
      SATSUMA_CHECK(!receive(victim.group, bytes).has_value());
      SATSUMA_CHECK(!victim.group.unprotect_application(bytes).has_value());
      const auto message = MLSMessage::decode(bytes);
      if (message && message->as<PublicMessage>() != nullptr) (void)follower_->verify(*message->as<PublicMessage>()); // cannot see the two tags
      if (message && message->as<GroupInfo>() != nullptr) SATSUMA_CHECK(!PublicGroup::from_group_info(*message->as<GroupInfo>()).has_value());
    };
    const Bytes follower = follower_->serialise();
    attempt();
    const Bytes state = stored(victim.group);
    attempt();
    SATSUMA_CHECK(stored(victim.group) == state);
    SATSUMA_CHECK(follower_->serialise() == follower);
    if (application) SATSUMA_CHECK(victim.group.unprotect_application(real).has_value());
    ++refused_;
  }

  void forget_somebody() {
    if (live_.size() > 2) live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(choices_.below(live_.size())));
  }

  void expect_agreement() {
    const Group& first = live_[0].group;
    largest_ = std::max(largest_, first.tree().member_count());
    SATSUMA_CHECK(first.context() == follower_->context());
    SATSUMA_CHECK(equal(first.tree().tree_hash().view(), follower_->tree().tree_hash().view()));
    const SecretBytes exported = first.export_secret("agree", as_bytes("context"), 32);
    for (const Live& member : live_) {
      SATSUMA_CHECK(member.group.context() == first.context());
      SATSUMA_CHECK(equal(member.group.epoch_authenticator(), first.epoch_authenticator()));
      SATSUMA_CHECK(member.group.export_secret("agree", as_bytes("context"), 32) == exported);
      SATSUMA_CHECK(equal(member.group.tree().tree_hash().view(), member.group.context().tree_hash));
    }
  }

  Choices choices_;
  SeededRandom random_;
  CipherSuite suite_;
  SequenceLimits limits_;
  PskStore psks_;
  std::vector<Live> live_;
  std::optional<PublicGroup> follower_;
  std::size_t next_name_ = 0;
  std::size_t steps_ = 0, commits_ = 0, messages_ = 0, refused_ = 0, restarts_ = 0, largest_ = 1, updates_ = 0, external_joins_ = 0;
};

} // namespace satsuma::mls::testing
