#include "mls_wasm.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <variant>

#include "mls/group/external_proposal.h"
#include "mls/group/group.h"
#include "mls/tree/stored.h"

using namespace satsuma;
using namespace satsuma::mls;

namespace {

constexpr std::uint32_t abi_version = 2;
constexpr std::uint32_t max_allocation = 64 * 1024 * 1024;
constexpr std::size_t max_handles = 1 << 16;

constexpr ErrorCode request_malformed{"request_malformed", ErrorKind::caller};
constexpr ErrorCode handle_unknown{"handle_unknown", ErrorKind::caller};
constexpr ErrorCode handles_exhausted{"handles_exhausted", ErrorKind::caller};
constexpr ErrorCode called_by_verifier{"called_by_verifier", ErrorKind::caller};
constexpr ErrorCode verifier_failed{"verifier_failed", ErrorKind::caller};

/// WASI's random_get, which is crypto.getRandomValues.
class SystemRandom final : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    constexpr std::size_t most_at_once = 256; // of getentropy
    while (!out.empty()) {
      const MutableByteView part = out.first(std::min(out.size(), most_at_once));
      SATSUMA_CHECK(getentropy(part.data(), part.size()) == 0);
      out = out.subspan(part.size());
    }
  }
};

struct SuiteKeys {
  CipherSuite suite;
  crypto::SignatureKeyPair keys;
};
using Object = std::variant<SuiteKeys, KeyPackageBundle, Group, PendingCommit, StagedCommit, PublicGroup, StagedPublicCommit, ExternalJoin>;

/// The caller's CredentialVerifier: the host is asked, and 1 is yes, 0 no, and 2 that it failed: then so does the call, whatever it would have made of a no.
/// { u8 0: verify { Credential; signature_key<V> } | 1: successor { Credential before, after } | 2: same client { Credential a, b } }
extern "C" __attribute__((import_module("satsuma"), import_name("verify_credential"))) std::uint32_t satsuma_host_verify_credential(const std::uint8_t* request,
                                                                                                                                   std::uint32_t size);

class HostVerifier final : public CredentialVerifier {
 public:
  bool asking() const { return asking_; }
  bool failed() const { return failed_; }
  void forget_failure() { failed_ = false; }

  Result<void> verify(const Credential& credential, ByteView signature_key) const override {
    ByteWriter question;
    question.u8(0);
    credential.write(question);
    codec::write_opaque(question, signature_key);
    return ask(question) ? Result<void>() : mls_credential_rejected;
  }
  Result<void> verify_successor(const Credential& before, const Credential& after) const override {
    return ask(about_two(1, before, after)) ? Result<void>() : mls_credential_rejected;
  }
  bool same_client(const Credential& a, const Credential& b) const override { return ask(about_two(2, a, b)); }

 private:
  static ByteWriter about_two(std::uint8_t kind, const Credential& a, const Credential& b) {
    ByteWriter question;
    question.u8(kind);
    a.write(question);
    b.write(question);
    return question;
  }
  bool ask(const ByteWriter& question) const {
    asking_ = true;
    const std::uint32_t said = satsuma_host_verify_credential(question.view().data(), static_cast<std::uint32_t>(question.size()));
    asking_ = false;
    if (said > 1) failed_ = true;
    return said == 1;
  }

  mutable bool asking_ = false;
  mutable bool failed_ = false;
};

/// What the caller said by `configure`.
struct Settings {
  bool host_verifies = false;
  bool check_lifetimes = false;
  UnixSeconds max_lifetime = ~UnixSeconds{0};
  GroupLimits limits;
};

/// Of a group, the last message that opened and then did not fit: its key is used up, and it can still come again, when the host has the PSK or knows whose
/// a credential is.
struct Unused {
  Bytes bytes;
  VerifiedMessage message;
};

struct Module {
  SystemRandom random;
  HostVerifier verifier;
  Settings settings;
  std::uint32_t last_handle = 0;
  std::map<std::uint32_t, std::unique_ptr<Object>> objects;
  std::map<std::uint32_t, Unused> unused; ///< by the group's handle
  SecretBytes answer;
};
Module& module() {
  static Module instance;
  return instance;
}

LeafPolicy policy() {
  const Settings& settings = module().settings;
  LeafPolicy out;
  if (settings.host_verifies) out.verifier = &module().verifier;
  if (settings.check_lifetimes) out.now = static_cast<UnixSeconds>(std::time(nullptr));
  out.max_lifetime = settings.max_lifetime;
  return out;
}
const GroupLimits& limits() { return module().settings.limits; }

template <class T>
Result<std::uint32_t> keep(T object) {
  Module& m = module();
  if (m.objects.size() >= max_handles) return handles_exhausted;
  m.objects.emplace(++m.last_handle, std::make_unique<Object>(std::move(object)));
  return m.last_handle;
}

template <class T>
Result<T*> find(std::uint32_t handle) {
  const auto found = module().objects.find(handle);
  T* object = found == module().objects.end() ? nullptr : std::get_if<T>(found->second.get());
  if (object == nullptr) return handle_unknown;
  return object;
}

