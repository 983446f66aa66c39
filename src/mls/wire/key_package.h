#pragma once

#include "mls/wire/leaf_node.h"

namespace satsuma::mls {

/// RFC 9420 s.10. As parsed: nothing is verified yet, see verify_key_package in mls/tree/validation.h.
struct KeyPackage {
  std::uint16_t version = protocol_version_mls10;
  CipherSuite cipher_suite{};
  Bytes init_key;
  LeafNode leaf_node;
  Extensions extensions;
  Bytes signature;

  static Result<KeyPackage> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  Bytes to_be_signed() const;
  Result<void> sign(const SuiteParameters& suite, ByteView private_key);
  /// KeyPackageRef, s.5.2.
  Bytes reference(const SuiteParameters& suite) const;
  friend bool operator==(const KeyPackage&, const KeyPackage&) = default;
};

} // namespace satsuma::mls
