#include "mls/drafts/safe_exporter.h"

#include <bitset>

#include "mls/group/labels.h"
#include "mls/tree/stored.h"

namespace satsuma::mls::drafts {

namespace {

constexpr std::uint8_t root_level = 16;
constexpr std::size_t components = std::size_t{1} << root_level;
/// Kinds from 64 on are of states beside the RFC's.
constexpr auto stored_kind = static_cast<StoredKind>(64);

} // namespace

Result<SafeExporter> SafeExporter::begin(Group& group) {
  SATSUMA_TRY(SecretBytes root, group.take_further_secret());
  SafeExporter exporter(group.tree().suite(), group.epoch());
  exporter.secrets_.emplace(Place{root_level, 0}, std::move(root));
  return exporter;
}

Result<SecretBytes> SafeExporter::export_secret(ComponentId component) {
  std::uint8_t level = 0;
  auto found = secrets_.end();
  while (level <= root_level && (found = secrets_.find({level, static_cast<std::uint32_t>(component >> level)})) == secrets_.end()) ++level;
  if (found == secrets_.end()) return mls_component_exported;
  SecretBytes secret = std::move(found->second);
  secrets_.erase(found);
  // RFC 9420 s.9: each node's children by "tree"; the node goes, the child beside our way stays.
  for (; level > 0; --level) {
    const auto child = [&](std::string_view side) { return expand_with_label(*suite_, secret.view(), "tree", as_bytes(side), suite_->hash_size()); };
    SecretBytes left = child("left");
    SecretBytes right = child("right");
    const auto below = static_cast<std::uint8_t>(level - 1);
    const std::uint32_t ours = component >> below;
    const bool goes_right = (ours & 1) != 0;
    secrets_.emplace(Place{below, ours ^ 1}, std::move(goes_right ? left : right));
    secret = std::move(goes_right ? right : left);
  }
  return secret;
}

SecretBytes SafeExporter::store() const {
  ByteWriter writer(64 + secrets_.size() * (6 + suite_->hash_size()) + stored_digest_size); // does not grow: nothing is left behind
  write_stored_header(writer, stored_kind);
  writer.u16(static_cast<std::uint16_t>(suite_->id));
  writer.u64(epoch_);
  writer.u32(static_cast<std::uint32_t>(secrets_.size()));
  for (const auto& [place, secret] : secrets_) {
    writer.u8(place.level);
    writer.u32(place.first);
    writer.bytes(secret.view());
  }
  writer.bytes(stored_digest(writer.view()));
  SecretBytes out = SecretBytes::copy_of(writer.view());
  wipe(writer.mutable_view());
  return out;
}

Result<SafeExporter> SafeExporter::load(ByteView stored) {
  SATSUMA_TRY(ByteReader reader, open_stored(stored, stored_kind));
  SATSUMA_TRY(const std::uint16_t id, reader.u16());
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(static_cast<CipherSuite>(id)));
  SATSUMA_TRY(const Epoch epoch, reader.u64());
  SafeExporter exporter(*suite, epoch);
  SATSUMA_TRY(const std::uint32_t count, reader.u32());
  // No component may come from two secrets: it could be exported twice.
  std::bitset<components> reached;
  for (std::uint32_t i = 0; i < count; ++i) {
    Place place;
    SATSUMA_TRY(place.level, reader.u8());
    SATSUMA_TRY(place.first, reader.u32());
    if (place.level > root_level || place.first >= components >> place.level) return mls_stored_invalid;
    for (std::size_t component = std::size_t{place.first} << place.level; component < (std::size_t{place.first} + 1) << place.level; ++component) {
      if (reached.test(component)) return mls_stored_invalid;
      reached.set(component);
    }
    SATSUMA_TRY(const ByteView secret, reader.bytes(suite->hash_size()));
    exporter.secrets_.emplace(place, SecretBytes::copy_of(secret));
  }
  SATSUMA_TRY_VOID(reader.expect_end());
  return exporter;
}

} // namespace satsuma::mls::drafts