template <class T>
Result<T*> read_handle(ByteReader& in) {
  SATSUMA_TRY(const std::uint32_t handle, in.u32());
  return find<T>(handle);
}

// --- What several operations read and write

Result<bool> read_bool(ByteReader& in) {
  SATSUMA_TRY(const std::uint8_t value, in.u8());
  if (value > 1) return request_malformed;
  return value == 1;
}

/// { u8 type: 1 external { id<V> }, 2 resumption { group_id<V>, u64 epoch }; secret<V> }<V>
Result<PskStore> read_psk_values(ByteReader& in) {
  PskStore store;
  SATSUMA_TRY(const ByteView body, codec::read_opaque(in));
  for (ByteReader psks(body); !psks.empty();) {
    SATSUMA_TRY(const std::uint8_t type, psks.u8());
    SATSUMA_TRY(const ByteView id, codec::read_opaque(psks));
    Epoch epoch = 0;
    if (type == 2) {
      SATSUMA_TRY(epoch, psks.u64());
    }
    SATSUMA_TRY(const ByteView secret, codec::read_opaque(psks));
    if (type == 2) {
      store.add_resumption(id, epoch, secret);
    } else {
      store.add_external(id, secret);
    }
  }
  return store;
}

/// { u8 type: 1 external { id<V> }, 2 resumption { group_id<V>, u64 epoch } }
Result<PreSharedKeyId> read_psk_id(ByteReader& in) {
  PreSharedKeyId id;
  SATSUMA_TRY(const std::uint8_t type, in.u8());
  if (type == 1) {
    SATSUMA_TRY(id.external_id, codec::read_bytes(in));
    return id;
  }
  if (type != 2) return request_malformed;
  id.type = PreSharedKeyId::Type::resumption;
  SATSUMA_TRY(id.group_id, codec::read_bytes(in));
  SATSUMA_TRY(id.epoch, in.u64());
  return id;
}

/// The bytes of an MLSMessage.
template <class T>
Result<T> read_message(ByteReader& in) {
  SATSUMA_TRY(const ByteView bytes, codec::read_opaque(in));
  return MLSMessage::decode_as<T>(bytes);
}

void write_member(ByteWriter& out, const Member& member) {
  out.u32(member.leaf.value);
  codec::write_opaque(out, member.signature_key);
  member.credential.write(out);
}

void write_members(ByteWriter& out, const std::vector<Member>& members) { codec::write_vector_with(out, members, write_member); }

Member member_of(LeafIndex leaf, const LeafNode& node) { return {leaf, node.signature_key, node.credential, node.encryption_key}; }

/// { optional u32 keys; optional Credential }
Result<LeafChanges> read_leaf_changes(ByteReader& in) {
  LeafChanges changes;
  SATSUMA_TRY(const auto keys, codec::read_optional_with<SuiteKeys*>(in, read_handle<SuiteKeys>));
  if (keys) changes.signature_keys = &(*keys)->keys;
  SATSUMA_TRY(changes.credential, codec::read_optional<Credential>(in));
  return changes;
}

/// { u64 next_epoch; bool removes_self; optional<u32> committer; optional<u32> external_joiner; members added<V>, removed<V>;
///   { member before, after }updated<V>; bool extensions_changed; bool reinit }
void write_effects(ByteWriter& out, const CommitEffects& effects, Epoch next_epoch, bool removes_self) {
  const auto write_leaf = [](ByteWriter& w, LeafIndex leaf) { w.u32(leaf.value); };
  out.u64(next_epoch);
  out.u8(removes_self ? 1 : 0);
  codec::write_optional_with(out, effects.committer, write_leaf);
  codec::write_optional_with(out, effects.joined_by_external_commit, write_leaf);
  codec::write_vector_with(out, effects.added,
                           [](ByteWriter& w, const AddedMember& added) { write_member(w, member_of(added.leaf, added.key_package.leaf_node)); });
  write_members(out, effects.removed);
  codec::write_vector_with(out, effects.updated, [](ByteWriter& w, const ChangedMember& changed) {
    write_member(w, member_of(changed.leaf, changed.before));
    write_member(w, member_of(changed.leaf, changed.after));
  });
  out.u8(effects.extensions_changed ? 1 : 0);
  out.u8(effects.reinit ? 1 : 0);
}

/// { u32 handle; commit<V>; optional welcome<V>; effects }
Result<void> write_pending(ByteWriter& out, PendingCommit pending) {
  ByteWriter rest;
  codec::write_opaque(rest, pending.commit);
  codec::write_optional_with(rest, pending.welcome, [](ByteWriter& w, const Bytes& welcome) { codec::write_opaque(w, welcome); });
  write_effects(rest, pending.staged.effects(), pending.staged.next_epoch(), pending.staged.removes_self());
  SATSUMA_TRY(const std::uint32_t handle, keep(std::move(pending)));
  out.u32(handle);
  out.bytes(rest.view());
  return {};
}

/// { u16 suite; group_id<V>; u64 epoch; extensions<V>; tree_hash<V> }
void write_context(ByteWriter& out, const GroupContext& context) {
  out.u16(static_cast<std::uint16_t>(context.cipher_suite));
  codec::write_opaque(out, context.group_id);
  out.u64(context.epoch);
  write_extensions(out, context.extensions);
  codec::write_opaque(out, context.tree_hash);
}

