#include "mls/wire/proposal.h"

namespace satsuma::mls {

Result<PreSharedKeyId> PreSharedKeyId::parse(ByteReader& reader) {
  PreSharedKeyId id;
  SATSUMA_TRY(const std::uint8_t type, reader.u8());
  id.type = static_cast<Type>(type);
  switch (id.type) {
    case Type::external: {
      SATSUMA_TRY(id.external_id, codec::read_bytes(reader));
      break;
    }
    case Type::resumption: {
      SATSUMA_TRY(const std::uint8_t usage, reader.u8());
      if (usage < 1 || usage > 3) return mls_enum_invalid;
      id.usage = static_cast<ResumptionUsage>(usage);
      SATSUMA_TRY(id.group_id, codec::read_bytes(reader));
      SATSUMA_TRY(id.epoch, reader.u64());
      break;
    }
    default: return mls_enum_invalid;
  }
  SATSUMA_TRY(id.nonce, codec::read_bytes(reader));
  return id;
}

void PreSharedKeyId::write(ByteWriter& writer) const {
  writer.u8(static_cast<std::uint8_t>(type));
  if (type == Type::external) {
    codec::write_opaque(writer, external_id);
  } else {
    writer.u8(static_cast<std::uint8_t>(usage));
    codec::write_opaque(writer, group_id);
    writer.u64(epoch);
  }
  codec::write_opaque(writer, nonce);
}

const FurtherProposalType* find_type(FurtherProposalTypes types, std::uint16_t type) {
  for (const FurtherProposalType& known : types) {
    if (known.type == type) return &known;
  }
  return nullptr;
}

namespace {

Result<Proposal> parse_further(ByteReader& reader, std::uint16_t type, FurtherProposalTypes further) {
  const FurtherProposalType* const known = find_type(further, type);
  if (known == nullptr) return mls_proposal_unknown;
  const ByteView before = reader.rest();
  if (known->skip_body != nullptr) SATSUMA_TRY_VOID(known->skip_body(reader));
  return Proposal{FurtherProposal{type, to_bytes(before.first(before.size() - reader.remaining()))}};
}

} // namespace

Result<Proposal> Proposal::parse(ByteReader& reader, FurtherProposalTypes further) {
  SATSUMA_TRY(const std::uint16_t type, reader.u16());
  switch (type) {
    case proposal_type::add: {
      SATSUMA_TRY(KeyPackage key_package, KeyPackage::parse(reader));
      return Proposal{Add{std::move(key_package)}};
    }
    case proposal_type::update: {
      SATSUMA_TRY(LeafNode leaf, LeafNode::parse(reader));
      return Proposal{Update{std::move(leaf)}};
    }
    case proposal_type::remove: {
      SATSUMA_TRY(const LeafIndex removed, read_leaf_index(reader));
      return Proposal{Remove{removed}};
    }
    case proposal_type::psk: {
      SATSUMA_TRY(PreSharedKeyId id, PreSharedKeyId::parse(reader));
      return Proposal{PreSharedKey{std::move(id)}};
    }
    case proposal_type::reinit: {
      ReInit reinit;
      SATSUMA_TRY(reinit.group_id, codec::read_bytes(reader));
      SATSUMA_TRY(reinit.version, reader.u16());
      SATSUMA_TRY(const std::uint16_t suite, reader.u16());
      reinit.cipher_suite = static_cast<CipherSuite>(suite);
      SATSUMA_TRY(reinit.extensions, read_extensions(reader));
      return Proposal{std::move(reinit)};
    }
    case proposal_type::external_init: {
      SATSUMA_TRY(Bytes kem_output, codec::read_bytes(reader));
      return Proposal{ExternalInit{std::move(kem_output)}};
    }
    case proposal_type::group_context_extensions: {
      SATSUMA_TRY(Extensions extensions, read_extensions(reader));
      return Proposal{GroupContextExtensions{std::move(extensions)}};
    }
    default: return parse_further(reader, type, further);
  }
}

namespace {

struct ProposalBodyWriter {
  ByteWriter& writer;

