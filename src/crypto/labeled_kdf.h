#pragma once

#include <string_view>

#include "base/secret.h"
#include "crypto/hash.h"

/// LabeledExtract and LabeledExpand, RFC 9180 s.4. Internal to this folder.
namespace satsuma::crypto::internal {

inline constexpr std::string_view hpke_version = "HPKE-v1";

inline SecretBytes labeled_extract(HashAlgorithm hash, ByteView suite_id, ByteView salt, std::string_view label, ByteView input_key) {
  SecretBytes out(hash_size(hash));
  hmac_into(hash, salt, {as_bytes(hpke_version), suite_id, as_bytes(label), input_key}, out.mutable_view());
  return out;
}

inline SecretBytes labeled_expand(HashAlgorithm hash, ByteView suite_id, ByteView key, std::string_view label, ByteView info, std::size_t size) {
  ByteWriter labeled;
  labeled.u16(static_cast<std::uint16_t>(size));
  labeled.bytes(as_bytes(hpke_version));
  labeled.bytes(suite_id);
  labeled.bytes(as_bytes(label));
  labeled.bytes(info);
  return hkdf_expand(hash, key, labeled.view(), size);
}

} // namespace satsuma::crypto::internal