/// { u8 sender_type; u32 sender_index; u16 proposal_type }
void write_proposal(ByteWriter& out, const Sender& sender, const Proposal& proposal) {
  out.u8(static_cast<std::uint8_t>(sender.type));
  out.u32(sender.index);
  out.u16(proposal.type());
}

template <class T>
Result<void> write_kept(ByteWriter& out, T object) {
  SATSUMA_TRY(const std::uint32_t handle, keep(std::move(object)));
  out.u32(handle);
  return {};
}

// --- Settings

// { bool host_verifies; bool check_lifetimes; u64 max_lifetime; u32 max_members, max_proposals, max_pending_updates, max_past_epochs,
//   max_past_resumption_psks, max_skip, max_kept, max_kept_in_epoch } -> {}. Limits are those of groups made and loaded from now on.
Result<void> configure(ByteReader& in, ByteWriter&) {
  Settings settings;
  SATSUMA_TRY(settings.host_verifies, read_bool(in));
  SATSUMA_TRY(settings.check_lifetimes, read_bool(in));
  SATSUMA_TRY(settings.max_lifetime, in.u64());
  GroupLimits& bounds = settings.limits;
  for (std::size_t* bound : {&bounds.max_members, &bounds.max_proposals, &bounds.max_pending_updates, &bounds.max_past_epochs, &bounds.max_past_resumption_psks}) {
    SATSUMA_TRY(*bound, in.u32());
  }
  SATSUMA_TRY(bounds.secret_tree.max_skip, in.u32());
  SATSUMA_TRY(bounds.secret_tree.max_kept, in.u32());
  SATSUMA_TRY(bounds.secret_tree.max_kept_in_epoch, in.u32());
  if (bounds.max_past_epochs >= StoredTrees::max_trees) return request_malformed; // it could not be stored
  module().settings = settings;
  return {};
}

// --- Keys and key packages

// {} -> { u16 suites<V> }
Result<void> suites(ByteReader&, ByteWriter& out) {
  NumberList known;
  for (std::uint32_t id = 1; id <= 0xffff; ++id) {
    if (require_suite_of_member(static_cast<CipherSuite>(id))) known.push_back(static_cast<std::uint16_t>(id));
  }
  write_numbers(out, known);
  return {};
}

Result<void> write_keys(ByteWriter& out, CipherSuite suite, crypto::SignatureKeyPair keys) {
  const Bytes public_key = keys.public_key;
  SATSUMA_TRY_VOID(write_kept(out, SuiteKeys{suite, std::move(keys)}));
  codec::write_opaque(out, public_key);
  return {};
}

// { u16 suite; private_key<V>: empty for new ones } -> { u32 handle; public_key<V> }
Result<void> signature_keys(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const std::uint16_t id, in.u16());
  const auto suite = static_cast<CipherSuite>(id);
  SATSUMA_TRY(const SuiteParameters* const parameters, require_suite(suite));
  SATSUMA_TRY(const ByteView private_key, codec::read_opaque(in));
  if (private_key.empty()) return write_keys(out, suite, crypto::generate_signature_key_pair(parameters->signature, module().random));
  SATSUMA_TRY(crypto::SignatureKeyPair keys, crypto::signature_key_pair_from_private(parameters->signature, private_key));
  return write_keys(out, suite, std::move(keys));
}

// { u32 keys } -> { private_key<V> }
Result<void> signature_private_key(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const SuiteKeys* const keys, read_handle<SuiteKeys>(in));
  codec::write_opaque(out, keys->keys.private_key.view());
  return {};
}

Result<void> write_bundle(ByteWriter& out, KeyPackageBundle bundle) {
  const Bytes message = bundle.message();
  SATSUMA_TRY_VOID(write_kept(out, std::move(bundle)));
  codec::write_opaque(out, message);
  return {};
}

// { u32 keys; Credential; u64 not_before; u64 not_after; Extension leaf_extensions<V>; Extension extensions<V>; bool last_resort } -> { u32 handle; message<V> }
Result<void> key_package_generate(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const SuiteKeys* const keys, read_handle<SuiteKeys>(in));
  KeyPackageParams params;
  params.suite = keys->suite;
  SATSUMA_TRY(params.credential, Credential::parse(in));
  SATSUMA_TRY(params.lifetime.not_before, in.u64());
  SATSUMA_TRY(params.lifetime.not_after, in.u64());
  SATSUMA_TRY(params.leaf_extensions, read_extensions(in));
  SATSUMA_TRY(params.extensions, read_extensions(in));
  SATSUMA_TRY(params.last_resort, read_bool(in));
  SATSUMA_TRY(KeyPackageBundle bundle, generate_key_package(params, keys->keys, module().random));
  return write_bundle(out, std::move(bundle));
}

// { stored<V> } -> { u32 handle; message<V> }
Result<void> key_package_load(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const ByteView stored, codec::read_opaque(in));
  SATSUMA_TRY(KeyPackageBundle bundle, KeyPackageBundle::load(stored));
  return write_bundle(out, std::move(bundle));
}

