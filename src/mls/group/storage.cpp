// Storing and loading what a member holds. The envelope and the trees are in mls/tree/stored.h.
//
// The structured bindings name every member of the structs that are stored: who adds one is told by the compiler to store it too, and
// raises stored_version then. What only some states have can also stand at the end, behind a flag that older readers refuse: that raises nothing.
//
// What is stored may be more than the bounds of who loads it allow, and they may change from one start to the next: the oldest beyond them go, as they do
// in a running group. The counts themselves need no bound, since each takes bytes that must be there.
#include <algorithm>
#include <deque>

#include "mls/group/group.h"
#include "mls/group/group_state.h"
#include "mls/tree/stored.h"

namespace satsuma::mls {

using namespace tree_math;
using internal::GroupState;
using internal::GroupStatePointer;
using internal::PastEpoch;

namespace {

/// A ByteWriter whose memory is wiped when it grows and when it goes.
class SecretWriter {
 public:
  void u8(std::uint8_t value) { append_integer(value, 1); }
  void u32(std::uint32_t value) { append_integer(value, 4); }
  void u64(std::uint64_t value) { append_integer(value, 8); }
  void bytes(ByteView view) {
    if (size_ + view.size() > buffer_.size()) {
      SecretBytes larger(std::max(2 * buffer_.size(), size_ + view.size() + 4096));
      std::ranges::copy(written(), larger.mutable_view().begin());
      buffer_ = std::move(larger);
    }
    std::ranges::copy(view, buffer_.mutable_view().begin() + static_cast<std::ptrdiff_t>(size_));
    size_ += view.size();
  }
  void opaque(ByteView view) {
    ByteWriter length;
    codec::write_varint(length, view.size());
    bytes(length.view());
    bytes(view);
  }
  void secret(const SecretBytes& secret) { opaque(secret.view()); }
  /// What is no secret.
  template <class T>
  void plain(const T& value) {
    ByteWriter writer;
    value.write(writer);
    bytes(writer.view());
  }
  ByteView written() const { return buffer_.view().first(size_); }
  /// With the digest at its end.
  SecretBytes finish() {
    bytes(stored_digest(written()));
    return SecretBytes::copy_of(written());
  }

 private:
  void append_integer(std::uint64_t value, int size) {
    std::array<std::uint8_t, 8> out{};
    for (int i = 0; i < size; ++i) out[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(value >> (8 * (size - 1 - i)));
    bytes(ByteView(out).first(static_cast<std::size_t>(size)));
    wipe(out);
  }

  SecretBytes buffer_;
  std::size_t size_ = 0;
};

SecretWriter begin(StoredKind kind) {
  SecretWriter writer;
  ByteWriter header;
  write_stored_header(header, kind);
  writer.bytes(header.view());
  return writer;
}

Result<SecretBytes> read_secret(ByteReader& reader) {
  SATSUMA_TRY(const ByteView view, codec::read_opaque(reader));
  return SecretBytes::copy_of(view);
}
Result<SecretBytes> read_secret(ByteReader& reader, std::size_t size) {
  SATSUMA_TRY(const ByteView view, codec::read_opaque(reader));
  if (view.size() != size) return mls_stored_invalid;
  return SecretBytes::copy_of(view);
}
Result<bool> read_bool(ByteReader& reader) {
  SATSUMA_TRY(const std::uint8_t value, reader.u8());
  if (value > 1) return mls_stored_invalid;
  return value == 1;
}

// A ReInit or an ExternalInit as the proposal that it was.
template <class T>
Result<T> parse_proposal_of(ByteReader& reader) {
  SATSUMA_TRY(Proposal proposal, Proposal::parse(reader));
  T* found = std::get_if<T>(&proposal.value);
  if (found == nullptr) return mls_stored_invalid;
  return std::move(*found);
}

} // namespace

// --- The secret tree

/// Reaches what SecretTree and PrivateTree keep to themselves.
struct internal::Storage {
  static void write(SecretWriter& writer, const SecretTree& tree, LeafIndex own_leaf, std::uint32_t reserve) {
    writer.u32(static_cast<std::uint32_t>(tree.nodes_.size()));
    for (const auto& [node, secret] : tree.nodes_) {
      writer.u32(node.value);
      writer.secret(secret);
    }
    writer.u32(static_cast<std::uint32_t>(tree.leaves_.size()));
    for (const auto& [leaf, ratchets] : tree.leaves_) {
      writer.u32(leaf.value);
      const std::uint32_t skipped = leaf == own_leaf ? reserve : 0;
      write(writer, tree, ratchets.handshake, skipped);
      write(writer, tree, ratchets.application, skipped);
    }
  }

