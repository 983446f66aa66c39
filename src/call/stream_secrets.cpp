#include "call/stream_secrets.h"

namespace satsuma::call {

namespace {
constexpr std::string_view member_label = "satsuma member 1";
}

StreamSecrets::StreamSecrets(sframe::CipherSuite suite, SecretBytes epoch_secret, std::uint64_t era, std::uint64_t epoch,
                             std::vector<std::uint32_t> leaves)
    : hash_(sframe::parameters(suite).hash), leaves_(std::move(leaves)), members_(leaves_.size() * crypto::hash_size(hash_)) {
  SATSUMA_CHECK(std::ranges::is_sorted(leaves_));
  const SecretBytes secret = std::move(epoch_secret);
  crypto::HmacKey key(hash_, secret.view());
  for (const std::uint32_t leaf : leaves_) {
    std::array<std::uint8_t, member_label.size() + 20> info;
    SpanWriter writer(info);
    writer.bytes(as_bytes(member_label));
    writer.u64(era);
    writer.u64(epoch);
    writer.u32(leaf);
    key.expand_into(info, members_.mutable_view().subspan(offset(leaf), crypto::hash_size(hash_)));
  }
}

std::size_t StreamSecrets::offset(std::uint32_t leaf) const {
  return static_cast<std::size_t>(std::ranges::lower_bound(leaves_, leaf) - leaves_.begin()) * crypto::hash_size(hash_);
}

SecretBytes StreamSecrets::stream_key(ByteView member, StreamContext context) const {
  ByteWriter info;
  info.bytes(as_bytes("satsuma stream 1"));
  info.u32(static_cast<std::uint32_t>(context));
  return crypto::hkdf_expand(hash_, member, info.view(), crypto::hash_size(hash_));
}

std::optional<SecretBytes> StreamSecrets::base_key(std::uint32_t leaf, StreamContext context) const {
  if (!has_member(leaf)) return std::nullopt;
  const auto begun = begun_.find(leaf);
  if (begun == begun_.end()) return stream_key(members_.view().subspan(offset(leaf), crypto::hash_size(hash_)), context);
  const SecretBytes& stream = begun->second[static_cast<std::size_t>(context)];
  if (stream.empty()) return std::nullopt;
  return stream.clone();
}

void StreamSecrets::destroy(std::uint32_t leaf, StreamContext context) {
  if (!has_member(leaf)) return;
  const auto [streams, begins] = begun_.try_emplace(leaf);
  if (begins) {
    const MutableByteView secret = members_.mutable_view().subspan(offset(leaf), crypto::hash_size(hash_));
    for (std::size_t i = 0; i < stream_contexts; ++i) {
      const auto other = static_cast<StreamContext>(i);
      if (other != context) streams->second[i] = stream_key(secret, other);
    }
    wipe(secret);
  }
  streams->second[static_cast<std::size_t>(context)] = {};
}

} // namespace satsuma::call