// { u32 bundle } -> { stored<V> }
Result<void> key_package_store(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const KeyPackageBundle* const bundle, read_handle<KeyPackageBundle>(in));
  codec::write_opaque(out, bundle->store().view());
  return {};
}

// { message<V>; u64 now: 0 for any time } -> { u16 suite; signature_key<V>; Credential; u64 not_before; u64 not_after; Extension extensions<V> }
Result<void> key_package_verify(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const KeyPackage package, read_message<KeyPackage>(in));
  SATSUMA_TRY(const UnixSeconds now, in.u64());
  SATSUMA_TRY_VOID(verify_key_package(package, now == 0 ? std::nullopt : std::optional(now)));
  out.u16(static_cast<std::uint16_t>(package.cipher_suite));
  codec::write_opaque(out, package.leaf_node.signature_key);
  package.leaf_node.credential.write(out);
  out.u64(package.leaf_node.lifetime.not_before);
  out.u64(package.leaf_node.lifetime.not_after);
  write_extensions(out, package.extensions);
  return {};
}

// --- Groups

// { u32 bundle; group_id<V>; Extension extensions<V>; u32 padding } -> { u32 handle }
Result<void> group_create(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const KeyPackageBundle* const bundle, read_handle<KeyPackageBundle>(in));
  GroupParams params;
  SATSUMA_TRY(params.group_id, codec::read_bytes(in));
  SATSUMA_TRY(params.extensions, read_extensions(in));
  SATSUMA_TRY(params.padding, in.u32());
  params.limits = limits();
  SATSUMA_TRY(Group group, Group::create(params, *bundle, module().random));
  return write_kept(out, std::move(group));
}

// { welcome<V>; u32 bundle; optional ratchet_tree<V>; psk values; u32 padding; optional u32 predecessor } -> { u32 handle }
Result<void> group_join(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const Welcome welcome, read_message<Welcome>(in));
  SATSUMA_TRY(const KeyPackageBundle* const bundle, read_handle<KeyPackageBundle>(in));
  JoinParams params;
  SATSUMA_TRY(params.ratchet_tree, codec::read_optional_with<Bytes>(in, [](ByteReader& r) { return codec::read_bytes(r); }));
  SATSUMA_TRY(const PskStore psks, read_psk_values(in));
  params.psks = &psks;
  SATSUMA_TRY(params.padding, in.u32());
  SATSUMA_TRY(const auto predecessor, codec::read_optional_with<Group*>(in, read_handle<Group>));
  params.predecessor = predecessor.value_or(nullptr);
  params.policy = policy();
  params.limits = limits();
  SATSUMA_TRY(Group group, Group::join(welcome, *bundle, params));
  return write_kept(out, std::move(group));
}

// { stored<V> } -> { u32 handle }
Result<void> group_load(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const ByteView stored, codec::read_opaque(in));
  SATSUMA_TRY(Group group, Group::load(stored, limits()));
  return write_kept(out, std::move(group));
}

// { u32 group; u32 reserve } -> { stored<V> }
Result<void> group_store(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(Group* const group, read_handle<Group>(in));
  SATSUMA_TRY(const std::uint32_t reserve, in.u32());
  SATSUMA_TRY(const SecretBytes stored, group->store(reserve));
  codec::write_opaque(out, stored.view());
  return {};
}

// { u32 group } -> { context; u32 own_leaf; bool active }
Result<void> group_state(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const Group* const group, read_handle<Group>(in));
  write_context(out, group->context());
  out.u32(group->own_leaf().value);
  out.u8(group->active() ? 1 : 0);
  return {};
}

// { u32 group } -> { members<V> }
Result<void> group_members(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const Group* const group, read_handle<Group>(in));
  write_members(out, group->members());
  return {};
}

// { u32 group; u8: 0 epoch authenticator, 1 confirmation tag, 2 resumption PSK, 3 ratchet tree } -> { bytes<V> }
Result<void> group_bytes(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const Group* const group, read_handle<Group>(in));
  SATSUMA_TRY(const std::uint8_t which, in.u8());
  switch (which) {
    case 0: codec::write_opaque(out, group->epoch_authenticator()); return {};
    case 1: codec::write_opaque(out, group->confirmation_tag()); return {};
    case 2: codec::write_opaque(out, group->resumption_psk()); return {};
    case 3: codec::write_opaque(out, group->tree().serialise()); return {};
    default: return request_malformed;
  }
}

// { u32 group; label<V>; context<V>; u32 size } -> { secret<V> }
Result<void> group_export(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const Group* const group, read_handle<Group>(in));
  SATSUMA_TRY(const ByteView label, codec::read_opaque(in));
  SATSUMA_TRY(const ByteView context, codec::read_opaque(in));
  SATSUMA_TRY(const std::uint32_t size, in.u32());
  if (size > 255 * 32) return request_malformed; // HKDF's end with the shortest hash, RFC 5869 s.2.3
  codec::write_opaque(out, group->export_secret(as_text(label), context, size).view());
  return {};
}

// { u32 group; bool with_tree; bool with_external_pub } -> { message<V> }
Result<void> group_info(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const Group* const group, read_handle<Group>(in));
  SATSUMA_TRY(const bool with_tree, read_bool(in));
  SATSUMA_TRY(const bool with_external_pub, read_bool(in));
  SATSUMA_TRY(const Bytes message, group->group_info(with_tree, with_external_pub));
  codec::write_opaque(out, message);
  return {};
}

