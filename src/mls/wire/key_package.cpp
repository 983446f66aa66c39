#include "mls/wire/key_package.h"

namespace satsuma::mls {

Result<KeyPackage> KeyPackage::parse(ByteReader& reader) {
  KeyPackage package;
  SATSUMA_TRY(package.version, reader.u16());
  if (package.version != protocol_version_mls10) return mls_version_unsupported;
  SATSUMA_TRY(const std::uint16_t suite, reader.u16());
  package.cipher_suite = static_cast<CipherSuite>(suite);
  SATSUMA_TRY(package.init_key, codec::read_bytes(reader));
  SATSUMA_TRY(package.leaf_node, LeafNode::parse(reader));
  SATSUMA_TRY(package.extensions, read_extensions(reader));
  SATSUMA_TRY(package.signature, codec::read_bytes(reader));
  return package;
}

Bytes KeyPackage::to_be_signed() const {
  ByteWriter writer;
  writer.u16(version);
  writer.u16(static_cast<std::uint16_t>(cipher_suite));
  codec::write_opaque(writer, init_key);
  leaf_node.write(writer);
  write_extensions(writer, extensions);
  return std::move(writer).take();
}

void KeyPackage::write(ByteWriter& writer) const {
  writer.bytes(to_be_signed());
  codec::write_opaque(writer, signature);
}

Result<void> KeyPackage::sign(const SuiteParameters& suite, ByteView private_key) {
  SATSUMA_TRY(signature, sign_with_label(suite, private_key, "KeyPackageTBS", to_be_signed()));
  return {};
}

Bytes KeyPackage::reference(const SuiteParameters& suite) const { return key_package_ref(suite, codec::encode(*this)); }

} // namespace satsuma::mls