  static void write(SecretWriter& writer, const SecretTree& tree, const SecretTree::Ratchet& ratchet, std::uint32_t skipped) {
    SecretTree::Ratchet ahead{ratchet.secret.clone(), ratchet.next_generation, {}};
    for (std::uint32_t i = 0; i < skipped && ahead.next_generation != ~std::uint32_t{0}; ++i) (void)tree.step(ahead);
    writer.secret(ahead.secret);
    writer.u32(ahead.next_generation);
    writer.u32(static_cast<std::uint32_t>(ratchet.kept.size()));
    for (const auto& [generation, key] : ratchet.kept) {
      writer.u32(generation);
      writer.bytes(key.key.view());
      writer.bytes(key.nonce.view());
    }
  }

  static Result<SecretTree> parse_secret_tree(ByteReader& reader, const SuiteParameters& suite, LeafCount leaves, const SecretTreeLimits& limits) {
    SecretTree tree;
    tree.limits_ = limits;
    tree.suite_ = &suite;
    tree.leaf_count_ = leaves;
    // Each leaf gets its keys from exactly one place: its own ratchets, or the one secret that is left on its way to the root.
    std::vector<bool> reached(leaves.value);
    const auto reach = [&reached](LeafIndex first, LeafIndex last) {
      for (std::uint32_t i = first.value; i <= last.value; ++i) {
        if (reached[i]) return false;
        reached[i] = true;
      }
      return true;
    };
    SATSUMA_TRY(const std::uint32_t node_count, reader.u32());
    for (std::uint32_t i = 0; i < node_count; ++i) {
      SATSUMA_TRY(const std::uint32_t value, reader.u32());
      const NodeIndex node{value};
      if (value >= node_width(leaves) || !reach(first_leaf(node), last_leaf(node))) return mls_stored_invalid;
      SATSUMA_TRY(SecretBytes secret, read_secret(reader, suite.hash_size()));
      tree.nodes_.emplace(node, std::move(secret));
    }
    SATSUMA_TRY(const std::uint32_t leaf_count, reader.u32());
    for (std::uint32_t i = 0; i < leaf_count; ++i) {
      SATSUMA_TRY(const std::uint32_t value, reader.u32());
      if (value >= leaves.value || !reach({value}, {value})) return mls_stored_invalid;
      SecretTree::Leaf& leaf = tree.leaves_[{value}];
      SATSUMA_TRY_VOID(parse_ratchet(reader, suite, leaf.handshake));
      SATSUMA_TRY_VOID(parse_ratchet(reader, suite, leaf.application));
      for (SecretTree::Ratchet* ratchet : {&leaf.handshake, &leaf.application}) {
        while (ratchet->kept.size() > std::max<std::size_t>(limits.max_kept, 1)) ratchet->kept.erase(ratchet->kept.begin()); // one stays, as in find()
        tree.kept_ += ratchet->kept.size();
      }
    }
    if (std::ranges::find(reached, false) != reached.end()) return mls_stored_invalid;
    return tree;
  }

  static Result<void> parse_ratchet(ByteReader& reader, const SuiteParameters& suite, SecretTree::Ratchet& ratchet) {
    SATSUMA_TRY(ratchet.secret, read_secret(reader, suite.hash_size()));
    SATSUMA_TRY(ratchet.next_generation, reader.u32());
    SATSUMA_TRY(const std::uint32_t count, reader.u32());
    for (std::uint32_t i = 0; i < count; ++i) {
      SATSUMA_TRY(const std::uint32_t generation, reader.u32());
      if (generation >= ratchet.next_generation) return mls_stored_invalid;
      SATSUMA_TRY(const ByteView key, reader.bytes(crypto::aead_key_size(suite.aead)));
      SATSUMA_TRY(const ByteView nonce, reader.bytes(crypto::aead_nonce_size));
      if (!ratchet.kept.emplace(generation, MessageKey{SecretBytes::copy_of(key), SecretBytes::copy_of(nonce)}).second) return mls_stored_invalid;
    }
    return {};
  }

