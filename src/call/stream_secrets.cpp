#include "call/stream_secrets.h"

namespace satsuma::call {

StreamSecrets::StreamSecrets(sframe::CipherSuite suite, SecretBytes epoch_secret, std::uint64_t era, std::uint64_t epoch,
                             const std::set<std::uint32_t>& leaves)
    : hash_(sframe::parameters(suite).hash) {
  const SecretBytes secret = std::move(epoch_secret);
  for (const std::uint32_t leaf : leaves) {
    ByteWriter info;
    info.bytes(as_bytes("satsuma member 1"));
    info.u64(era);
    info.u64(epoch);
    info.u32(leaf);
    members_[leaf].secret = derive(secret, info.view());
  }
}

SecretBytes StreamSecrets::derive(const SecretBytes& secret, ByteView info) const {
  return crypto::hkdf_expand(hash_, secret.view(), info, crypto::hash_size(hash_));
}

SecretBytes StreamSecrets::stream_key(const SecretBytes& member, StreamContext context) const {
  ByteWriter info;
  info.bytes(as_bytes("satsuma stream 1"));
  info.u32(static_cast<std::uint32_t>(context));
  return derive(member, info.view());
}

std::optional<SecretBytes> StreamSecrets::base_key(std::uint32_t leaf, StreamContext context) const {
  const auto member = members_.find(leaf);
  if (member == members_.end()) return std::nullopt;
  if (!member->second.secret.empty()) return stream_key(member->second.secret, context);
  const SecretBytes& stream = member->second.streams[static_cast<std::size_t>(context)];
  if (stream.empty()) return std::nullopt;
  return stream.clone();
}

void StreamSecrets::destroy(std::uint32_t leaf, StreamContext context) {
  const auto found = members_.find(leaf);
  if (found == members_.end()) return;
  Member& member = found->second;
  if (!member.secret.empty()) {
    for (std::size_t i = 0; i < stream_contexts; ++i) {
      const auto other = static_cast<StreamContext>(i);
      if (other != context) member.streams[i] = stream_key(member.secret, other);
    }
    member.secret = {};
  }
  member.streams[static_cast<std::size_t>(context)] = {};
}

} // namespace satsuma::call