// { u32 group; { key_package<V> }add<V>; u32 remove<V>; psk ids<V>; psk values; optional { Extension<V> } group_context_extensions;
//   bool include_cached_proposals, force_path, private_message, ratchet_tree_in_welcome; authenticated_data<V>; leaf changes } -> pending
Result<void> group_commit(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const Group* const group, read_handle<Group>(in));
  CommitParams params;
  SATSUMA_TRY(params.add, codec::read_vector_with<KeyPackage>(in, read_message<KeyPackage>));
  SATSUMA_TRY(params.remove, codec::read_vector_with<LeafIndex>(in, read_leaf_index));
  SATSUMA_TRY(params.psks, codec::read_vector_with<PreSharedKeyId>(in, read_psk_id));
  SATSUMA_TRY(const PskStore psks, read_psk_values(in));
  params.psk_store = &psks;
  SATSUMA_TRY(params.group_context_extensions, codec::read_optional_with<Extensions>(in, read_extensions));
  SATSUMA_TRY(params.include_cached_proposals, read_bool(in));
  SATSUMA_TRY(params.force_path, read_bool(in));
  SATSUMA_TRY(params.private_message, read_bool(in));
  SATSUMA_TRY(params.ratchet_tree_in_welcome, read_bool(in));
  SATSUMA_TRY(params.authenticated_data, codec::read_bytes(in));
  SATSUMA_TRY(params.leaf, read_leaf_changes(in));
  params.policy = policy();
  SATSUMA_TRY(PendingCommit pending, group->commit(params, module().random));
  return write_pending(out, std::move(pending));
}

// { u32 pending } -> { stored<V> }
Result<void> pending_store(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const PendingCommit* const pending, read_handle<PendingCommit>(in));
  codec::write_opaque(out, pending->store().view());
  return {};
}

// { stored<V> } -> pending
Result<void> pending_load(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const ByteView stored, codec::read_opaque(in));
  SATSUMA_TRY(PendingCommit pending, PendingCommit::load(stored, limits()));
  return write_pending(out, std::move(pending));
}

// { u32 group; u32 pending or staged } -> {}. The stage is used up when it succeeds.
Result<void> group_merge(ByteReader& in, ByteWriter&) {
  SATSUMA_TRY(const std::uint32_t group_handle, in.u32());
  SATSUMA_TRY(Group* const group, find<Group>(group_handle));
  SATSUMA_TRY(const std::uint32_t handle, in.u32());
  if (const auto staged = find<StagedCommit>(handle)) {
    SATSUMA_TRY_VOID(group->merge(std::move(**staged)));
  } else {
    SATSUMA_TRY(PendingCommit* const pending, find<PendingCommit>(handle));
    SATSUMA_TRY_VOID(group->merge(std::move(pending->staged)));
  }
  module().unused.erase(group_handle);
  module().objects.erase(handle);
  return {};
}

// Caches a proposal, or stages a commit.
Result<void> use_message(Group& group, const VerifiedMessage& verified, const PskStore& psks, ByteWriter& out) {
  const FramedContent& content = verified.content();
  if (const auto* proposal = std::get_if<Proposal>(&content.content)) {
    SATSUMA_TRY_VOID(group.cache_proposal(verified));
    out.u8(2);
    write_proposal(out, content.sender, *proposal);
  } else {
    StageParams params(&psks);
    params.policy = policy();
    SATSUMA_TRY(StagedCommit staged, group.stage(verified, params));
    ByteWriter effects;
    write_effects(effects, staged.effects(), staged.next_epoch(), staged.removes_self());
    out.u8(3);
    SATSUMA_TRY_VOID(write_kept(out, std::move(staged)));
    out.bytes(effects.view());
  }
  codec::write_opaque(out, content.authenticated_data);
  return {};
}

// { u32 group; message<V>; psk values } -> { u8 1: application { u32 sender; data<V>; authenticated_data<V>; u64 epoch; member }
//   | 2: proposal, now cached { proposal; authenticated_data<V> } | 3: commit { u32 handle; effects; authenticated_data<V> } }
Result<void> group_receive(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const std::uint32_t handle, in.u32());
  SATSUMA_TRY(Group* const group, find<Group>(handle));
  SATSUMA_TRY(const ByteView bytes, codec::read_opaque(in));
  SATSUMA_TRY(const PskStore psks, read_psk_values(in));
  SATSUMA_TRY(const MLSMessage message, MLSMessage::decode(bytes));
  const auto* closed = message.as<PrivateMessage>();
  const auto* open = message.as<PublicMessage>();
  if (closed != nullptr && closed->content_type == ContentType::application) {
    SATSUMA_TRY(const ReceivedApplication received, group->unprotect_application(bytes));
    out.u8(1);
    out.u32(received.sender.value);
    codec::write_opaque(out, received.plaintext.view());
    codec::write_opaque(out, received.authenticated_data);
    out.u64(received.epoch);
    write_member(out, received.from);
    return {};
  }
  if (closed == nullptr && open == nullptr) return mls_wire_format_unexpected;
  if (open != nullptr) {
    SATSUMA_TRY(const VerifiedMessage verified, group->verify(*open));
    return use_message(*group, verified, psks, out);
  }
  auto& unused = module().unused;
  if (const auto before = unused.find(handle); before == unused.end() || !equal(before->second.bytes, bytes)) {
    SATSUMA_TRY(VerifiedMessage verified, group->unprotect(*closed));
    unused.erase(handle);
    unused.emplace(handle, Unused{to_bytes(bytes), std::move(verified)});
  }
  SATSUMA_TRY_VOID(use_message(*group, unused.at(handle).message, psks, out));
  if (!module().verifier.failed()) unused.erase(handle);
  return {};
}