  static void write(SecretWriter& writer, const PrivateTree& tree) {
    writer.u32(tree.own_leaf_.value);
    writer.u32(static_cast<std::uint32_t>(tree.keys_.size()));
    for (const auto& [node, keys] : tree.keys_) {
      writer.u32(node.value);
      writer.secret(keys.private_key);
    }
  }

  static Result<PrivateTree> parse_private_tree(ByteReader& reader, const RatchetTree& tree) {
    SATSUMA_TRY(const LeafIndex own_leaf, read_leaf_index(reader));
    if (tree.leaf(own_leaf) == nullptr) return mls_stored_invalid;
    PrivateTree out(own_leaf);
    SATSUMA_TRY(const std::uint32_t count, reader.u32());
    for (std::uint32_t i = 0; i < count; ++i) {
      SATSUMA_TRY(const std::uint32_t value, reader.u32());
      const NodeIndex node{value};
      if (value >= tree.node_width() || tree.is_blank(node) || out.find(node) != nullptr) return mls_stored_invalid;
      SATSUMA_TRY(const ByteView private_key, codec::read_opaque(reader));
      SATSUMA_TRY(crypto::KemKeyPair keys, crypto::kem_key_pair_from_private(tree.suite().kem, private_key));
      if (!equal(keys.public_key, tree.public_key(node))) return mls_stored_invalid;
      out.set(node, std::move(keys));
    }
    if (out.find(node_of(own_leaf)) == nullptr) return mls_stored_invalid;
    return out;
  }

