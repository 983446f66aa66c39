#include "mls/wire/group_info.h"

namespace satsuma::mls {

Result<GroupContext> GroupContext::parse(ByteReader& reader) {
  GroupContext context;
  SATSUMA_TRY(context.version, reader.u16());
  if (context.version != protocol_version_mls10) return mls_version_unsupported;
  SATSUMA_TRY(const std::uint16_t suite, reader.u16());
  context.cipher_suite = static_cast<CipherSuite>(suite);
  SATSUMA_TRY(context.group_id, codec::read_bytes(reader));
  SATSUMA_TRY(context.epoch, reader.u64());
  SATSUMA_TRY(context.tree_hash, codec::read_bytes(reader));
  SATSUMA_TRY(context.confirmed_transcript_hash, codec::read_bytes(reader));
  SATSUMA_TRY(context.extensions, read_extensions(reader));
  return context;
}

void GroupContext::write(ByteWriter& writer) const {
  writer.u16(version);
  writer.u16(static_cast<std::uint16_t>(cipher_suite));
  codec::write_opaque(writer, group_id);
  writer.u64(epoch);
  codec::write_opaque(writer, tree_hash);
  codec::write_opaque(writer, confirmed_transcript_hash);
  write_extensions(writer, extensions);
}

Result<GroupInfo> GroupInfo::parse(ByteReader& reader) {
  GroupInfo info;
  SATSUMA_TRY(info.group_context, GroupContext::parse(reader));
  SATSUMA_TRY(info.extensions, read_extensions(reader));
  SATSUMA_TRY(info.confirmation_tag, codec::read_bytes(reader));
  SATSUMA_TRY(info.signer, read_leaf_index(reader));
  SATSUMA_TRY(info.signature, codec::read_bytes(reader));
  return info;
}

Bytes GroupInfo::to_be_signed() const {
  ByteWriter writer;
  group_context.write(writer);
  write_extensions(writer, extensions);
  codec::write_opaque(writer, confirmation_tag);
  writer.u32(signer.value);
  return std::move(writer).take();
}

void GroupInfo::write(ByteWriter& writer) const {
  writer.bytes(to_be_signed());
  codec::write_opaque(writer, signature);
}

Result<void> GroupInfo::sign(const SuiteParameters& suite, ByteView private_key) {
  SATSUMA_TRY(signature, sign_with_label(suite, private_key, "GroupInfoTBS", to_be_signed()));
  return {};
}

Result<void> GroupInfo::verify_signature(const SuiteParameters& suite, ByteView public_key) const {
  return verify_with_label(suite, public_key, "GroupInfoTBS", to_be_signed(), signature);
}

Result<EncryptedGroupSecrets> EncryptedGroupSecrets::parse(ByteReader& reader) {
  EncryptedGroupSecrets secrets;
  SATSUMA_TRY(secrets.new_member, codec::read_bytes(reader));
  SATSUMA_TRY(secrets.encrypted_group_secrets, HpkeCiphertext::parse(reader));
  return secrets;
}

void EncryptedGroupSecrets::write(ByteWriter& writer) const {
  codec::write_opaque(writer, new_member);
  encrypted_group_secrets.write(writer);
}

Result<Welcome> Welcome::parse(ByteReader& reader) {
  Welcome welcome;
  SATSUMA_TRY(const std::uint16_t suite, reader.u16());
  welcome.cipher_suite = static_cast<CipherSuite>(suite);
  SATSUMA_TRY(welcome.secrets, codec::read_vector<EncryptedGroupSecrets>(reader));
  SATSUMA_TRY(welcome.encrypted_group_info, codec::read_bytes(reader));
  return welcome;
}

void Welcome::write(ByteWriter& writer) const {
  writer.u16(static_cast<std::uint16_t>(cipher_suite));
  codec::write_vector(writer, secrets);
  codec::write_opaque(writer, encrypted_group_info);
}

const EncryptedGroupSecrets* Welcome::find(ByteView key_package_ref) const {
  for (const EncryptedGroupSecrets& entry : secrets) {
    if (equal(entry.new_member, key_package_ref)) return &entry;
  }
  return nullptr;
}

Result<RequiredCapabilities> RequiredCapabilities::parse(ByteReader& reader) {
  RequiredCapabilities required;
  SATSUMA_TRY(required.extensions, read_numbers(reader));
  SATSUMA_TRY(required.proposals, read_numbers(reader));
  SATSUMA_TRY(required.credentials, read_numbers(reader));
  return required;
}

void RequiredCapabilities::write(ByteWriter& writer) const {
  write_numbers(writer, extensions);
  write_numbers(writer, proposals);
  write_numbers(writer, credentials);
}

Result<ExternalSender> ExternalSender::parse(ByteReader& reader) {
  ExternalSender sender;
  SATSUMA_TRY(sender.signature_key, codec::read_bytes(reader));
  SATSUMA_TRY(sender.credential, Credential::parse(reader));
  return sender;
}

void ExternalSender::write(ByteWriter& writer) const {
  codec::write_opaque(writer, signature_key);
  credential.write(writer);
}

} // namespace satsuma::mls
