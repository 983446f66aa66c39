#include "mls/group/group.h"
#include "vectors.h"

// The vectors of RFC 9420's working group. What each file checks is described beside them (test-vectors.md of
// github.com/mlswg/mls-implementations).
namespace satsuma::vectors {

namespace {

using namespace mls;

const SuiteParameters* suite_of(const Json& json, Entry& entry) {
  const SuiteParameters* suite = find_suite(static_cast<CipherSuite>(number(json, "cipher_suite")));
  if (suite == nullptr) entry.skip("cipher suite " + std::to_string(number(json, "cipher_suite")));
  return suite;
}

bool is(const SecretBytes& secret, const Json& object, const char* key) { return equal(secret.view(), hex(object, key)); }

// --- tree-math.json, deserialization.json

bool node_is(const Json& list, std::uint32_t node, std::optional<NodeIndex> expected) {
  if (node >= list.size()) return false;
  return expected ? list[node].is_number() && list[node].get<std::uint32_t>() == expected->value : list[node].is_null();
}

void tree_math_entry(const Json& json, Entry& entry) {
  const LeafCount leaves = tree_math::full(static_cast<std::uint32_t>(number(json, "n_leaves")));
  VECTOR_CHECK(tree_math::node_width(leaves) == number(json, "n_nodes"));
  VECTOR_CHECK(tree_math::root(leaves).value == number(json, "root"));
  for (std::uint32_t i = 0; i < tree_math::node_width(leaves); ++i) {
    const NodeIndex node{i};
    const bool leaf = tree_math::is_leaf(node);
    const bool root = node == tree_math::root(leaves);
    VECTOR_CHECK(node_is(json["left"], i, leaf ? std::nullopt : std::optional(tree_math::left(node))));
    VECTOR_CHECK(node_is(json["right"], i, leaf ? std::nullopt : std::optional(tree_math::right(node))));
    VECTOR_CHECK(node_is(json["parent"], i, root ? std::nullopt : std::optional(tree_math::parent(node, leaves))));
    VECTOR_CHECK(node_is(json["sibling"], i, root ? std::nullopt : std::optional(tree_math::sibling(node, leaves))));
  }
}

void deserialization(const Json& json, Entry& entry) {
  const Bytes header = hex(json, "vlbytes_header");
  ByteReader reader(header);
  VECTOR_TRY(const std::uint32_t length, codec::read_varint(reader));
  VECTOR_CHECK(length == number(json, "length") && reader.empty());
  ByteWriter writer;
  codec::write_varint(writer, length);
  VECTOR_CHECK(equal(writer.view(), header));
}

// --- crypto-basics.json

void crypto_basics(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  const auto text = [](const Json& object) { return object["label"].get<std::string>(); };

  const Json& ref = json["ref_hash"];
  VECTOR_CHECK(ref_hash(*suite, text(ref), hex(ref, "value")) == hex(ref, "out"));
  const Json& expand = json["expand_with_label"];
  VECTOR_CHECK(is(expand_with_label(*suite, hex(expand, "secret"), text(expand), hex(expand, "context"), size_from(expand, "length")), expand, "out"));
  const Json& derive = json["derive_secret"];
  VECTOR_CHECK(is(derive_secret(*suite, hex(derive, "secret"), text(derive)), derive, "out"));
  const Json& tree = json["derive_tree_secret"];
  VECTOR_CHECK(is(derive_tree_secret(*suite, hex(tree, "secret"), text(tree), static_cast<std::uint32_t>(number(tree, "generation")), size_from(tree, "length")),
                  tree, "out"));

  const Json& signing = json["sign_with_label"];
  const Bytes content = hex(signing, "content");
  VECTOR_TRY_VOID(verify_with_label(*suite, hex(signing, "pub"), text(signing), content, hex(signing, "signature")));
  VECTOR_TRY(const crypto::SignatureKeyPair keys, crypto::signature_key_pair_from_private(suite->signature, hex(signing, "priv")));
  VECTOR_CHECK(keys.public_key == hex(signing, "pub"));
  VECTOR_TRY(Bytes signature, sign_with_label(*suite, keys.private_key.view(), text(signing), content));
  VECTOR_TRY_VOID(verify_with_label(*suite, keys.public_key, text(signing), content, signature));
  signature[signature.size() / 2] ^= 1;
  VECTOR_CHECK(!verify_with_label(*suite, keys.public_key, text(signing), content, signature));

  const Json& encryption = json["encrypt_with_label"];
  const Bytes context = hex(encryption, "context");
  const Bytes plaintext = hex(encryption, "plaintext");
  const HpkeCiphertext ciphertext{hex(encryption, "kem_output"), hex(encryption, "ciphertext")};
  const Bytes priv = hex(encryption, "priv");
  const Bytes pub = hex(encryption, "pub");
  VECTOR_TRY(const SecretBytes opened, decrypt_with_label(*suite, priv, pub, text(encryption), context, ciphertext));
  VECTOR_CHECK(equal(opened.view(), plaintext));
  CountingRandom random;
  VECTOR_TRY(const HpkeCiphertext own, encrypt_with_label(*suite, pub, text(encryption), context, plaintext, random));
  VECTOR_TRY(const SecretBytes reopened, decrypt_with_label(*suite, priv, pub, text(encryption), context, own));
  VECTOR_CHECK(equal(reopened.view(), plaintext));
}

// --- secret-tree.json

void secret_tree(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  const Json& sender_data = json["sender_data"];
  const MessageKey key = sender_data_key(*suite, hex(sender_data, "sender_data_secret"), hex(sender_data, "ciphertext"));
  VECTOR_CHECK(is(key.key, sender_data, "key") && is(key.nonce, sender_data, "nonce"));

  const Json& leaves = json["leaves"];
  SecretTree tree(*suite, tree_math::full(static_cast<std::uint32_t>(leaves.size())), SecretBytes::copy_of(hex(json, "encryption_secret")));
  for (std::uint32_t i = 0; i < leaves.size(); ++i) {
    for (const Json& step : leaves[i]) {
      const auto generation = static_cast<std::uint32_t>(number(step, "generation"));
      VECTOR_TRY(const MessageKey* const application, tree.find({i}, RatchetType::application, generation));
      VECTOR_CHECK(is(application->key, step, "application_key") && is(application->nonce, step, "application_nonce"));
      VECTOR_TRY(const MessageKey* const handshake, tree.find({i}, RatchetType::handshake, generation));
      VECTOR_CHECK(is(handshake->key, step, "handshake_key") && is(handshake->nonce, step, "handshake_nonce"));
      tree.consume({i}, RatchetType::handshake, generation);
      VECTOR_CHECK(!tree.find({i}, RatchetType::handshake, generation));
    }
  }
}

// --- message-protection.json

struct Protection {
  const SuiteParameters* suite;
  GroupContext context;
  Bytes membership_key, sender_data_secret, encryption_secret, signature_priv, signature_pub;

