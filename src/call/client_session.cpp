#include "call/client_session.h"

#include <algorithm>
#include <array>

#include "call/utf8.h"
#include "mls/tree/validation.h"

namespace satsuma::call {

namespace {

constexpr std::string_view exporter_label = "SFrame 1.0 Base Key";
constexpr std::size_t group_id_size = 16;

// Clocks of two devices may differ a lot, and someone may wait long to be let in. It bounds for how long a server can bring an old key
// package into the room again, to show somebody who is not there.
constexpr UnixSeconds lifetime_before = 24 * 3600;
constexpr UnixSeconds lifetime_after = 2 * 24 * 3600;

constexpr auto least_rejoin_delay = std::chrono::milliseconds(250);
constexpr Duration greatest_rejoin_delay = std::chrono::seconds(30);
constexpr auto stable_after = std::chrono::seconds(30); // in the group: then a new trouble is not a repetition of the old one
constexpr std::uint32_t refusals_that_mean_disagreement = 5;

std::unexpected<RejoinReason> broken(RejoinReason reason) { return std::unexpected(reason); }

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

} // namespace

// --- making one ----------------------------------------------------------------------------------------------

ClientSession::ClientSession(SessionConfig config, RoomKeys keys, DeviceKey device, RandomSource& random, SessionOptions options)
    : config_(std::move(config)),
      has_secret_(!config_.secret.empty()),
      room_keys_(std::move(keys)),
      device_(std::move(device)),
      random_(&random),
      options_(options),
      keys_(parameters(config_.suite).frames, options.keys),
      digest_sender_(with_signatures(options.digests, mls::find_suite(parameters(config_.suite).mls)->signature)),
      digest_receiver_(options.digests) {}

Result<ClientSession> ClientSession::create(SessionConfig config, TimePoint now, UnixSeconds unix_now, RandomSource& random,
                                            SessionOptions options) {
  if (!is_valid_name(config.name)) return identity_bad_name;
  SATSUMA_TRY(DeviceKey device, DeviceKey::from_seed(config.device_seed.view()));
  // Who comes without the secret still knocks, under a secret of its own, and waits.
  SecretBytes stand_in(room_secret_size);
  random.fill(stand_in.mutable_view());
  const ByteView secret = config.secret.empty() ? stand_in.view() : config.secret.view();
  SATSUMA_TRY(RoomKeys keys, RoomKeys::derive(config.room, secret));
  ClientSession session(std::move(config), std::move(keys), std::move(device), random, options);
  session.created_ = session.now_ = now;
  session.created_unix_ = unix_now;
  SATSUMA_TRY_VOID(session.begin_incarnation(now));
  return session;
}

Result<void> ClientSession::begin_incarnation(TimePoint now) {
  const mls::CipherSuite suite = parameters(config_.suite).mls;
  SATSUMA_TRY(const auto signature_keys, mls::generate_signature_keys(suite, *random_));
  SATSUMA_TRY(const Bytes identity,
              room_keys_.seal_identity(device_, config_.name, signature_keys.public_key, *random_));
  mls::KeyPackageParams params;
  params.suite = suite;
  params.credential = mls::Credential::basic(identity);
  const UnixSeconds unix_now = unix_time(now);
  params.lifetime = {unix_now - std::min(unix_now, lifetime_before), unix_now + lifetime_after};
  SATSUMA_TRY(bundle_, mls::generate_key_package(params, signature_keys, *random_));
  key_package_ = bundle_->message();
  self_ = incarnation_of(signature_keys.public_key);
  resume_key_ = SecretBytes(16);
  random_->fill(resume_key_.mutable_view());
  committer_.emplace(self_, options_.committer);
  return {};
}

void ClientSession::wipe_incarnation() {
  bundle_.reset();
  key_package_.clear();
  resume_key_ = SecretBytes();
  next_index_.reset();
  head_ = 0;
  joined_at_.reset();
  told_waiting_.reset();
  joins_.clear();
  early_waiting_.clear();
  tree_ = {};
  digests_.clear();
  told_overdue_ = false;
  refresh_since_.reset();
  group_.reset();
  pending_commit_.reset();
  pending_genesis_.reset();
  pending_group_info_.clear();
  refresh_at_.reset();
  removal_due_.reset();
  check_devices_at_.reset();
  stable_at_.reset();
  roster_ = {};
  held_messages_.clear();
  past_rosters_.clear();
  ack_at_.reset();
  keys_.clear();
  digest_sender_.clear();
  digest_receiver_.clear();
  seated_since_.clear();
  committer_.emplace(self_, options_.committer);
}

void ClientSession::rejoin(TimePoint now, RejoinReason reason, std::optional<Reported> reported) {
  if (over_) return;
  const RosterEntry* committer = reported ? roster_.find(reported->committer) : nullptr;
  RejoiningEvent event{reason, {}, committer != nullptr ? committer->profile.name : ""};
  if (connection_ != Connection::down && reason != RejoinReason::gone) {
    if (reported) send(signaling::Report{reported->index});
    else send(signaling::Goodbye{});
  }
  if (stable_at_ && now >= *stable_at_) rejoins_ = 0;
  const std::uint32_t doublings = std::min<std::uint32_t>(rejoins_, 7);
  event.delay = rejoins_ == 0 ? Duration{} : jittered(std::min<Duration>(least_rejoin_delay * (1 << doublings), greatest_rejoin_delay));
  ++rejoins_;
  wipe_incarnation();
  connection_ = Connection::down;
  const Duration delay = event.delay;
  outputs_.emplace_back(std::move(event));
  announce_keys();
  if (!begin_incarnation(now)) {
    fail(0, "Could not make new keys.");
    return;
  }
  outputs_.emplace_back(Reconnect{delay});
}

void ClientSession::fail(std::uint16_t code, std::string_view text) {
  wipe_incarnation();
  connection_ = Connection::down;
  over_ = true;
  outputs_.emplace_back(ErrorEvent{code, std::string(text), true});
  outputs_.emplace_back(Close{});
}

UnixSeconds ClientSession::unix_time(TimePoint now) const {
  return created_unix_ + static_cast<UnixSeconds>(std::chrono::duration_cast<std::chrono::seconds>(now - created_).count());
}

Duration ClientSession::jittered(Duration duration) {
  const auto range = static_cast<std::uint64_t>(duration.count() / 2);
  const auto offset = range == 0 ? 0 : static_cast<Duration::rep>(random_->u64() % range);
  return duration - duration / 4 + Duration(offset);
}

Duration ClientSession::refresh_delay() {
  const auto members = static_cast<Duration::rep>(roster_.entries().size());
  return jittered(std::max(options_.refresh_interval, options_.room_refresh_interval * members));
}

// --- the connection ------------------------------------------------------------------------------------------

void ClientSession::handle_connected(TimePoint now) {
  now_ = now;
  if (over_) return;
  connection_ = Connection::opening;
  early_waiting_.clear();
  tree_ = {};
  signaling::Hello hello;
  hello.room = config_.room;
  hello.key_package = key_package_;
  std::ranges::copy(resume_key_.view(), hello.resume_key.mutable_view().begin());
  hello.cursor = next_index_.value_or(0);
  send(std::move(hello));
}

void ClientSession::handle_disconnected(TimePoint now) {
  now_ = now;
  connection_ = Connection::down;
  ack_at_.reset();
  if (over_) return;
  update_online(now);
  settle(now);
}

void ClientSession::handle_frame(TimePoint now, ByteView frame) {
  now_ = now;
  if (over_ || connection_ == Connection::down) return;
  auto message = signaling::parse_server_message(frame);
  if (!message) {
    rejoin(now, RejoinReason::log_broken);
    return;
  }
  // Before ready there is nothing but those who wait, and error.
  if (connection_ == Connection::opening && !std::holds_alternative<signaling::Ready>(*message) &&
      !std::holds_alternative<signaling::WaitingPart>(*message) && !std::holds_alternative<signaling::ErrorMessage>(*message)) {
    rejoin(now, RejoinReason::log_broken);
    return;
  }
  std::visit(Overloaded{
                 [&](const signaling::Ready& ready) { handle_ready(now, ready); },
                 [&](const signaling::Entry& entry) {
                   const Outcome outcome = handle_entry(now, entry);
                   if (outcome) return;
                   // Of what the delivery service lets through, only what it cannot see into may fail: then its maker is to blame.
                   const auto* commit = std::get_if<signaling::CommitEntry>(&entry.body);
                   const bool unusable = outcome.error() == RejoinReason::cannot_process || outcome.error() == RejoinReason::refused_tree;
                   const bool report = commit != nullptr && commit->who != self_ && unusable;
                   rejoin(now, outcome.error(), report ? std::optional(Reported{entry.index, commit->who}) : std::nullopt);
                 },
                 [&](signaling::WaitingPart& part) {
                   if (connection_ != Connection::opening || early_waiting_.size() + part.waiting.size() > signaling::max_waiting) {
                     return rejoin(now, RejoinReason::log_broken);
                   }
                   std::ranges::move(part.waiting, std::back_inserter(early_waiting_));
                 },
                 [&](signaling::TreePart& part) { handle_tree_part(std::move(part)); },
                 [&](const signaling::Rejected& rejected) { handle_rejected(now, rejected); },
                 [&](signaling::Relayed& relayed) { handle_relayed(now, relayed.sender, std::move(relayed.message)); },
                 [&](const signaling::ErrorMessage& error) { handle_error(now, error); },
                 [&](const signaling::Present& present) {
                   if (roster_.find(present.who) != nullptr) outputs_.emplace_back(PresentEvent{present.who, present.connected});
                 },
             },
             *message);
  settle(now);
}

void ClientSession::handle_ready(TimePoint now, const signaling::Ready& ready) {
  if (connection_ != Connection::opening) return rejoin(now, RejoinReason::log_broken);
  connection_ = Connection::up;
  up_since_ = now;
  // Resuming something that we have no beginning of, or a server that forgot us: there is no way to continue. A beginning
  // that was lost on the way comes again as it was.
  if (ready.resumed != next_index_.has_value()) return rejoin(now, RejoinReason::log_broken);
  head_ = ready.head;
  ack_at_ = now + options_.ack_interval;
  outputs_.emplace_back(ReadyEvent{self_, ready.resumed});
  if (!ready.resumed) {
    committer_.emplace(self_, options_.committer);
    joins_.clear();
    std::vector<Committer::Waiting> waiting;
    const auto take = [&](const signaling::Waiting& other) {
      Join join = examine(other.who, other.key_package);
      waiting.push_back({other.who, join.admissible});
      joins_.insert_or_assign(other.who, std::move(join));
    };
    std::ranges::for_each(early_waiting_, take);
    std::ranges::for_each(ready.snapshot.waiting, take);
    early_waiting_.clear();
    digests_ = {ready.snapshot.log_digest}; // its index comes with our own join
    committer_->handle_snapshot(now, ready.snapshot.members, ready.snapshot.gone, waiting);
  } else {
    send_ack(now);
  }
  update_online(now);
}

void ClientSession::handle_error(TimePoint now, const signaling::ErrorMessage& error) {
  const auto code = static_cast<std::uint16_t>(error.code);
  const auto again = [&](Duration delay) {
    outputs_.emplace_back(ErrorEvent{code, error.text, false});
    connection_ = Connection::down;
    ack_at_.reset();
    update_online(now);
    outputs_.emplace_back(Reconnect{jittered(delay)});
  };
  switch (error.code) {
    case signaling::ErrorReason::gone:
      if (SATSUMA_BUG(stays_after_removal) && group_) return;
      return rejoin(now, RejoinReason::gone);
    case signaling::ErrorReason::not_yours: return rejoin(now, RejoinReason::gone);
    case signaling::ErrorReason::replaced: return fail(code, error.text);
    case signaling::ErrorReason::unsupported_version:
    case signaling::ErrorReason::wrong_suite: return fail(code, error.text);
    case signaling::ErrorReason::malformed:
    case signaling::ErrorReason::too_large:
      // What we resent would be refused again.
      outputs_.emplace_back(ErrorEvent{code, error.text, false});
      return rejoin(now, RejoinReason::log_broken);
    case signaling::ErrorReason::full: return again(std::chrono::seconds(5));
    case signaling::ErrorReason::too_fast:
    case signaling::ErrorReason::unavailable:
    case signaling::ErrorReason::silent: return again(std::chrono::seconds(1));
  }
}

void ClientSession::handle_rejected(TimePoint now, const signaling::Rejected& rejected) {
  using Reason = signaling::Rejected::Reason;
  const bool member = committer_->phase() == Committer::Phase::member;
  const std::uint64_t era = member ? committer_->era() : 0;
  const std::uint64_t epoch = member ? committer_->epoch() : 0;
  if (rejected.era != era || rejected.epoch != epoch) return; // an answer to what the log has decided meanwhile
  // Not the present epoch, or not a member: the log tells what is. The others depend on the bytes and on departures, which
  // are irrevocable, so the same bytes can never be accepted later.
  const bool final_refusal = rejected.reason == Reason::invalid || rejected.reason == Reason::unasked_add || rejected.reason == Reason::unlogged_remove;
  committer_->handle_refused(now, final_refusal);
  if (committer_->refusals() >= refusals_that_mean_disagreement) rejoin(now, RejoinReason::cannot_process);
}

void ClientSession::update_online(TimePoint now) {
  committer_->handle_online(now, connection_ == Connection::up && next_index_ && *next_index_ >= head_);
}

// --- the log -------------------------------------------------------------------------------------------------

ClientSession::Outcome ClientSession::handle_entry(TimePoint now, const signaling::Entry& entry) {
  if (!next_index_) {
    const auto* join = std::get_if<signaling::JoinEntry>(&entry.body);
    if (join == nullptr || join->who != self_) return broken(RejoinReason::log_broken); // the log begins with ourselves
    next_index_ = digests_from_ = entry.index;
  }
  if (entry.index < *next_index_) return {}; // handled before
  if (entry.index > *next_index_) return broken(RejoinReason::log_broken);
  // Somebody with another link was faster; in that group there is no place for us.
  if (const auto* genesis = std::get_if<signaling::GenesisEntry>(&entry.body); genesis != nullptr && !group_) {
    const auto info = mls::MLSMessage::decode_as<mls::GroupInfo>(genesis->group_info);
    if (info && info->group_context.cipher_suite != parameters(config_.suite).mls) {
      fail(static_cast<std::uint16_t>(signaling::ErrorReason::wrong_suite), "This room uses another encryption than the link says. Ask for the whole link.");
      return {};
    }
  }
  const Outcome outcome = std::visit([&](const auto& body) { return handle(now, entry.index, body); }, entry.body);
  if (!outcome || over_) return outcome;
  follow(entry);
  if (committer_->overflowed() || digests_.size() > max_digests) return broken(RejoinReason::log_broken);
  ++*next_index_;
  send_ack(now);
  update_online(now);
  return {};
}

void ClientSession::follow(const signaling::Entry& entry) {
  const signaling::LogDigest digest = signaling::next_log_digest(digests_.back(), entry);
  // Commits of the next epoch have seen the one that led to it.
  if (std::holds_alternative<signaling::GenesisEntry>(entry.body) || std::holds_alternative<signaling::CommitEntry>(entry.body)) {
    digests_.clear();
    digests_from_ = entry.index + 1;
  }
  digests_.push_back(digest);
}

// The pieces of one tree, in order; anything else begins it anew, and what is not whole when the Welcome comes does not count.
void ClientSession::handle_tree_part(signaling::TreePart part) {
  if (group_) return;
  if (tree_.index != part.index || tree_.size != part.size) tree_ = {part.index, part.size, {}};
  if (tree_.part.size() + part.part.size() > tree_.size) return;
  tree_.part.insert(tree_.part.end(), part.part.begin(), part.part.end());
}

ClientSession::Join ClientSession::examine(IncarnationId who, ByteView key_package) const {
  auto parsed = mls::MLSMessage::decode_as<mls::KeyPackage>(key_package);
  if (!parsed) return {};
  const mls::LeafNode& leaf = parsed->leaf_node;
  if (incarnation_of(leaf.signature_key) != who) return {};
  Join join;
  // Cheap checks only: when hundreds knock, only who adds them, and who sees them added, looks at the signatures.
  join.admissible = parsed->cipher_suite == parameters(config_.suite).mls && parsed->leaf_node.lifetime.contains(unix_time(now_)) && has_secret_ &&
                    leaf.credential.type == mls::credential_type::basic && room_keys_.proves_admission(leaf.credential.identity, leaf.signature_key);
  join.key_package = std::move(*parsed);
  return join;
}

bool ClientSession::open_identity(Join& join) const {
  if (join.identity) return true;
  if (!has_secret_) return false;
  const mls::LeafNode& leaf = join.key_package.leaf_node;
  auto opened = open_credential(leaf.credential, leaf.signature_key, room_keys_);
  if (!opened) return false;
  join.identity = std::move(*opened);
  return true;
}

ClientSession::Outcome ClientSession::handle(TimePoint now, std::uint64_t, const signaling::JoinEntry& entry) {
  if (entry.who == self_) {
    if (entry.key_package != key_package_) return broken(RejoinReason::log_broken);
    joined_at_ = now;
    committer_->handle_join(now, self_, has_secret_);
    return {};
  }
  Join join = examine(entry.who, entry.key_package);
  const bool admissible = join.admissible;
  joins_.insert_or_assign(entry.who, std::move(join));
  committer_->handle_join(now, entry.who, admissible);
  return {};
}

ClientSession::Outcome ClientSession::handle(TimePoint now, std::uint64_t, const signaling::GoneEntry& entry) {
  if (entry.who == self_) return broken(RejoinReason::gone);
  joins_.erase(entry.who);
  committer_->handle_gone(now, entry.who);
  const RosterEntry* blamed = entry.cause == signaling::GoneCause::could_not_follow ? roster_.find(entry.committer) : nullptr;
  if (blamed != nullptr) committer_->handle_suspicion(now, entry.committer);
  if (const RosterEntry* member = roster_.find(entry.who)) {
    outputs_.emplace_back(DepartedEvent{entry.who, member->leaf, member->profile.name, entry.cause, blamed != nullptr ? blamed->profile.name : ""});
    if (!removal_due_) removal_due_ = now + options_.removal_deadline;
  }
  return {};
}

ClientSession::Outcome ClientSession::handle(TimePoint now, std::uint64_t index, const signaling::GenesisEntry& entry) {
  // We are not gone, so nobody may begin a new era over our heads.
  if (group_) return broken(RejoinReason::new_era);
  joins_.erase(entry.who);
  if (entry.who != self_) {
    committer_->handle_genesis(now, index, entry.who);
    return {};
  }
  if (!pending_genesis_ || entry.group_info != pending_group_info_) return broken(RejoinReason::cannot_process);
  group_ = std::move(*pending_genesis_);
  pending_genesis_.reset();
  committer_->handle_genesis(now, index, self_);
  return entered_epoch(now, index, std::nullopt);
}

ClientSession::Outcome ClientSession::handle(TimePoint now, std::uint64_t, const signaling::CommitEntry& entry) {
  return group_ ? handle_commit_as_member(now, entry) : handle_commit_while_waiting(now, entry);
}

ClientSession::Outcome ClientSession::handle_commit_as_member(TimePoint now, const signaling::CommitEntry& entry) {
  if (SATSUMA_BUG(merge_at_send) && entry.who == self_ && entry.era == era_ && entry.epoch < group_->epoch()) return {};
  if (entry.era != era_ || entry.epoch != group_->epoch()) return broken(RejoinReason::log_broken);
  if (entry.who == self_) {
    // It must be the one that we hold; of any other made in our name we have no secrets.
    if (!pending_commit_ || pending_commit_->commit != entry.commit) return broken(RejoinReason::cannot_process);
    if (!group_->merge(std::move(pending_commit_->staged))) return broken(RejoinReason::cannot_process);
    pending_commit_.reset();
    refresh_at_ = now + refresh_delay();
    return entered_epoch(now, era_, self_);
  }
  const auto message = mls::MLSMessage::decode_as<mls::PublicMessage>(entry.commit);
  if (!message) return broken(RejoinReason::cannot_process);
  const auto verified = group_->verify(*message);
  if (!verified) return broken(RejoinReason::cannot_process);
  if (const Outcome outcome = check_prefix(*verified); !outcome) return outcome;
  auto staged = group_->stage(*verified);
  if (!staged) return broken(RejoinReason::cannot_process);
  if (staged->removes_self()) return broken(RejoinReason::removed);
  if (const Outcome outcome = check_policy(staged->effects(), entry.who); !outcome) return outcome;
  if (!group_->merge(std::move(*staged))) return broken(RejoinReason::cannot_process);
  return entered_epoch(now, era_, entry.who);
}

// Its maker must have read the same log as we.
ClientSession::Outcome ClientSession::check_prefix(const mls::VerifiedMessage& commit) const {
  const auto seen = signaling::parse_log_prefix(commit.content().authenticated_data);
  if (!seen) return broken(RejoinReason::cannot_process);
  if (seen->index < digests_from_ || seen->index - digests_from_ >= digests_.size()) return broken(RejoinReason::log_differs);
  if (digests_[static_cast<std::size_t>(seen->index - digests_from_)] != seen->digest) return broken(RejoinReason::log_differs);
  return {};
}

// What MLS allows and we do not: everyone decides alike, since it depends on the log and on the commit alone.
ClientSession::Outcome ClientSession::check_policy(const mls::CommitEffects& effects, IncarnationId who) {
  const auto refused = broken(RejoinReason::cannot_process);
  if (!effects.committer || effects.joined_by_external_commit || !effects.all_proposals_by_value) return refused;
  if (effects.extensions_changed || !effects.psks.empty() || effects.reinit || effects.external_init) return refused;
  const RosterEntry* committer = roster_.at_leaf(effects.committer->value);
  if (committer == nullptr || committer->who != who || committer_->is_gone(who)) return refused;
  for (const mls::AddedMember& added : effects.added) {
    const auto asked = joins_.find(incarnation_of(added.key_package.leaf_node.signature_key));
    if (asked == joins_.end() || asked->second.key_package != added.key_package || !open_identity(asked->second)) return refused;
  }
  for (const mls::Member& removed : effects.removed) {
    if (!committer_->is_gone(incarnation_of(removed.signature_key))) return refused;
  }
  for (const mls::ChangedMember& changed : effects.updated) {
    const bool own = changed.leaf == *effects.committer;
    const bool same = changed.before.signature_key == changed.after.signature_key && changed.before.credential == changed.after.credential;
    if (!own || !same) return refused;
  }
  return {};
}

ClientSession::Outcome ClientSession::handle_commit_while_waiting(TimePoint now, const signaling::CommitEntry& entry) {
  if (!entry.welcome.empty() && bundle_) {
    const auto welcome = mls::MLSMessage::decode_as<mls::Welcome>(entry.welcome);
    const mls::SuiteParameters* suite = mls::find_suite(bundle_->key_package.cipher_suite);
    if (welcome && welcome->find(bundle_->key_package.reference(*suite)) != nullptr) {
      // The tree needs no trust: its hash stands in what the committer signed.
      mls::JoinParams params;
      if (!tree_.part.empty() && tree_.index == *next_index_ && tree_.part.size() == tree_.size) params.ratchet_tree = std::move(tree_.part);
      tree_ = {};
      auto group = mls::Group::join(*welcome, *bundle_, params);
      if (!group || group->epoch() != entry.epoch + 1) return broken(RejoinReason::cannot_process);
      group_ = std::move(*group);
      return entered_epoch(now, entry.era, entry.who);
    }
  }
  // Not ours. Only who came in matters; without the tree nothing of it can be verified, and nothing but patience hangs on it.
  std::vector<IncarnationId> adds;
  if (const auto message = mls::MLSMessage::decode_as<mls::PublicMessage>(entry.commit)) {
    if (const auto* commit = std::get_if<mls::Commit>(&message->content.content)) {
      for (const mls::ProposalOrRef& item : commit->proposals) {
        const auto* proposal = std::get_if<mls::Proposal>(&item.value);
        const auto* add = proposal == nullptr ? nullptr : proposal->as<mls::Add>();
        if (add != nullptr) adds.push_back(incarnation_of(add->key_package.leaf_node.signature_key));
      }
    }
  }
  for (const IncarnationId& who : adds) joins_.erase(who);
  committer_->handle_foreign_commit(now, adds);
  return {};
}

// The group stands in a new epoch; everything that follows from that.
ClientSession::Outcome ClientSession::entered_epoch(TimePoint now, std::uint64_t era, std::optional<IncarnationId> committer) {
  const bool entering = bundle_.has_value();
  const auto members = group_->members();
  std::map<IncarnationId, OpenedIdentity> opened;
  for (const auto& [who, join] : joins_) {
    if (join.identity) opened.emplace(who, *join.identity);
  }
  auto roster = Roster::read(members, room_keys_, roster_, opened);
  if (!roster) return broken(RejoinReason::refused_tree);
  const RosterEntry* self = roster->at_leaf(group_->own_leaf().value);
  if (self == nullptr || self->who != self_) return broken(RejoinReason::refused_tree);
  if (committer && roster->find(*committer) == nullptr) return broken(RejoinReason::refused_tree);

  const Roster before = std::move(roster_);
  roster_ = std::move(*roster);
  check_devices_at_ = roster_.pending() > options_.devices_at_once ? std::optional(check_devices_at_.value_or(now + options_.device_check_delay)) : std::nullopt;
  if (!check_devices_at_) (void)roster_.check_devices(room_keys_, options_.devices_at_once); // the event below says it
  if (!entering) {
    past_rosters_.emplace_back(group_->epoch() - 1, before);
    if (past_rosters_.size() > mls::GroupLimits().max_past_epochs) past_rosters_.pop_front();
  }
  era_ = era;
  std::vector<std::string> left = before.names_not_in(roster_);
  std::vector<std::string> joined = entering ? std::vector<std::string>{} : roster_.names_not_in(before);
  for (const RosterEntry& member : roster_.entries()) joins_.erase(member.who);

  const std::size_t exporter_size = crypto::hash_size(sframe::parameters(parameters(config_.suite).frames).hash);
  EpochKeys::Epoch epoch{era, group_->epoch(), self->leaf, {}, group_->export_secret(exporter_label, {}, exporter_size)};
  group_->erase_exporter_secret();
  for (const RosterEntry& member : roster_.entries()) epoch.leaves.push_back(member.leaf);
  keys_.enter(now, std::move(epoch), !left.empty());
  // Whoever sat there before, what was received of him is no matter of the new one.
  for (const RosterEntry& member : before.entries()) {
    const RosterEntry* now_there = roster_.at_leaf(member.leaf);
    if (now_there != nullptr && now_there->who == member.who) continue;
    digest_receiver_.forget(member.leaf);
    seated_since_.erase(member.leaf);
  }
  for (const RosterEntry& member : roster_.entries()) seated_since_.try_emplace(member.leaf, group_->epoch());
  digest_sender_.set_members(roster_.entries().size());
  digest_receiver_.set_own_leaf(self->leaf);
  // A commit that left somebody out who is gone was made before it was known, and starts the time anew.
  const bool someone_is_gone = std::ranges::any_of(roster_.entries(), [&](const RosterEntry& member) { return committer_->is_gone(member.who); });
  removal_due_ = someone_is_gone ? std::optional(now + options_.removal_deadline) : std::nullopt;

  refresh_since_.reset();
  if (std::exchange(told_overdue_, false)) outputs_.emplace_back(OverdueEvent{false});

  // A genesis was reported by its own call.
  if (committer) committer_->handle_epoch(now, era, group_->epoch(), *committer, roster_.members());

  EpochEvent event;
  event.era = era;
  event.epoch = group_->epoch();
  event.self = self->leaf;
  event.roster = roster_.entries();
  event.safety_number = safety_number(group_->epoch_authenticator());
  event.previous = last_digits_;
  event.kind = entering ? (last_era_ && *last_era_ != era ? ChangeKind::new_era : ChangeKind::entered)
                        : (joined.empty() && left.empty() ? ChangeKind::refreshed : ChangeKind::changed);
  event.joined = std::move(joined);
  event.left = std::move(left);
  if (!entering && committer) event.committer = roster_.find(*committer)->leaf;
  if (const auto designated = committer_->designated()) event.designated = designated->leaf;
  last_digits_ = event.safety_number.digits;
  last_era_ = era;
  outputs_.emplace_back(std::move(event));
  told_sending_ = keys_.sending();
  outputs_.emplace_back(KeysEvent{told_sending_});

  if (entering) {
    // The init key opened its one Welcome, and the leaf's key lives on inside the group.
    bundle_.reset();
    refresh_at_ = now + refresh_delay();
    stable_at_ = now + stable_after;
  }

  auto held = std::exchange(held_messages_, {});
  for (auto& [sender, message] : held) handle_relayed(now, sender, std::move(message));
  return {};
}

// --- the committer's wishes ----------------------------------------------------------------------------------

void ClientSession::run_committer(TimePoint now) {
  while (auto output = committer_->poll_output()) {
    std::visit(Overloaded{
                   [&](const MakeCommit& request) { prepare_commit(now, request); },
                   [&](const MakeGenesis&) { prepare_genesis(now); },
                   [&](SendPrepared& prepared) { outputs_.emplace_back(SendBinary{std::move(prepared.frame)}); },
                   [&](const DropPrepared&) {
                     pending_commit_.reset();
                     pending_genesis_.reset();
                     pending_group_info_.clear();
                   },
               },
               *output);
  }
}

void ClientSession::prepare_commit(TimePoint now, const MakeCommit& request) {
  mls::CommitParams params;
  params.force_path = true; // each commit renews the committer's own leaf
  params.ratchet_tree_in_welcome = tree_in_welcome_ || SATSUMA_BUG(welcome_before_acceptance);
  params.authenticated_data = signaling::write_log_prefix({digests_from_ + digests_.size() - 1, digests_.back()});
  std::vector<IncarnationId> inadmissible;
  for (const IncarnationId& who : request.adds) {
    const auto join = joins_.find(who);
    SATSUMA_CHECK(join != joins_.end());
    const bool opens = open_identity(join->second);
    // Nobody honest adds a device that is not what it says. A member that does cannot hide it: everybody checks, and shows it.
    if (opens && join->second.identity->profile.proof == DeviceProof::pending) {
      room_keys_.check_device(*join->second.identity, join->second.key_package.leaf_node.signature_key);
    }
    if (!opens || join->second.identity->profile.proof != DeviceProof::proven) inadmissible.push_back(who);
    params.add.push_back(join->second.key_package);
  }
  if (!inadmissible.empty()) return committer_->handle_inadmissible(now, inadmissible);
  for (const IncarnationId& who : request.removes) {
    const RosterEntry* member = roster_.find(who);
    SATSUMA_CHECK(member != nullptr);
    params.remove.push_back({member->leaf});
  }
  auto pending = group_->commit(params, *random_);
  const bool fits = pending && pending->commit.size() + (pending->welcome ? pending->welcome->size() : 0) <= signaling::max_handshake_size;
  if (!fits) {
    if (!committer_->handle_prepare_failed(now)) rejoin(now, RejoinReason::cannot_process);
    return;
  }
  signaling::Commit message;
  message.era = request.era;
  message.epoch = request.epoch;
  message.commit = pending->commit;
  if (pending->welcome) message.welcome = *pending->welcome;
  pending_commit_ = std::move(*pending);
#ifdef SATSUMA_BUG_SWITCHES
  if (SATSUMA_BUG(merge_at_send)) {
    send(message);
    SATSUMA_CHECK(group_->merge(std::move(pending_commit_->staged)).has_value());
    pending_commit_.reset();
    (void)entered_epoch(now, era_, self_);
    return;
  }
#endif
  committer_->handle_prepared(now, signaling::write_client_message(message));
}

void ClientSession::prepare_genesis(TimePoint now) {
  mls::GroupParams params;
  params.group_id.resize(group_id_size);
  random_->fill(params.group_id);
  auto group = mls::Group::create(params, *bundle_, *random_);
  auto group_info = group ? group->group_info() : Result<Bytes>(group.error());
  if (!group_info) {
    fail(0, "Could not make a group.");
    return;
  }
  pending_genesis_ = std::move(*group);
  pending_group_info_ = std::move(*group_info);
  committer_->handle_prepared(now, signaling::write_client_message(signaling::Genesis{pending_group_info_}));
}

// --- application messages ------------------------------------------------------------------------------------

Result<void> ClientSession::send_application(TimePoint now, std::string_view text, std::vector<IncarnationId> to) {
  now_ = now;
  if (text.size() > max_application_text) return session_message_too_large;
  if (over_ || !group_ || connection_ != Connection::up) return session_not_entered;
  if (removal_is_overdue(now)) return session_removal_overdue;
  SATSUMA_TRY(Bytes message, group_->protect_application(as_bytes(text), {}, *random_));
  if (to.size() > signaling::max_recipients) to.clear();
  send(signaling::Application{std::move(message), std::move(to)});
  return {};
}

void ClientSession::handle_relayed(TimePoint now, IncarnationId sender_told, Bytes message) {
  if (parse_signed_digest(message)) return handle_signed_digest(now, sender_told, std::move(message));
  if (const auto request = parse_digest_request(message)) return handle_digest_request(now, *request);
  const auto parsed = mls::MLSMessage::decode_as<mls::PrivateMessage>(message);
  if (!parsed || (group_ && !equal(parsed->group_id, group_->group_id()))) return;
  // The entry that leads to its epoch is still on the way: entries wait for acknowledgements, messages do not.
  if (!group_ || parsed->epoch > group_->epoch()) {
    if (held_messages_.size() < max_held_messages) held_messages_.emplace_back(sender_told, std::move(message));
    return;
  }
  // Anyone on the way can send garbage; a message that does not open is no reason to leave.
  const auto received = group_->unprotect_application(message);
  if (!received) return;
  const std::string_view text = as_text(received->plaintext.view());
  // A message that a commit overtook names a leaf of its own epoch, where someone else may sit by now.
  const Roster* roster = &roster_;
  for (const auto& [epoch, past] : past_rosters_) {
    if (epoch == parsed->epoch) roster = &past;
  }
  const RosterEntry* sender = roster->at_leaf(received->sender.value);
  if (sender == nullptr || text.size() > max_application_text || !is_utf8(text)) return;
  outputs_.emplace_back(ApplicationEvent{sender->who, sender->leaf, std::string(text)});
}

// Who sent it the server says; the signature, which names group, epoch and leaf, says whether that is so.
void ClientSession::handle_signed_digest(TimePoint now, IncarnationId sender, Bytes message) {
  const SignedDigest digest = *parse_signed_digest(message);
  const auto hold = [&] {
    if (held_messages_.size() < max_held_messages) held_messages_.emplace_back(sender, std::move(message));
  };
  if (!group_) return hold();
  // The nearest one with these low bits: digests are fresh.
  const auto ahead = static_cast<std::int8_t>(static_cast<std::uint8_t>(digest.epoch_mod_256 - group_->epoch()));
  if (ahead > 0) return hold();
  const std::uint64_t epoch = group_->epoch() - static_cast<std::uint64_t>(-ahead);
  // Only of who still sits there: its frames are the ones that are shown.
  const RosterEntry* member = roster_.find(sender);
  if (member == nullptr || member->who == self_ || epoch > group_->epoch()) return;
  const std::uint64_t since = seated_since_.at(member->leaf);
  if (!digest_receiver_.has_news({era_, epoch}, since, member->leaf, digest.body)) return;
  if (now >= checked_since_ + checked_digests_interval) {
    checked_since_ = now;
    checked_digests_.clear();
  }
  CheckedDigests& checked = checked_digests_[member->leaf];
  if (checked.failed >= max_unsigned_digests || checked.held >= max_signed_digests) return;
  const Bytes content = digest_to_sign(group_->group_id(), epoch, member->leaf, digest.body);
  if (!group_->verify_signature({member->leaf}, digest_label, content, digest.signature)) {
    ++checked.failed;
    return;
  }
  ++checked.held;
  (void)digest_receiver_.handle_digest(now, {era_, epoch}, since, member->leaf, digest.body);
}

void ClientSession::handle_digest_request(TimePoint now, const DigestRequest& request) {
  if (!group_) return;
  if (request.stream.leaf != group_->own_leaf().value) return digest_receiver_.handle_request(now, request);
  digest_sender_.handle_request(now, request);
  send_digests(now);
}

// --- time, leaving, polling ----------------------------------------------------------------------------------

void ClientSession::handle_timeout(TimePoint now) {
  now_ = now;
  if (over_) return;
  if (ack_at_ && now >= *ack_at_) send_ack(now);
  if (group_ && refresh_at_ && now >= *refresh_at_) {
    refresh_at_ = now + refresh_delay();
    if (!refresh_since_) refresh_since_ = now;
    committer_->request_refresh(now);
  }
  keys_.handle_timeout(now);
  digest_receiver_.handle_timeout(now);
  send_digests(now);
  if (removal_is_overdue(now)) keys_.stop_sending();
  check_devices(now);
  committer_->handle_timeout(now);
  settle(now);
}

void ClientSession::check_devices(TimePoint now) {
  if (!check_devices_at_ || now < *check_devices_at_) return;
  outputs_.emplace_back(DevicesEvent{roster_.check_devices(room_keys_, options_.devices_in_a_slice)});
  check_devices_at_ = roster_.pending() > 0 ? std::optional(now + options_.device_check_interval) : std::nullopt;
}

void ClientSession::leave(TimePoint now) {
  now_ = now;
  if (over_) return;
  if (connection_ != Connection::down) send(signaling::Goodbye{});
  wipe_incarnation();
  connection_ = Connection::down;
  over_ = true;
  outputs_.emplace_back(LeftEvent{});
  outputs_.emplace_back(Close{});
}

void ClientSession::settle(TimePoint now) {
  if (over_) return;
  run_committer(now);
  if (over_) return;
  check_waiting(now);
  check_overdue(now);
  announce_keys();
  announce_judgements();
}

// From the moment at which a commit is needed and the connection is there: who is cut off knows that already.
std::optional<TimePoint> ClientSession::overdue_at() const {
  if (!group_ || told_overdue_ || connection_ != Connection::up) return std::nullopt;
  std::optional<TimePoint> since = committer_->needed_since();
  if (!since || (refresh_since_ && *refresh_since_ < *since)) since = refresh_since_;
  if (!since) return std::nullopt;
  return std::max(*since, up_since_) + options_.overdue_after;
}

void ClientSession::check_overdue(TimePoint now) {
  const auto at = overdue_at();
  if (!at || now < *at) return;
  told_overdue_ = true;
  outputs_.emplace_back(OverdueEvent{true});
}

void ClientSession::check_waiting(TimePoint now) {
  if (group_ || !joined_at_ || connection_ != Connection::up || now < *joined_at_ + options_.waiting_notice) return;
  const WaitingReason reason = !has_secret_                  ? WaitingReason::no_secret
                               : committer_->has_live_member() ? WaitingReason::not_admitted
                                                               : WaitingReason::empty;
  if (told_waiting_ == reason) return;
  told_waiting_ = reason;
  outputs_.emplace_back(WaitingEvent{reason});
}

void ClientSession::announce_keys() {
  if (keys_.sending() == told_sending_) return;
  told_sending_ = keys_.sending();
  outputs_.emplace_back(KeysEvent{told_sending_});
}

std::optional<Bytes> ClientSession::sign_digest(TimePoint now, ByteView body) {
  const auto signature = group_->sign(digest_label, digest_to_sign(group_->group_id(), group_->epoch(), group_->own_leaf().value, body));
  if (!signature) return std::nullopt;
  Bytes message = write_signed_digest(body, *signature);
  digest_sender_.keep(now, {era_, group_->epoch()}, message);
  return message;
}

// Our own, what is said again, and what we ask others for.
void ClientSession::send_digests(TimePoint now) {
  if (!group_ || connection_ != Connection::up) return;
  if (const auto body = digest_sender_.take(now, {era_, group_->epoch()})) {
    if (auto message = sign_digest(now, *body)) send(signaling::Application{std::move(*message)});
  }
  while (auto answer = digest_sender_.take_answer(now)) send(signaling::Application{std::move(*answer)});
  while (const auto request = digest_receiver_.poll_request()) send(signaling::Application{write_digest_request(*request)});
}

void ClientSession::announce_judgements() {
  while (const auto judgement = digest_receiver_.poll_output()) {
    if (const RosterEntry* member = roster_.at_leaf(judgement->leaf)) outputs_.emplace_back(StreamEvent{member->who, *judgement});
  }
}

// --- media frames --------------------------------------------------------------------------------------------

Result<MutableByteView> ClientSession::protect(TimePoint now, StreamContext context, sframe::Shell shell, ByteView frame, MutableByteView out) {
  std::optional<Bytes> digest;
  if (is_sound(context) && group_ && keys_.sending() && frame.size() < max_carrier && out.size() >= max_protected_size(shell, frame.size())) {
    const auto body = digest_sender_.take_for_frame(now, {era_, group_->epoch()}, max_carrier - frame.size() - 1);
    if (body) digest = sign_digest(now, *body);
  }
  if (!digest) return protect_plaintext(now, context, shell, frame, out, 0);
  std::array<std::uint8_t, max_carrier> carrier;
  SpanWriter writer(carrier);
  writer.bytes(frame);
  writer.bytes(*digest);
  SATSUMA_CHECK(digest->size() <= max_carried_digest);
  writer.u8(static_cast<std::uint8_t>(digest->size()));
  const MutableByteView plaintext = MutableByteView(carrier).first(frame.size() + digest->size() + 1);
  // A failure here is a digest that got lost.
  const auto written = protect_plaintext(now, context, shell, plaintext, out, digest->size() + 1);
  wipe(plaintext);
  return written;
}

/// `carried`: so many of its bytes are a digest.
Result<MutableByteView> ClientSession::protect_plaintext(TimePoint now, StreamContext context, sframe::Shell shell, ByteView plaintext, MutableByteView out,
                                                         std::size_t carried) {
  SATSUMA_TRY(const MutableByteView written, keys_.protect(now, context, shell, plaintext, out, carried > 0));
  const EpochKeys::Sent& sent = keys_.last_sent();
  digest_sender_.handle_sent(now, sent.epoch, sent.context, sent.counter, sent.hash, written.size() - carried);
  return written;
}

Result<EpochKeys::Received> ClientSession::unprotect(TimePoint now, Line& line, sframe::ShellKind shell, ByteView frame, MutableByteView out) {
  SATSUMA_TRY(EpochKeys::Received received, keys_.unprotect(now, line, shell, frame, out));
  // A frame of who is gone already has nobody to confirm it.
  const auto since = seated_since_.find(received.leaf);
  const bool seated = since != seated_since_.end() && received.epoch.era == era_ && received.epoch.epoch >= since->second;
  if (seated) digest_receiver_.handle_received(now, received.epoch, received.leaf, received.context, received.counter, received.hash);
  if (received.carries_digest) {
    SATSUMA_TRY(const CarriedDigest carrier, split_carrier(received.plaintext));
    const RosterEntry* member = seated ? roster_.at_leaf(received.leaf) : nullptr;
    if (member != nullptr && parse_signed_digest(carrier.digest)) handle_signed_digest(now, member->who, to_bytes(carrier.digest));
    received.plaintext = carrier.frame;
  }
  if (seated) announce_judgements();
  return received;
}

void ClientSession::send(const signaling::ClientMessage& message) {
  outputs_.emplace_back(SendBinary{signaling::write_client_message(message)});
}

void ClientSession::send_ack(TimePoint now) {
  if (connection_ != Connection::up) return;
  ack_at_ = now + options_.ack_interval;
  if (next_index_) send(signaling::Ack{*next_index_});
}

std::optional<SessionOutput> ClientSession::poll_output() {
  if (outputs_.empty()) return std::nullopt;
  SessionOutput output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

std::optional<TimePoint> ClientSession::next_deadline() const {
  if (over_) return std::nullopt;
  std::optional<TimePoint> next;
  const auto consider = [&](std::optional<TimePoint> at) {
    if (at && (!next || *at < *next)) next = at;
  };
  consider(ack_at_);
  consider(committer_->next_deadline());
  consider(keys_.next_deadline());
  consider(digest_receiver_.next_deadline());
  if (group_ && connection_ == Connection::up) consider(digest_sender_.next_deadline());
  if (keys_.sending()) consider(removal_due_); // after it nothing is sent any more
  consider(check_devices_at_);
  consider(overdue_at());
  if (group_) consider(refresh_at_);
  if (!group_ && joined_at_ && !told_waiting_ && connection_ == Connection::up) consider(*joined_at_ + options_.waiting_notice);
  return next;
}

} // namespace satsuma::call