  void operator()(const Add& p) const { p.key_package.write(writer); }
  void operator()(const Update& p) const { p.leaf_node.write(writer); }
  void operator()(const Remove& p) const { writer.u32(p.removed.value); }
  void operator()(const PreSharedKey& p) const { p.id.write(writer); }
  void operator()(const ReInit& p) const {
    codec::write_opaque(writer, p.group_id);
    writer.u16(p.version);
    writer.u16(static_cast<std::uint16_t>(p.cipher_suite));
    write_extensions(writer, p.extensions);
  }
  void operator()(const ExternalInit& p) const { codec::write_opaque(writer, p.kem_output); }
  void operator()(const GroupContextExtensions& p) const { write_extensions(writer, p.extensions); }
  void operator()(const FurtherProposal& p) const { writer.bytes(p.body); }
};

} // namespace

void Proposal::write(ByteWriter& writer) const {
  writer.u16(type());
  std::visit(ProposalBodyWriter{writer}, value);
}

Result<HpkeCiphertext> HpkeCiphertext::parse(ByteReader& reader) {
  HpkeCiphertext c;
  SATSUMA_TRY(c.kem_output, codec::read_bytes(reader));
  SATSUMA_TRY(c.ciphertext, codec::read_bytes(reader));
  return c;
}

void HpkeCiphertext::write(ByteWriter& writer) const {
  codec::write_opaque(writer, kem_output);
  codec::write_opaque(writer, ciphertext);
}

Result<UpdatePathNode> UpdatePathNode::parse(ByteReader& reader) {
  UpdatePathNode node;
  SATSUMA_TRY(node.encryption_key, codec::read_bytes(reader));
  SATSUMA_TRY(node.encrypted_path_secret, codec::read_vector<HpkeCiphertext>(reader));
  return node;
}

void UpdatePathNode::write(ByteWriter& writer) const {
  codec::write_opaque(writer, encryption_key);
  codec::write_vector(writer, encrypted_path_secret);
}

Result<UpdatePath> UpdatePath::parse(ByteReader& reader) {
  UpdatePath path;
  SATSUMA_TRY(path.leaf_node, LeafNode::parse(reader));
  SATSUMA_TRY(path.nodes, codec::read_vector<UpdatePathNode>(reader));
  return path;
}

void UpdatePath::write(ByteWriter& writer) const {
  leaf_node.write(writer);
  codec::write_vector(writer, nodes);
}

Result<ProposalOrRef> ProposalOrRef::parse(ByteReader& reader, FurtherProposalTypes further) {
  SATSUMA_TRY(const std::uint8_t type, reader.u8());
  if (type == 1) {
    SATSUMA_TRY(Proposal proposal, Proposal::parse(reader, further));
    return ProposalOrRef{std::move(proposal)};
  }
  if (type == 2) {
    SATSUMA_TRY(Bytes hash, codec::read_bytes(reader));
    return ProposalOrRef{Reference{std::move(hash)}};
  }
  return mls_enum_invalid;
}

void ProposalOrRef::write(ByteWriter& writer) const {
  if (const auto* proposal = std::get_if<Proposal>(&value)) {
    writer.u8(1);
    proposal->write(writer);
  } else if (const auto* reference = std::get_if<Reference>(&value)) {
    writer.u8(2);
    codec::write_opaque(writer, reference->hash);
  }
}

Result<Commit> Commit::parse(ByteReader& reader, FurtherProposalTypes further) {
  Commit commit;
  SATSUMA_TRY(commit.proposals,
              codec::read_vector_with<ProposalOrRef>(reader, [further](ByteReader& r) { return ProposalOrRef::parse(r, further); }));
  SATSUMA_TRY(commit.path, codec::read_optional<UpdatePath>(reader));
  return commit;
}

void Commit::write(ByteWriter& writer) const {
  codec::write_vector(writer, proposals);
  codec::write_optional(writer, path);
}

} // namespace satsuma::mls