// { u32 group; data<V>; authenticated_data<V> } -> { message<V> }
Result<void> group_protect(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(Group* const group, read_handle<Group>(in));
  SATSUMA_TRY(const ByteView data, codec::read_opaque(in));
  SATSUMA_TRY(const ByteView authenticated_data, codec::read_opaque(in));
  SATSUMA_TRY(const Bytes message, group->protect_application(data, authenticated_data, module().random));
  codec::write_opaque(out, message);
  return {};
}

// { u8 kind: 1 add { key_package<V> } | 3 remove { u32 leaf } | 4 psk { id } | 5 reinit { group_id<V>; u16 suite; Extension<V> }
//   | 7 group context extensions { Extension<V> } }
Result<Proposal> read_proposal(ByteReader& in, const SuiteParameters& suite) {
  SATSUMA_TRY(const std::uint8_t kind, in.u8());
  switch (kind) {
    case proposal_type::add: {
      SATSUMA_TRY(KeyPackage package, read_message<KeyPackage>(in));
      return Proposal{Add{std::move(package)}};
    }
    case proposal_type::remove: {
      SATSUMA_TRY(const LeafIndex leaf, read_leaf_index(in));
      return Proposal{Remove{leaf}};
    }
    case proposal_type::psk: {
      SATSUMA_TRY(PreSharedKeyId id, read_psk_id(in));
      id.nonce.resize(suite.hash_size());
      module().random.fill(id.nonce);
      return Proposal{PreSharedKey{std::move(id)}};
    }
    case proposal_type::reinit: {
      ReInit reinit;
      SATSUMA_TRY(reinit.group_id, codec::read_bytes(in));
      SATSUMA_TRY(const std::uint16_t suite, in.u16());
      reinit.cipher_suite = static_cast<CipherSuite>(suite);
      SATSUMA_TRY(reinit.extensions, read_extensions(in));
      return Proposal{std::move(reinit)};
    }
    case proposal_type::group_context_extensions: {
      SATSUMA_TRY(Extensions extensions, read_extensions(in));
      return Proposal{GroupContextExtensions{std::move(extensions)}};
    }
    default: return request_malformed;
  }
}

// { u32 group; proposal; bool private_message; authenticated_data<V> } -> { message<V> }
Result<void> group_propose(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(Group* const group, read_handle<Group>(in));
  SATSUMA_TRY(const Proposal proposal, read_proposal(in, group->tree().suite()));
  SATSUMA_TRY(const bool private_message, read_bool(in));
  SATSUMA_TRY(const ByteView authenticated_data, codec::read_opaque(in));
  SATSUMA_TRY(const Bytes message, group->propose(proposal, private_message, authenticated_data, module().random));
  codec::write_opaque(out, message);
  return {};
}

// { u32 group; leaf changes; bool private_message; authenticated_data<V> } -> { message<V> }
Result<void> group_propose_update(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(Group* const group, read_handle<Group>(in));
  SATSUMA_TRY(const LeafChanges changes, read_leaf_changes(in));
  SATSUMA_TRY(const bool private_message, read_bool(in));
  SATSUMA_TRY(const ByteView authenticated_data, codec::read_opaque(in));
  SATSUMA_TRY(const Bytes message, group->propose_update(changes, private_message, authenticated_data, module().random));
  codec::write_opaque(out, message);
  return {};
}

// --- Entering without being asked in, and proposals from outside

// { group_info<V>; u32 bundle; optional ratchet_tree<V>; optional u32 resync; psk ids<V>; psk values; authenticated_data<V>; u32 padding }
//   -> { u32 handle; commit<V> }
Result<void> group_join_external(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const GroupInfo info, read_message<GroupInfo>(in));
  SATSUMA_TRY(const KeyPackageBundle* const bundle, read_handle<KeyPackageBundle>(in));
  ExternalJoinParams params;
  SATSUMA_TRY(params.ratchet_tree, codec::read_optional_with<Bytes>(in, [](ByteReader& r) { return codec::read_bytes(r); }));
  SATSUMA_TRY(params.resync, codec::read_optional_with<LeafIndex>(in, read_leaf_index));
  SATSUMA_TRY(params.psks, codec::read_vector_with<PreSharedKeyId>(in, read_psk_id));
  SATSUMA_TRY(const PskStore psks, read_psk_values(in));
  params.psk_store = &psks;
  SATSUMA_TRY(params.authenticated_data, codec::read_bytes(in));
  SATSUMA_TRY(params.padding, in.u32());
  params.policy = policy();
  params.limits = limits();
  SATSUMA_TRY(ExternalJoin join, Group::join_external(info, *bundle, params, module().random));
  const Bytes commit = join.commit();
  SATSUMA_TRY_VOID(write_kept(out, std::move(join)));
  codec::write_opaque(out, commit);
  return {};
}