  static void write(SecretWriter& writer, const GroupState& state, std::uint32_t reserve);
  static Result<GroupStatePointer> parse_state(ByteReader& reader, const GroupLimits& limits);
};

using internal::Storage;

namespace {

void write_epoch_secrets(SecretWriter& writer, const EpochSecrets& secrets) {
  const auto& [sender_data, encryption, exporter, external, confirmation, membership, resumption, authenticator, init, further] = secrets;
  SATSUMA_CHECK(encryption.empty()); // the secret tree has it
  (void)further;                     // at the end of the state
  for (const SecretBytes* secret : {&sender_data, &exporter, &external, &confirmation, &membership, &resumption, &authenticator, &init}) writer.secret(*secret);
}

Result<EpochSecrets> parse_epoch_secrets(ByteReader& reader, const SuiteParameters& suite) {
  EpochSecrets out;
  for (SecretBytes* secret : {&out.sender_data_secret, &out.exporter_secret, &out.external_secret, &out.confirmation_key, &out.membership_key,
                              &out.resumption_psk, &out.epoch_authenticator, &out.init_secret}) {
    SATSUMA_TRY(*secret, read_secret(reader));
    const bool erased = secret->empty() && secret == &out.exporter_secret; // Group::erase_exporter_secret
    if (secret->size() != suite.hash_size() && !erased) return mls_stored_invalid;
  }
  return out;
}

} // namespace

// --- The group

void Storage::write(SecretWriter& writer, const GroupState& state, std::uint32_t reserve) {
  const auto& [context, tree, interim, confirmation_tag, private_tree, signature_key, secrets, secret_tree, padding, limits, active, reinit, pending_updates,
               proposals, past_epochs, past_resumption_psks, send_limit] = state;
  writer.plain(context);
  StoredTrees trees;
  trees.add(tree);
  for (const PastEpoch& past : past_epochs) trees.add(past.tree);
  writer.plain(trees);
  writer.opaque(interim);
  writer.opaque(confirmation_tag);
  write(writer, private_tree);
  writer.secret(signature_key);
  write_epoch_secrets(writer, secrets);
  write(writer, secret_tree, state.own_leaf(), reserve);
  writer.u64(padding);
  writer.u8(active ? 1 : 0);
  ByteWriter ended;
  codec::write_optional_with(ended, reinit, [](ByteWriter& w, const ReInit& value) { Proposal{value}.write(w); });
  writer.bytes(ended.view());
  writer.u32(static_cast<std::uint32_t>(pending_updates.size()));
  for (const auto& [public_key, update] : pending_updates) {
    const auto& [leaf_keys, signature_private_key, arrival] = update;
    writer.secret(leaf_keys.private_key);
    writer.secret(signature_private_key);
    writer.u32(arrival);
  }
  (void)limits; // the caller's
  ByteWriter cached;
  write_stored_proposals(cached, proposals);
  writer.bytes(cached.view());
  for (const PastEpoch& past : past_epochs) {
    const auto& [past_context, past_tree, sender_data_secret, past_secret_tree] = past;
    writer.plain(past_context);
    writer.secret(sender_data_secret);
    write(writer, past_secret_tree, state.own_leaf(), 0);
  }
  writer.u32(static_cast<std::uint32_t>(past_resumption_psks.size()));
  for (const auto& [epoch, psk] : past_resumption_psks) {
    writer.u64(epoch);
    writer.secret(psk);
  }
  const bool has_further_secret = !secrets.further_secret.empty();
  writer.u8(static_cast<std::uint8_t>((reserve > 0 || send_limit ? 1 : 0) | (has_further_secret ? 2 : 0)));
  if (has_further_secret) writer.secret(secrets.further_secret);
}

Result<GroupStatePointer> Storage::parse_state(ByteReader& reader, const GroupLimits& limits) {
  SATSUMA_TRY(GroupContext context, GroupContext::parse(reader));
  SATSUMA_TRY_VOID(require_suite_of_member(context.cipher_suite));
  SATSUMA_TRY(std::vector<RatchetTree> trees, StoredTrees::parse(reader, context.cipher_suite));
  if (trees.empty()) return mls_stored_invalid;
  RatchetTree& tree = trees[0];
  const SuiteParameters& suite = tree.suite();
  if (!equal(tree.tree_hash().view(), context.tree_hash)) return mls_stored_invalid;
  SATSUMA_TRY(Bytes interim, codec::read_bytes(reader));
  SATSUMA_TRY(Bytes confirmation_tag, codec::read_bytes(reader));
  SATSUMA_TRY(PrivateTree private_tree, parse_private_tree(reader, tree));
  SATSUMA_TRY(SecretBytes signature_key, read_secret(reader));
  SATSUMA_TRY(const crypto::SignatureKeyPair signing, crypto::signature_key_pair_from_private(suite.signature, signature_key.view()));
  if (signing.public_key != tree.leaf(private_tree.own_leaf())->signature_key) return mls_stored_invalid;
  SATSUMA_TRY(EpochSecrets secrets, parse_epoch_secrets(reader, suite));
  SATSUMA_TRY(SecretTree secret_tree, parse_secret_tree(reader, suite, tree.leaf_count(), limits.secret_tree));
  SATSUMA_TRY(const std::uint64_t padding, reader.u64());
  if (padding > Group::max_padding) return mls_stored_invalid;
  SATSUMA_TRY(const bool active, read_bool(reader));
  SATSUMA_TRY(std::optional<ReInit> reinit, codec::read_optional_with<ReInit>(reader, parse_proposal_of<ReInit>));
  SATSUMA_TRY(const std::uint32_t update_count, reader.u32());
  internal::PendingUpdates pending_updates;
  for (std::uint32_t i = 0; i < update_count; ++i) {
    SATSUMA_TRY(const ByteView private_key, codec::read_opaque(reader));
    SATSUMA_TRY(crypto::KemKeyPair keys, crypto::kem_key_pair_from_private(suite.kem, private_key));
    SATSUMA_TRY(SecretBytes new_signature_key, read_secret(reader));
    SATSUMA_TRY(const std::uint32_t arrival, reader.u32());
    Bytes public_key = keys.public_key;
    pending_updates.emplace(std::move(public_key), internal::PendingUpdate{std::move(keys), std::move(new_signature_key), arrival});
  }
  internal::drop_oldest(pending_updates, limits.max_pending_updates);
  SATSUMA_TRY(ProposalCache proposals, parse_stored_proposals(reader, tree, context, limits.max_proposals, limits.additions.proposals));
  std::deque<PastEpoch> past_epochs;
  for (std::size_t i = 1; i < trees.size(); ++i) {
    SATSUMA_TRY(GroupContext past, GroupContext::parse(reader));
    if (past.cipher_suite != suite.id || past.group_id != context.group_id || past.epoch >= context.epoch) return mls_stored_invalid;
    if (!equal(trees[i].tree_hash().view(), past.tree_hash)) return mls_stored_invalid;
    SATSUMA_TRY(SecretBytes sender_data_secret, read_secret(reader, suite.hash_size()));
    trees[i].drop_hashes();
    SATSUMA_TRY(SecretTree past_secret_tree, parse_secret_tree(reader, suite, trees[i].leaf_count(), limits.secret_tree));
    past_epochs.push_back({std::move(past), std::move(trees[i]), std::move(sender_data_secret), std::move(past_secret_tree)});
  }
  while (past_epochs.size() > limits.max_past_epochs) past_epochs.pop_front();
  SATSUMA_TRY(const std::uint32_t psk_count, reader.u32());
  std::deque<std::pair<Epoch, SecretBytes>> past_resumption_psks;
  for (std::uint32_t i = 0; i < psk_count; ++i) {
    SATSUMA_TRY(const Epoch epoch, reader.u64());
    SATSUMA_TRY(SecretBytes psk, read_secret(reader, suite.hash_size()));
    past_resumption_psks.emplace_back(epoch, std::move(psk));
    if (past_resumption_psks.size() > limits.max_past_resumption_psks) past_resumption_psks.pop_front();
  }
  SATSUMA_TRY(const std::uint8_t flags, reader.u8());
  if (flags > 3) return mls_stored_invalid;
  const bool reserved = (flags & 1) != 0;
  if ((flags & 2) != 0) {
    SATSUMA_TRY(secrets.further_secret, read_secret(reader, suite.hash_size()));
  }
  std::optional<internal::SendLimit> send_limit;
  if (reserved) {
    const LeafIndex own = private_tree.own_leaf();
    send_limit = internal::SendLimit{secret_tree.next_generation(own, RatchetType::handshake), secret_tree.next_generation(own, RatchetType::application)};
  }
  return GroupStatePointer(new GroupState{std::move(context), std::move(tree), std::move(interim), std::move(confirmation_tag), std::move(private_tree),
                                          std::move(signature_key), std::move(secrets), std::move(secret_tree), static_cast<std::size_t>(padding), limits,
                                          active, std::move(reinit), std::move(pending_updates), std::move(proposals), std::move(past_epochs),
                                          std::move(past_resumption_psks), send_limit});
}

Result<SecretBytes> Group::store(std::uint32_t reserve) {
  if (reserve > max_reserve) return mls_reserve_too_large;
  GroupState& s = *state_;
  SecretTree& keys = s.secret_tree;
  const LeafIndex own = s.own_leaf();
  const internal::SendLimit next{keys.next_generation(own, RatchetType::handshake), keys.next_generation(own, RatchetType::application)}; // opens the ratchets
  s.send_limit.reset();
  if (reserve > 0) s.send_limit = internal::SendLimit{next.handshake + reserve, next.application + reserve};
  SecretWriter writer = begin(StoredKind::group);
  Storage::write(writer, s, reserve);
  return writer.finish();
}

Result<Group> Group::load(ByteView bytes, const GroupLimits& limits) {
  SATSUMA_TRY(ByteReader reader, open_stored(bytes, StoredKind::group));
  SATSUMA_TRY(GroupStatePointer state, Storage::parse_state(reader, limits));
  SATSUMA_TRY_VOID(reader.expect_end());
  return Group(std::move(state));
}

// --- A pending commit

namespace {

void write_member(ByteWriter& writer, const Member& member) {
  const auto& [leaf, signature_key, credential, encryption_key] = member;
  writer.u32(leaf.value);
  codec::write_opaque(writer, signature_key);
  credential.write(writer);
  codec::write_opaque(writer, encryption_key);
}

Result<Member> parse_member(ByteReader& reader) {
  Member out;
  SATSUMA_TRY(out.leaf, read_leaf_index(reader));
  SATSUMA_TRY(out.signature_key, codec::read_bytes(reader));
  SATSUMA_TRY(out.credential, Credential::parse(reader));
  SATSUMA_TRY(out.encryption_key, codec::read_bytes(reader));
  return out;
}

void write_added(ByteWriter& writer, const AddedMember& added) {
  const auto& [leaf, key_package] = added;
  writer.u32(leaf.value);
  key_package.write(writer);
}

Result<AddedMember> parse_added(ByteReader& reader) {
  AddedMember out;
  SATSUMA_TRY(out.leaf, read_leaf_index(reader));
  SATSUMA_TRY(out.key_package, KeyPackage::parse(reader));
  return out;
}

void write_changed(ByteWriter& writer, const ChangedMember& changed) {
  const auto& [leaf, before, after] = changed;
  writer.u32(leaf.value);
  before.write(writer);
  after.write(writer);
}

Result<ChangedMember> parse_changed(ByteReader& reader) {
  ChangedMember out;
  SATSUMA_TRY(out.leaf, read_leaf_index(reader));
  SATSUMA_TRY(out.before, LeafNode::parse(reader));
  SATSUMA_TRY(out.after, LeafNode::parse(reader));
  return out;
}

void write_leaf(ByteWriter& writer, LeafIndex leaf) { writer.u32(leaf.value); }

void write_further(ByteWriter& writer, const FurtherEffect& effect) {
  effect.sender.write(writer);
  writer.u16(effect.proposal.type);
  codec::write_opaque(writer, effect.proposal.body);
}
Result<FurtherEffect> parse_further(ByteReader& reader) {
  FurtherEffect out;
  SATSUMA_TRY(out.sender, Sender::parse(reader));
  SATSUMA_TRY(out.proposal.type, reader.u16());
  SATSUMA_TRY(out.proposal.body, codec::read_bytes(reader));
  return out;
}

void write_effects(ByteWriter& writer, const CommitEffects& effects) {
  const auto& [committer, external_joiner, added, removed, resynchronised, updated, by_value, extensions_changed, psks, reinit, external_init, further] = effects;
  (void)resynchronised; // of an external commit's joiner, and those are not stored
  (void)further;        // at the end
  codec::write_optional_with(writer, committer, write_leaf);
  codec::write_optional_with(writer, external_joiner, write_leaf);
  codec::write_vector_with(writer, added, write_added);
  codec::write_vector_with(writer, removed, write_member);
  codec::write_vector_with(writer, updated, write_changed);
  writer.u8(by_value ? 1 : 0);
  writer.u8(extensions_changed ? 1 : 0);
  codec::write_vector(writer, psks);
  codec::write_optional_with(writer, reinit, [](ByteWriter& w, const ReInit& value) { Proposal{value}.write(w); });
  codec::write_optional_with(writer, external_init, [](ByteWriter& w, const Bytes& value) { codec::write_opaque(w, value); });
}

Result<CommitEffects> parse_effects(ByteReader& reader) {
  CommitEffects out;
  SATSUMA_TRY(out.committer, codec::read_optional_with<LeafIndex>(reader, read_leaf_index));
  SATSUMA_TRY(out.joined_by_external_commit, codec::read_optional_with<LeafIndex>(reader, read_leaf_index));
  SATSUMA_TRY(out.added, codec::read_vector_with<AddedMember>(reader, parse_added));
  SATSUMA_TRY(out.removed, codec::read_vector_with<Member>(reader, parse_member));
  SATSUMA_TRY(out.updated, codec::read_vector_with<ChangedMember>(reader, parse_changed));
  SATSUMA_TRY(out.all_proposals_by_value, read_bool(reader));
  SATSUMA_TRY(out.extensions_changed, read_bool(reader));
  SATSUMA_TRY(out.psks, codec::read_vector<PreSharedKeyId>(reader));
  SATSUMA_TRY(out.reinit, codec::read_optional_with<ReInit>(reader, parse_proposal_of<ReInit>));
  SATSUMA_TRY(out.external_init, codec::read_optional_with<Bytes>(reader, [](ByteReader& r) { return codec::read_bytes(r); }));
  return out;
}

} // namespace

SecretBytes PendingCommit::store() const {
  SecretWriter writer = begin(StoredKind::pending_commit);
  writer.opaque(commit);
  writer.u8(welcome ? 1 : 0);
  if (welcome) writer.opaque(*welcome);
  ByteWriter effects;
  write_effects(effects, staged.effects_);
  writer.bytes(effects.view());
  writer.u64(staged.next_epoch_);
  writer.opaque(staged.base_);
  writer.u8(staged.next_ != nullptr ? 1 : 0);
  if (staged.next_ != nullptr) Storage::write(writer, *staged.next_, 0);
  if (!staged.effects_.further.empty()) {
    ByteWriter further;
    codec::write_vector_with(further, staged.effects_.further, write_further);
    writer.u8(1);
    writer.bytes(further.view());
  }
  return writer.finish();
}

Result<PendingCommit> PendingCommit::load(ByteView bytes, const GroupLimits& limits) {
  SATSUMA_TRY(ByteReader reader, open_stored(bytes, StoredKind::pending_commit));
  SATSUMA_TRY(Bytes commit, codec::read_bytes(reader));
  SATSUMA_TRY(std::optional<Bytes> welcome, codec::read_optional_with<Bytes>(reader, [](ByteReader& r) { return codec::read_bytes(r); }));
  PendingCommit out{std::move(commit), std::move(welcome), StagedCommit()};
  SATSUMA_TRY(out.staged.effects_, parse_effects(reader));
  SATSUMA_TRY(out.staged.next_epoch_, reader.u64());
  SATSUMA_TRY(out.staged.base_, codec::read_bytes(reader));
  SATSUMA_TRY(const bool has_next, read_bool(reader));
  if (has_next) {
    SATSUMA_TRY(out.staged.next_, Storage::parse_state(reader, limits));
    if (out.staged.next_->context.epoch != out.staged.next_epoch_) return mls_stored_invalid;
  }
  if (reader.remaining() != 0) {
    SATSUMA_TRY(const bool has_further, read_bool(reader));
    if (!has_further) return mls_stored_invalid;
    SATSUMA_TRY(out.staged.effects_.further, codec::read_vector_with<FurtherEffect>(reader, parse_further));
    if (out.staged.effects_.further.empty()) return mls_stored_invalid;
  }
  SATSUMA_TRY_VOID(reader.expect_end());
  return out;
}

// --- A key package with its private keys

SecretBytes KeyPackageBundle::store() const {
  SecretWriter writer = begin(StoredKind::key_package_bundle);
  const auto& [package, init, encryption, signature] = *this;
  writer.plain(package);
  writer.secret(init);
  writer.secret(encryption);
  writer.secret(signature);
  return writer.finish();
}

Result<KeyPackageBundle> KeyPackageBundle::load(ByteView bytes) {
  SATSUMA_TRY(ByteReader reader, open_stored(bytes, StoredKind::key_package_bundle));
  KeyPackageBundle out;
  SATSUMA_TRY(out.key_package, KeyPackage::parse(reader));
  SATSUMA_TRY(out.init_private_key, read_secret(reader));
  SATSUMA_TRY(out.encryption_private_key, read_secret(reader));
  SATSUMA_TRY(out.signature_private_key, read_secret(reader));
  SATSUMA_TRY_VOID(reader.expect_end());

  SATSUMA_TRY(const SuiteParameters* const suite, require_suite_of_member(out.key_package.cipher_suite));
  SATSUMA_TRY(const crypto::KemKeyPair init, crypto::kem_key_pair_from_private(suite->kem, out.init_private_key.view()));
  SATSUMA_TRY(const crypto::KemKeyPair leaf, crypto::kem_key_pair_from_private(suite->kem, out.encryption_private_key.view()));
  SATSUMA_TRY(const crypto::SignatureKeyPair signing, crypto::signature_key_pair_from_private(suite->signature, out.signature_private_key.view()));
  if (init.public_key != out.key_package.init_key || leaf.public_key != out.key_package.leaf_node.encryption_key ||
      signing.public_key != out.key_package.leaf_node.signature_key) {
    return mls_stored_invalid;
  }
  return out;
}

} // namespace satsuma::mls
