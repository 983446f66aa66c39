#include "mls/wire/leaf_node.h"

#include <algorithm>

namespace satsuma::mls {

Result<LeafIndex> read_leaf_index(ByteReader& reader) {
  SATSUMA_TRY(const std::uint32_t value, reader.u32());
  return LeafIndex{value};
}

Result<NumberList> read_numbers(ByteReader& reader) {
  ByteReader attempt = reader;
  SATSUMA_TRY(const ByteView body, codec::read_opaque(attempt));
  ByteReader elements(body);
  NumberList out;
  while (!elements.empty()) {
    SATSUMA_TRY(const std::uint16_t value, elements.u16());
    out.push_back(value);
  }
  reader = attempt;
  return out;
}

void write_numbers(ByteWriter& writer, const NumberList& values) {
  codec::write_varint(writer, 2 * values.size());
  for (const std::uint16_t value : values) writer.u16(value);
}

Result<Credential> Credential::parse(ByteReader& reader) {
  Credential credential;
  SATSUMA_TRY(credential.type, reader.u16());
  switch (credential.type) {
    case credential_type::basic: {
      SATSUMA_TRY(credential.identity, codec::read_bytes(reader));
      return credential;
    }
    case credential_type::x509: {
      SATSUMA_TRY(credential.certificates, codec::read_vector_with<Bytes>(reader, [](ByteReader& r) { return codec::read_bytes(r); }));
      return credential;
    }
    default: return mls_enum_invalid; // its length is not known
  }
}

void Credential::write(ByteWriter& writer) const {
  writer.u16(type);
  if (type == credential_type::x509) {
    codec::write_vector_with(writer, certificates, [](ByteWriter& w, const Bytes& certificate) { codec::write_opaque(w, certificate); });
  } else {
    codec::write_opaque(writer, identity);
  }
}

Capabilities Capabilities::ours() {
  Capabilities c{{protocol_version_mls10}, {1, 2, 3, 4, 5, 6, 7}, {}, {}, {credential_type::basic}};
  constexpr auto post_quantum = CipherSuite::mlkem768x25519_chacha20poly1305_sha256_ed25519;
  if (require_suite_of_member(post_quantum)) c.cipher_suites.push_back(static_cast<std::uint16_t>(post_quantum));
  return c;
}

Result<Capabilities> Capabilities::parse(ByteReader& reader) {
  Capabilities c;
  SATSUMA_TRY(c.versions, read_numbers(reader));
  SATSUMA_TRY(c.cipher_suites, read_numbers(reader));
  SATSUMA_TRY(c.extensions, read_numbers(reader));
  SATSUMA_TRY(c.proposals, read_numbers(reader));
  SATSUMA_TRY(c.credentials, read_numbers(reader));
  return c;
}

void Capabilities::write(ByteWriter& writer) const {
  write_numbers(writer, versions);
  write_numbers(writer, cipher_suites);
  write_numbers(writer, extensions);
  write_numbers(writer, proposals);
  write_numbers(writer, credentials);
}

Result<LeafNode> LeafNode::parse(ByteReader& reader) {
  LeafNode leaf;
  SATSUMA_TRY(leaf.encryption_key, codec::read_bytes(reader));
  SATSUMA_TRY(leaf.signature_key, codec::read_bytes(reader));
  SATSUMA_TRY(leaf.credential, Credential::parse(reader));
  SATSUMA_TRY(leaf.capabilities, Capabilities::parse(reader));
  SATSUMA_TRY(const std::uint8_t source, reader.u8());
  leaf.source = static_cast<LeafNodeSource>(source);
  switch (leaf.source) {
    case LeafNodeSource::key_package: {
      SATSUMA_TRY(leaf.lifetime.not_before, reader.u64());
      SATSUMA_TRY(leaf.lifetime.not_after, reader.u64());
      break;
    }
    case LeafNodeSource::update: break;
    case LeafNodeSource::commit: {
      SATSUMA_TRY(leaf.parent_hash, codec::read_bytes(reader));
      break;
    }
    default: return mls_enum_invalid;
  }
  SATSUMA_TRY(leaf.extensions, read_extensions(reader));
  SATSUMA_TRY(leaf.signature, codec::read_bytes(reader));
  return leaf;
}

namespace {

void write_unsigned(ByteWriter& writer, const LeafNode& leaf) {
  codec::write_opaque(writer, leaf.encryption_key);
  codec::write_opaque(writer, leaf.signature_key);
  leaf.credential.write(writer);
  leaf.capabilities.write(writer);
  writer.u8(static_cast<std::uint8_t>(leaf.source));
  if (leaf.source == LeafNodeSource::key_package) {
    writer.u64(leaf.lifetime.not_before);
    writer.u64(leaf.lifetime.not_after);
  } else if (leaf.source == LeafNodeSource::commit) {
    codec::write_opaque(writer, leaf.parent_hash);
  }
  write_extensions(writer, leaf.extensions);
}

} // namespace

void LeafNode::write(ByteWriter& writer) const {
  write_unsigned(writer, *this);
  codec::write_opaque(writer, signature);
}

Bytes LeafNode::to_be_signed(ByteView group_id, LeafIndex index) const {
  ByteWriter writer;
  write_unsigned(writer, *this);
  if (source != LeafNodeSource::key_package) {
    codec::write_opaque(writer, group_id);
    writer.u32(index.value);
  }
  return std::move(writer).take();
}

Result<void> LeafNode::sign(const SuiteParameters& suite, ByteView private_key, ByteView group_id, LeafIndex index) {
  SATSUMA_TRY(signature, sign_with_label(suite, private_key, "LeafNodeTBS", to_be_signed(group_id, index)));
  return {};
}

Result<void> LeafNode::verify_signature(const SuiteParameters& suite, ByteView group_id, LeafIndex index) const {
  return verify_with_label(suite, signature_key, "LeafNodeTBS", to_be_signed(group_id, index), signature);
}

void list_extensions(Capabilities& capabilities, const Extensions& extensions) {
  for (const Extension& extension : extensions) {
    const bool by_default = extension.type >= extension_type::application_id && extension.type <= extension_type::external_senders;
    if (!by_default && !capabilities.extensions.contains(extension.type)) capabilities.extensions.push_back(extension.type);
  }
}

void list_what_is_used(LeafNode& leaf) {
  list_extensions(leaf.capabilities, leaf.extensions);
  NumberList& credentials = leaf.capabilities.credentials;
  if (!credentials.contains(leaf.credential.type)) credentials.push_back(leaf.credential.type);
}

Result<ParentNode> ParentNode::parse(ByteReader& reader) {
  ParentNode node;
  SATSUMA_TRY(node.encryption_key, codec::read_bytes(reader));
  SATSUMA_TRY(node.parent_hash, codec::read_bytes(reader));
  SATSUMA_TRY(node.unmerged_leaves, codec::read_vector_with<LeafIndex>(reader, read_leaf_index));
  return node;
}

void ParentNode::write(ByteWriter& writer) const {
  codec::write_opaque(writer, encryption_key);
  codec::write_opaque(writer, parent_hash);
  codec::write_varint(writer, 4 * unmerged_leaves.size());
  for (const LeafIndex leaf : unmerged_leaves) writer.u32(leaf.value);
}

} // namespace satsuma::mls