// { u32 external_join } -> { u32 group }. The external join is used up.
Result<void> external_join_merge(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const std::uint32_t handle, in.u32());
  SATSUMA_TRY(ExternalJoin* const join, find<ExternalJoin>(handle));
  SATSUMA_TRY_VOID(write_kept(out, std::move(*join).merge()));
  module().objects.erase(handle);
  return {};
}

// { u16 suite; group_id<V>; u64 epoch; authenticated_data<V> }
Result<ExternalProposalParams> read_external_params(ByteReader& in) {
  ExternalProposalParams params;
  SATSUMA_TRY(const std::uint16_t suite, in.u16());
  params.suite = static_cast<CipherSuite>(suite);
  SATSUMA_TRY(params.group_id, codec::read_bytes(in));
  SATSUMA_TRY(params.epoch, in.u64());
  SATSUMA_TRY(params.authenticated_data, codec::read_bytes(in));
  return params;
}

// { external params; u32 sender_index; u32 keys; proposal } -> { message<V> }
Result<void> propose_from_outside(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const ExternalProposalParams params, read_external_params(in));
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(params.suite));
  SATSUMA_TRY(const std::uint32_t sender_index, in.u32());
  SATSUMA_TRY(const SuiteKeys* const keys, read_handle<SuiteKeys>(in));
  SATSUMA_TRY(Proposal proposal, read_proposal(in, *suite));
  SATSUMA_TRY(const Bytes message, external_proposal(params, sender_index, keys->keys.private_key.view(), std::move(proposal)));
  codec::write_opaque(out, message);
  return {};
}

// { external params; u32 bundle } -> { message<V> }
Result<void> propose_oneself(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const ExternalProposalParams params, read_external_params(in));
  SATSUMA_TRY(const KeyPackageBundle* const bundle, read_handle<KeyPackageBundle>(in));
  SATSUMA_TRY(const Bytes message, new_member_proposal(params, *bundle));
  codec::write_opaque(out, message);
  return {};
}

// --- Successors

Result<void> write_successor(ByteWriter& out, Successor successor) {
  SATSUMA_TRY_VOID(write_kept(out, std::move(successor.group)));
  codec::write_optional_with(out, successor.welcome, [](ByteWriter& w, const Bytes& welcome) { codec::write_opaque(w, welcome); });
  return {};
}

// { u32 group; group_id<V>; Extension extensions<V>; { key_package<V> }members<V>; u32 bundle; u32 padding } -> { u32 handle; optional welcome<V> }
Result<void> group_branch(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const Group* const group, read_handle<Group>(in));
  BranchParams params;
  SATSUMA_TRY(params.group_id, codec::read_bytes(in));
  SATSUMA_TRY(params.extensions, read_extensions(in));
  SATSUMA_TRY(params.members, codec::read_vector_with<KeyPackage>(in, read_message<KeyPackage>));
  SATSUMA_TRY(const KeyPackageBundle* const bundle, read_handle<KeyPackageBundle>(in));
  SATSUMA_TRY(params.padding, in.u32());
  params.policy = policy();
  params.limits = limits();
  SATSUMA_TRY(Successor successor, group->branch(params, *bundle, module().random));
  return write_successor(out, std::move(successor));
}

// { u32 group; { key_package<V> }members<V>; u32 bundle; u32 padding } -> { u32 handle; optional welcome<V> }
Result<void> group_reinitialise(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const Group* const group, read_handle<Group>(in));
  SuccessorParams params;
  SATSUMA_TRY(params.members, codec::read_vector_with<KeyPackage>(in, read_message<KeyPackage>));
  SATSUMA_TRY(const KeyPackageBundle* const bundle, read_handle<KeyPackageBundle>(in));
  SATSUMA_TRY(params.padding, in.u32());
  params.policy = policy();
  params.limits = limits();
  SATSUMA_TRY(Successor successor, group->reinitialise(params, *bundle, module().random));
  return write_successor(out, std::move(successor));
}

// --- The follower without secrets

// { group_info<V> } -> { u32 handle }
Result<void> public_group_new(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const GroupInfo info, read_message<GroupInfo>(in));
  SATSUMA_TRY(PublicGroup group, PublicGroup::from_group_info(info));
  return write_kept(out, std::move(group));
}

// { stored<V> } -> { u32 handle }
Result<void> public_group_load(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const ByteView stored, codec::read_opaque(in));
  SATSUMA_TRY(PublicGroup group, PublicGroup::deserialise(stored));
  return write_kept(out, std::move(group));
}

// { u32 group } -> { stored<V> }
Result<void> public_group_store(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const PublicGroup* const group, read_handle<PublicGroup>(in));
  codec::write_opaque(out, group->serialise());
  return {};
}