  SecretTree keys() const { return SecretTree(*suite, {2}, SecretBytes::copy_of(encryption_secret)); }
};

Result<Bytes> open_any(const Protection& p, const Bytes& bytes) {
  SATSUMA_TRY(const MLSMessage message, MLSMessage::decode(bytes));
  AuthenticatedContent content;
  if (const auto* public_message = message.as<PublicMessage>()) {
    SATSUMA_TRY(content, unprotect_public(*p.suite, p.membership_key, *public_message, p.context));
  } else if (const auto* private_message = message.as<PrivateMessage>()) {
    SecretTree keys = p.keys();
    SATSUMA_TRY(content, unprotect_private(*p.suite, p.sender_data_secret, keys, *private_message));
  } else {
    return mls_wire_format_unexpected;
  }
  SATSUMA_TRY_VOID(content.verify_signature(*p.suite, p.signature_pub, p.context));
  if (content.content.sender != Sender{SenderType::member, 1}) return mls_sender_invalid;
  ByteWriter writer;
  if (const auto* application = std::get_if<ApplicationData>(&content.content.content)) {
    writer.bytes(application->data);
  } else {
    write_content(writer, content.content.content);
  }
  return std::move(writer).take();
}

Result<Bytes> protect_any(const Protection& p, const Content& body, bool as_private) {
  AuthenticatedContent content;
  content.wire_format = as_private ? WireFormat::private_message : WireFormat::public_message;
  content.content = {p.context.group_id, p.context.epoch, {SenderType::member, 1}, {}, body};
  if (std::get_if<Commit>(&body) != nullptr) content.auth.confirmation_tag = Bytes(p.suite->hash_size(), 7);
  SATSUMA_TRY_VOID(content.sign(*p.suite, p.signature_priv, p.context));
  if (!as_private) return MLSMessage{protect_public(*p.suite, p.membership_key, content, p.context)}.encode();
  CountingRandom random;
  SecretTree keys = p.keys();
  SATSUMA_TRY(PrivateMessage message, protect_private(*p.suite, p.sender_data_secret, keys, content, 64, random));
  return MLSMessage{std::move(message)}.encode();
}

void message_protection(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  const Protection p{suite,
                     {protocol_version_mls10, suite->id, hex(json, "group_id"), number(json, "epoch"), hex(json, "tree_hash"),
                      hex(json, "confirmed_transcript_hash"), {}},
                     hex(json, "membership_key"), hex(json, "sender_data_secret"), hex(json, "encryption_secret"), hex(json, "signature_priv"),
                     hex(json, "signature_pub")};
  const Bytes proposal = hex(json, "proposal");
  const Bytes commit = hex(json, "commit");
  const Bytes application = hex(json, "application");
  for (const char* key : {"proposal_pub", "proposal_priv"}) {
    VECTOR_TRY(const Bytes raw, open_any(p, hex(json, key)));
    VECTOR_CHECK(raw == proposal);
  }
  for (const char* key : {"commit_pub", "commit_priv"}) {
    VECTOR_TRY(const Bytes raw, open_any(p, hex(json, key)));
    VECTOR_CHECK(raw == commit);
  }
  VECTOR_TRY(const Bytes data, open_any(p, hex(json, "application_priv")));
  VECTOR_CHECK(data == application);

  VECTOR_TRY(const Proposal parsed_proposal, codec::decode<Proposal>(proposal));
  VECTOR_TRY(const Commit parsed_commit, codec::decode<Commit>(commit));
  for (const bool as_private : {false, true}) {
    VECTOR_TRY(const Bytes own_proposal, protect_any(p, parsed_proposal, as_private));
    VECTOR_TRY(const Bytes proposal_again, open_any(p, own_proposal));
    VECTOR_CHECK(proposal_again == proposal);
    VECTOR_TRY(const Bytes own_commit, protect_any(p, parsed_commit, as_private));
    VECTOR_TRY(const Bytes commit_again, open_any(p, own_commit));
    VECTOR_CHECK(commit_again == commit);
  }
  VECTOR_TRY(const Bytes own_application, protect_any(p, ApplicationData{application}, true));
  VECTOR_TRY(const Bytes application_again, open_any(p, own_application));
  VECTOR_CHECK(application_again == application);
  VECTOR_TRY(const Bytes public_application, protect_any(p, ApplicationData{application}, false));
  VECTOR_CHECK(!open_any(p, public_application));
}

// --- key-schedule.json, psk_secret.json, transcript-hashes.json

void key_schedule(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  GroupContext context{protocol_version_mls10, suite->id, hex(json, "group_id"), 0, {}, {}, {}};
  SecretBytes init_secret = SecretBytes::copy_of(hex(json, "initial_init_secret"));
  for (const Json& epoch : json["epochs"]) {
    context.tree_hash = hex(epoch, "tree_hash");
    context.confirmed_transcript_hash = hex(epoch, "confirmed_transcript_hash");
    const Bytes encoded = codec::encode(context);
    VECTOR_CHECK(encoded == hex(epoch, "group_context"));
    const SecretBytes joiner = derive_joiner_secret(*suite, init_secret.view(), hex(epoch, "commit_secret"), encoded);
    VECTOR_CHECK(is(joiner, epoch, "joiner_secret"));
    VECTOR_CHECK(is(derive_welcome_secret(*suite, joiner.view(), hex(epoch, "psk_secret")), epoch, "welcome_secret"));
    EpochSecrets secrets = derive_epoch_secrets(*suite, joiner.view(), hex(epoch, "psk_secret"), encoded);
    VECTOR_CHECK(is(secrets.init_secret, epoch, "init_secret"));
    VECTOR_CHECK(is(secrets.sender_data_secret, epoch, "sender_data_secret"));
    VECTOR_CHECK(is(secrets.encryption_secret, epoch, "encryption_secret"));
    VECTOR_CHECK(is(secrets.exporter_secret, epoch, "exporter_secret"));
    VECTOR_CHECK(is(secrets.epoch_authenticator, epoch, "epoch_authenticator"));
    VECTOR_CHECK(is(secrets.external_secret, epoch, "external_secret"));
    VECTOR_CHECK(is(secrets.confirmation_key, epoch, "confirmation_key"));
    VECTOR_CHECK(is(secrets.membership_key, epoch, "membership_key"));
    VECTOR_CHECK(is(secrets.resumption_psk, epoch, "resumption_psk"));
    VECTOR_CHECK(derive_external_key_pair(*suite, secrets.external_secret.view()).public_key == hex(epoch, "external_pub"));
    const Json& exporter = epoch["exporter"];
    VECTOR_CHECK(is(mls_exporter(*suite, secrets.exporter_secret.view(), exporter["label"].get<std::string>(), hex(exporter, "context"),
                                 size_from(exporter, "length")),
                    exporter, "secret"));
    init_secret = std::move(secrets.init_secret);
    ++context.epoch;
  }
}

void psk_secret(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  std::vector<PskValue> psks;
  for (const Json& psk : json["psks"]) {
    PreSharedKeyId id;
    id.external_id = hex(psk, "psk_id");
    id.nonce = hex(psk, "psk_nonce");
    psks.push_back({std::move(id), SecretBytes::copy_of(hex(psk, "psk"))});
  }
  VECTOR_CHECK(is(derive_psk_secret(*suite, psks), json, "psk_secret"));
}

void transcript_hashes(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  VECTOR_TRY(const AuthenticatedContent content, codec::decode<AuthenticatedContent>(hex(json, "authenticated_content")));
  const Bytes confirmed = confirmed_transcript_hash(*suite, hex(json, "interim_transcript_hash_before"), content);
  VECTOR_CHECK(confirmed == hex(json, "confirmed_transcript_hash_after"));
  VECTOR_CHECK(interim_transcript_hash(*suite, confirmed, content.auth.confirmation_tag) == hex(json, "interim_transcript_hash_after"));
  VECTOR_CHECK(compute_confirmation_tag(*suite, hex(json, "confirmation_key"), confirmed) == content.auth.confirmation_tag);
}

// --- welcome.json

void welcome(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  VECTOR_TRY(const KeyPackage package, MLSMessage::decode_as<KeyPackage>(hex(json, "key_package")));
  VECTOR_TRY(const Welcome message, MLSMessage::decode_as<Welcome>(hex(json, "welcome")));
  const EncryptedGroupSecrets* own = message.find(package.reference(*suite));
  VECTOR_CHECK(own != nullptr);
  VECTOR_TRY(const GroupSecrets secrets,
             decrypt_group_secrets(*suite, *own, hex(json, "init_priv"), package.init_key, message.encrypted_group_info));
  const SecretBytes psk = zero_secret(*suite);
  const SecretBytes welcome_secret = derive_welcome_secret(*suite, secrets.joiner_secret.view(), psk.view());
  VECTOR_TRY(const GroupInfo info, decrypt_group_info(*suite, welcome_secret.view(), message.encrypted_group_info));
  VECTOR_TRY_VOID(info.verify_signature(*suite, hex(json, "signer_pub")));
  const EpochSecrets epoch = derive_epoch_secrets(*suite, secrets.joiner_secret.view(), psk.view(), codec::encode(info.group_context));
  VECTOR_CHECK(compute_confirmation_tag(*suite, epoch.confirmation_key.view(), info.group_context.confirmed_transcript_hash) == info.confirmation_tag);
}

// --- tree-operations.json, tree-validation.json

void tree_operations(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  VECTOR_TRY(RatchetTree tree, RatchetTree::parse(suite->id, hex(json, "tree_before")));
  VECTOR_CHECK(equal(tree.tree_hash().view(), hex(json, "tree_hash_before")));
  VECTOR_TRY(const Proposal proposal, codec::decode<Proposal>(hex(json, "proposal")));
  if (const auto* add = proposal.as<Add>()) {
    VECTOR_TRY_VOID(tree.add_leaf(add->key_package.leaf_node));
  } else if (const auto* update = proposal.as<Update>()) {
    VECTOR_TRY_VOID(tree.update_leaf({static_cast<std::uint32_t>(number(json, "proposal_sender"))}, update->leaf_node));
  } else if (const auto* remove = proposal.as<Remove>()) {
    VECTOR_TRY_VOID(tree.remove_leaf(remove->removed));
  } else {
    VECTOR_CHECK(false && "a tree operation");
  }
  VECTOR_CHECK(tree.serialise() == hex(json, "tree_after"));
  VECTOR_CHECK(equal(tree.tree_hash().view(), hex(json, "tree_hash_after")));
}

void tree_validation(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  const Bytes encoded = hex(json, "tree");
  VECTOR_TRY(const RatchetTree tree, RatchetTree::parse(suite->id, encoded));
  VECTOR_CHECK(tree.serialise() == encoded);
  const Json& hashes = json["tree_hashes"];
  const Json& resolutions = json["resolutions"];
  VECTOR_CHECK(hashes.size() == tree.node_width() && resolutions.size() == tree.node_width());
  for (std::uint32_t i = 0; i < tree.node_width(); ++i) {
    VECTOR_CHECK(equal(tree.tree_hash({i}).view(), hex(hashes[i])));
    std::vector<NodeIndex> expected;
    for (const Json& node : resolutions[i]) expected.push_back({node.get<std::uint32_t>()});
    VECTOR_CHECK(tree.resolution({i}) == expected);
  }
  VECTOR_TRY_VOID(tree.verify_parent_hashes());
  const Bytes group_id = hex(json, "group_id");
  for (const LeafIndex member : tree.members()) VECTOR_TRY_VOID(tree.leaf(member)->verify_signature(*suite, group_id, member));
  GroupContext context{protocol_version_mls10, suite->id, group_id, 0, to_bytes(tree.tree_hash().view()), {}, {}};
  VECTOR_TRY_VOID(verify_tree(tree, context));
}

// --- treekem.json

void treekem(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  VECTOR_TRY(const RatchetTree tree, RatchetTree::parse(suite->id, hex(json, "ratchet_tree")));
  const Bytes group_id = hex(json, "group_id");
  GroupContext context{protocol_version_mls10, suite->id, group_id, number(json, "epoch"), {}, hex(json, "confirmed_transcript_hash"), {}};

  std::map<LeafIndex, PrivateTree> members;
  std::map<LeafIndex, Bytes> signature_keys;
  for (const Json& member : json["leaves_private"]) {
    const LeafIndex leaf{static_cast<std::uint32_t>(number(member, "index"))};
    VECTOR_CHECK(tree.leaf(leaf) != nullptr);
    PrivateTree keys(leaf);
    VECTOR_TRY(crypto::KemKeyPair leaf_keys, crypto::kem_key_pair_from_private(suite->kem, hex(member, "encryption_priv")));
    VECTOR_CHECK(leaf_keys.public_key == tree.leaf(leaf)->encryption_key);
    keys.set(tree_math::node_of(leaf), std::move(leaf_keys));
    for (const Json& known : member["path_secrets"]) {
      const NodeIndex node{static_cast<std::uint32_t>(number(known, "node"))};
      crypto::KemKeyPair node_keys = derive_node_keys(*suite, hex(known, "path_secret"));
      VECTOR_CHECK(!tree.is_blank(node) && equal(node_keys.public_key, tree.public_key(node)));
      keys.set(node, std::move(node_keys));
    }
    members.emplace(leaf, std::move(keys));
    signature_keys.emplace(leaf, hex(member, "signature_priv"));
  }

  for (const Json& update : json["update_paths"]) {
    const LeafIndex sender{static_cast<std::uint32_t>(number(update, "sender"))};
    VECTOR_TRY(const UpdatePath path, codec::decode<UpdatePath>(hex(update, "update_path")));
    VECTOR_TRY_VOID(path.leaf_node.verify_signature(*suite, group_id, sender));
    RatchetTree after = tree;
    std::vector<Bytes> public_keys;
    for (const UpdatePathNode& node : path.nodes) public_keys.push_back(node.encryption_key);
    VECTOR_TRY(const Bytes parent_hash, after.apply_path(sender, public_keys));
    VECTOR_CHECK(parent_hash == path.leaf_node.parent_hash);
    after.set_leaf_after_path(sender, path.leaf_node);
    VECTOR_CHECK(equal(after.tree_hash().view(), hex(update, "tree_hash_after")));
    context.tree_hash = to_bytes(after.tree_hash().view());
    for (const auto& [leaf, keys] : members) {
      if (leaf == sender) continue;
      PrivateTree own = keys.clone();
      own.forget_stale(after);
      VECTOR_TRY(const SecretBytes commit_secret, decrypt_path(after, own, sender, path.nodes, {}, codec::encode(context)));
      VECTOR_CHECK(is(commit_secret, update, "commit_secret"));
      const crypto::KemKeyPair* ancestor = own.find(tree_math::common_ancestor(leaf, sender));
      VECTOR_CHECK(ancestor != nullptr);
      VECTOR_CHECK(equal(derive_node_keys(*suite, hex(update["path_secrets"][leaf.value])).private_key.view(), ancestor->private_key.view()));
    }

    // The same with a path of our own.
    CountingRandom random;
    const PathSecrets secrets = generate_path_secrets(tree, sender, random);
    RatchetTree ours = tree;
    LeafNode new_leaf = *tree.leaf(sender);
    new_leaf.encryption_key = secrets.leaf_keys.public_key;
    new_leaf.source = LeafNodeSource::commit;
    VECTOR_TRY(new_leaf.parent_hash, ours.apply_path(sender, secrets.public_keys()));
    VECTOR_TRY_VOID(new_leaf.sign(*suite, signature_keys[sender], group_id, sender));
    ours.set_leaf_after_path(sender, new_leaf);
    VECTOR_TRY_VOID(ours.verify_parent_hashes());
    context.tree_hash = to_bytes(ours.tree_hash().view());
    VECTOR_TRY(const std::vector<UpdatePathNode> nodes, encrypt_path(ours, secrets, {}, codec::encode(context), random));
    for (const auto& [leaf, keys] : members) {
      if (leaf == sender) continue;
      PrivateTree own = keys.clone();
      own.forget_stale(ours);
      VECTOR_TRY(const SecretBytes commit_secret, decrypt_path(ours, own, sender, nodes, {}, codec::encode(context)));
      VECTOR_CHECK(commit_secret == secrets.commit_secret);
    }
  }
}

// --- messages.json

template <class T>
bool same_bytes(const Bytes& bytes) {
  const auto value = codec::decode<T>(bytes);
  return value && codec::encode(*value) == bytes;
}

// The vectors hold the body alone; a Proposal has its type before it.
bool proposal_body(std::uint16_t type, const Bytes& body) {
  ByteWriter whole;
  whole.u16(type);
  whole.bytes(body);
  return same_bytes<Proposal>(to_bytes(whole.view()));
}

template <class T>
bool message_with(const Bytes& bytes) {
  const auto message = MLSMessage::decode(bytes);
  return message && message->template as<T>() != nullptr && message->encode() == bytes;
}

void messages(const Json& json, Entry& entry) {
  VECTOR_CHECK(message_with<Welcome>(hex(json, "mls_welcome")));
  VECTOR_CHECK(message_with<GroupInfo>(hex(json, "mls_group_info")));
  VECTOR_CHECK(message_with<KeyPackage>(hex(json, "mls_key_package")));
  const Bytes tree_bytes = hex(json, "ratchet_tree");
  const auto tree = RatchetTree::parse(CipherSuite{1}, tree_bytes);
  VECTOR_CHECK(tree && tree->serialise() == tree_bytes);
  const Bytes secrets_bytes = hex(json, "group_secrets");
  const auto secrets = codec::decode<GroupSecrets>(secrets_bytes);
  VECTOR_CHECK(secrets && equal(secrets->encode().view(), secrets_bytes));
  VECTOR_CHECK(proposal_body(proposal_type::add, hex(json, "add_proposal")));
  VECTOR_CHECK(proposal_body(proposal_type::update, hex(json, "update_proposal")));
  VECTOR_CHECK(proposal_body(proposal_type::remove, hex(json, "remove_proposal")));
  VECTOR_CHECK(proposal_body(proposal_type::psk, hex(json, "pre_shared_key_proposal")));
  VECTOR_CHECK(proposal_body(proposal_type::reinit, hex(json, "re_init_proposal")));
  VECTOR_CHECK(proposal_body(proposal_type::external_init, hex(json, "external_init_proposal")));
  VECTOR_CHECK(proposal_body(proposal_type::group_context_extensions, hex(json, "group_context_extensions_proposal")));
  VECTOR_CHECK(same_bytes<Commit>(hex(json, "commit")));
  VECTOR_CHECK(message_with<PublicMessage>(hex(json, "public_message_application")));
  VECTOR_CHECK(message_with<PublicMessage>(hex(json, "public_message_proposal")));
  VECTOR_CHECK(message_with<PublicMessage>(hex(json, "public_message_commit")));
  VECTOR_CHECK(message_with<PrivateMessage>(hex(json, "private_message")));
}

// --- passive-client-*.json and passive/*.json

Result<VerifiedMessage> receive(Group& group, const Bytes& bytes) {
  SATSUMA_TRY(const MLSMessage message, MLSMessage::decode(bytes));
  if (const auto* public_message = message.as<PublicMessage>()) return group.verify(*public_message);
  if (const auto* private_message = message.as<PrivateMessage>()) return group.unprotect(*private_message);
  return mls_wire_format_unexpected;
}

void passive_client(const Json& json, Entry& entry) {
  const SuiteParameters* suite = suite_of(json, entry);
  if (suite == nullptr) return;
  KeyPackageBundle bundle;
  VECTOR_TRY(bundle.key_package, MLSMessage::decode_as<KeyPackage>(hex(json, "key_package")));
  VECTOR_TRY_VOID(verify_key_package(bundle.key_package));
  VECTOR_TRY(crypto::KemKeyPair init, crypto::kem_key_pair_from_private(suite->kem, hex(json, "init_priv")));
  VECTOR_TRY(crypto::KemKeyPair encryption, crypto::kem_key_pair_from_private(suite->kem, hex(json, "encryption_priv")));
  VECTOR_TRY(crypto::SignatureKeyPair signature, crypto::signature_key_pair_from_private(suite->signature, hex(json, "signature_priv")));
  VECTOR_CHECK(init.public_key == bundle.key_package.init_key);
  VECTOR_CHECK(encryption.public_key == bundle.key_package.leaf_node.encryption_key);
  VECTOR_CHECK(signature.public_key == bundle.key_package.leaf_node.signature_key);
  bundle.init_private_key = std::move(init.private_key);
  bundle.encryption_private_key = std::move(encryption.private_key);
  bundle.signature_private_key = std::move(signature.private_key);

  PskStore psks;
  for (const Json& psk : json["external_psks"]) psks.add_external(hex(psk, "psk_id"), hex(psk, "psk"));
  JoinParams params;
  params.psks = &psks;
  if (json["ratchet_tree"].is_string()) params.ratchet_tree = hex(json, "ratchet_tree");
  VECTOR_TRY(const Welcome message, MLSMessage::decode_as<Welcome>(hex(json, "welcome")));
  VECTOR_TRY(Group group, Group::join(message, bundle, params));
  VECTOR_CHECK(equal(group.epoch_authenticator(), hex(json, "initial_epoch_authenticator")));

  // The server's follower takes the same way where it can: public messages, from our own group info on.
  VECTOR_TRY(const Bytes own_info, group.group_info());
  VECTOR_TRY(const GroupInfo info, MLSMessage::decode_as<GroupInfo>(own_info));
  VECTOR_TRY(PublicGroup follower, PublicGroup::from_group_info(info));
  bool following = true;

  for (const Json& epoch : json["epochs"]) {
    for (const Json& proposal : epoch["proposals"]) {
      const Bytes bytes = hex(proposal);
      VECTOR_TRY(const VerifiedMessage verified, receive(group, bytes));
      VECTOR_TRY_VOID(group.cache_proposal(verified));
      const auto as_public = MLSMessage::decode_as<PublicMessage>(bytes);
      following = following && as_public;
      if (following) VECTOR_TRY_VOID(follower.handle_proposal(*as_public));
    }
    const Bytes commit = hex(epoch, "commit");
    VECTOR_TRY(const VerifiedMessage verified, receive(group, commit));
    VECTOR_TRY(StagedCommit staged, group.stage(verified, &psks));
    VECTOR_TRY_VOID(group.merge(std::move(staged)));
    VECTOR_CHECK(equal(group.epoch_authenticator(), hex(epoch, "epoch_authenticator")));

    const auto as_public = MLSMessage::decode_as<PublicMessage>(commit);
    following = following && as_public;
    if (following) {
      VECTOR_TRY(StagedPublicCommit followed, follower.verify(*as_public));
      VECTOR_TRY_VOID(follower.apply(std::move(followed)));
      VECTOR_CHECK(follower.context() == group.context());
      VECTOR_TRY(follower, PublicGroup::deserialise(follower.serialise()));
    }
  }
}

} // namespace

const std::initializer_list<VectorFile> mls_files = {
    {"mls-test-vectors/tree-math.json", tree_math_entry},
    {"mls-test-vectors/deserialization.json", deserialization},
    {"mls-test-vectors/crypto-basics.json", crypto_basics},
    {"mls-test-vectors/secret-tree.json", secret_tree},
    {"mls-test-vectors/message-protection.json", message_protection},
    {"mls-test-vectors/key-schedule.json", key_schedule},
    {"mls-test-vectors/psk_secret.json", psk_secret},
    {"mls-test-vectors/transcript-hashes.json", transcript_hashes},
    {"mls-test-vectors/welcome.json", welcome},
    {"mls-test-vectors/tree-operations.json", tree_operations},
    {"mls-test-vectors/tree-validation.json", tree_validation},
    {"mls-test-vectors/treekem.json", treekem},
    {"mls-test-vectors/messages.json", messages},
    {"mls-test-vectors/passive-client-welcome.json", passive_client},
    {"mls-test-vectors/passive-client-handling-commit.json", passive_client},
    {"mls-test-vectors/passive-client-random.json", passive_client},
    {"mls-test-vectors/passive/application.json", passive_client},
    {"mls-test-vectors/passive/branch.json", passive_client},
    {"mls-test-vectors/passive/commit.json", passive_client},
    {"mls-test-vectors/passive/external_join.json", passive_client},
    {"mls-test-vectors/passive/external_proposals.json", passive_client},
    {"mls-test-vectors/passive/reinit.json", passive_client},
    {"mls-test-vectors/passive/welcome_join.json", passive_client},
};

} // namespace satsuma::vectors