// { u32 group } -> { context; members<V> }
Result<void> public_group_state(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(const PublicGroup* const group, read_handle<PublicGroup>(in));
  write_context(out, group->context());
  write_members(out, group->members());
  return {};
}

// { u32 group; message<V> } -> { u8 2: proposal, now cached { proposal } | 3: commit { u32 handle; effects } }
Result<void> public_group_receive(ByteReader& in, ByteWriter& out) {
  SATSUMA_TRY(PublicGroup* const group, read_handle<PublicGroup>(in));
  SATSUMA_TRY(const PublicMessage message, read_message<PublicMessage>(in));
  if (const auto* proposal = std::get_if<Proposal>(&message.content.content)) {
    SATSUMA_TRY_VOID(group->handle_proposal(message));
    out.u8(2);
    write_proposal(out, message.content.sender, *proposal);
    return {};
  }
  SATSUMA_TRY(StagedPublicCommit staged, group->verify(message));
  ByteWriter effects;
  write_effects(effects, staged.effects(), staged.next_epoch(), false);
  out.u8(3);
  SATSUMA_TRY_VOID(write_kept(out, std::move(staged)));
  out.bytes(effects.view());
  return {};
}

// { u32 group; u32 staged } -> {}
Result<void> public_group_apply(ByteReader& in, ByteWriter&) {
  SATSUMA_TRY(PublicGroup* const group, read_handle<PublicGroup>(in));
  SATSUMA_TRY(const std::uint32_t handle, in.u32());
  SATSUMA_TRY(StagedPublicCommit* const staged, find<StagedPublicCommit>(handle));
  SATSUMA_TRY_VOID(group->apply(std::move(*staged)));
  module().objects.erase(handle);
  return {};
}

using Operation = Result<void> (*)(ByteReader&, ByteWriter&);
/// By number; calls.ts has the same list. New ones go to the end.
constexpr Operation operations[] = {
    suites,           signature_keys,    signature_private_key, key_package_generate, key_package_load,   key_package_store,    key_package_verify,
    group_create,     group_join,        group_load,            group_store,          group_state,        group_members,        group_bytes,
    group_export,     group_info,        group_commit,          pending_store,        pending_load,       group_merge,          group_receive,
    group_protect,    group_propose,     public_group_new,      public_group_load,    public_group_store, public_group_state,   public_group_receive,
    public_group_apply, group_propose_update, group_join_external, external_join_merge, propose_from_outside, propose_oneself,    group_branch,
    group_reinitialise, configure,
};

void put_u32(MutableByteView out, std::uint32_t value) { std::memcpy(out.data(), &value, 4); } // WASM is little endian

const std::uint8_t* answer(std::uint32_t status, ByteView payload) {
  SecretBytes& out = module().answer;
  out = SecretBytes(8 + payload.size());
  put_u32(out.mutable_view(), status);
  put_u32(out.mutable_view().subspan(4), static_cast<std::uint32_t>(payload.size()));
  std::ranges::copy(payload, out.mutable_view().begin() + 8);
  return out.view().data();
}

} // namespace

SATSUMA_EXPORT(satsuma_mls_abi_version) std::uint32_t satsuma_mls_abi_version() { return abi_version; }

SATSUMA_EXPORT(satsuma_mls_alloc) std::uint8_t* satsuma_mls_alloc(std::uint32_t size) {
  return size == 0 || size > max_allocation ? nullptr : static_cast<std::uint8_t*>(std::malloc(size));
}

SATSUMA_EXPORT(satsuma_mls_free) void satsuma_mls_free(std::uint8_t* pointer, std::uint32_t size) {
  if (pointer == nullptr) return;
  wipe({pointer, size});
  std::free(pointer);
}

SATSUMA_EXPORT(satsuma_mls_call) const std::uint8_t* satsuma_mls_call(std::uint32_t operation, const std::uint8_t* request, std::uint32_t size) {
  ByteReader in(size == 0 ? ByteView() : ByteView(request, size));
  ByteWriter out;
  Result<void> done = request_malformed;
  Module& m = module();
  if (m.verifier.asking()) {
    done = called_by_verifier;
  } else if (operation < std::size(operations)) {
    const std::uint32_t last_before = m.last_handle;
    m.verifier.forget_failure();
    done = operations[operation](in, out);
    if (m.verifier.failed()) { // a commit may go on without the proposal whose credential was not approved
      m.objects.erase(m.objects.upper_bound(last_before), m.objects.end());
      done = verifier_failed;
    }
  }
  const std::uint8_t* result = nullptr;
  if (done) {
    result = answer(0, out.view());
  } else {
    Bytes error{static_cast<std::uint8_t>(done.error().kind())};
    const ByteView name = as_bytes(done.error().name());
    error.insert(error.end(), name.begin(), name.end());
    result = answer(1, error);
  }
  wipe(out.mutable_view());
  return result;
}

SATSUMA_EXPORT(satsuma_mls_release) void satsuma_mls_release(std::uint32_t handle) {
  module().unused.erase(handle);
  module().objects.erase(handle);
}

SATSUMA_EXPORT(satsuma_mls_handles) std::uint32_t satsuma_mls_handles() { return static_cast<std::uint32_t>(module().objects.size()); }
