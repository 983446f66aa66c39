// What drafts add: a member who breaks the rules sends contents with their proposal types, rightly signed, one after the other, to a member and a follower
// who know these types; and stored exporters that somebody made up.
#include <cstddef>
#include <cstdint>

#include "../tests/mls/hostile_member.h"
#include "../tests/mls/seeded_random.h"
#include "mls/drafts/safe_exporter.h"
#include "mls/drafts/self_remove.h"
#include "mls/tree/stored.h"

using namespace satsuma;
using namespace satsuma::mls;
using internal::HostileMember;

namespace {

GroupLimits with_drafts() {
  GroupLimits limits;
  limits.additions = {drafts::SafeExporter::label, drafts::proposal_types};
  return limits;
}

KeyPackageBundle person(std::string_view name, RandomSource& random) {
  KeyPackageParams params;
  params.credential = Credential::basic(as_bytes(name));
  params.capabilities = drafts::with_self_remove(Capabilities::ours());
  return generate_key_package(params, generate_signature_keys(params.suite, random).value(), random).value();
}

/// Two members and a follower: made once, loaded for each run.
struct Beginning {
  SecretBytes hostile, victim;
  Bytes follower;
  Beginning() {
    SeededRandom random(3);
    const KeyPackageBundle b = person("b", random);
    Group a = Group::create({Bytes(4, 1), {}, 0, with_drafts()}, person("a", random), random).value();
    CommitParams add;
    add.add = {b.key_package};
    PendingCommit first = a.commit(add, random).value();
    JoinParams join;
    join.limits = with_drafts();
    Group second = Group::join(MLSMessage::decode_as<Welcome>(*first.welcome).value(), b, join).value();
    SATSUMA_CHECK(a.merge(std::move(first.staged)).has_value());
    hostile = a.store().value();
    victim = second.store().value();
    follower = PublicGroup::from_group_info(MLSMessage::decode_as<GroupInfo>(a.group_info().value()).value(), drafts::proposal_types).value().serialise();
  }
};

void try_member(ByteView bytes) {
  static const Beginning beginning;
  SeededRandom random(4);
  Group hostile = Group::load(beginning.hostile.view(), with_drafts()).value();
  Group victim = Group::load(beginning.victim.view(), with_drafts()).value();
  PublicGroup follower = PublicGroup::deserialise(beginning.follower, drafts::proposal_types).value();
  ByteReader reader(bytes);
  for (int i = 0; i < 8 && !reader.empty(); ++i) {
    auto content = parse_content(reader, reader.u8().value() % 2 == 0 ? ContentType::proposal : ContentType::commit, drafts::proposal_types);
    if (!content) return;
    const Bytes sent = HostileMember::send_public(hostile, std::move(*content)).value();
    const PublicMessage message = MLSMessage::decode_as<PublicMessage>(sent, drafts::proposal_types).value();
    const auto verified = victim.verify(message);
    SATSUMA_CHECK(verified.has_value());
    if (message.content.type() == ContentType::commit) {
      const auto staged = victim.stage(*verified);
      SATSUMA_CHECK(!staged.has_value() || staged->removes_self());
      const auto followed = follower.verify(message);
      // What the follower refuses, members refuse.
      if (!followed) SATSUMA_CHECK(!staged.has_value());
    } else {
      SATSUMA_CHECK(victim.cache_proposal(*verified).has_value() == follower.handle_proposal(message).has_value());
    }
  }
  CommitParams params;
  params.include_cached_proposals = true;
  auto pending = victim.commit(params, random);
  if (!pending) return;
  // All that an honest member commits is good for the follower too.
  SATSUMA_CHECK(follower.verify(MLSMessage::decode_as<PublicMessage>(pending->commit, drafts::proposal_types).value()).has_value());
  SATSUMA_CHECK(victim.merge(std::move(pending->staged)).has_value());
  (void)Group::load(victim.store().value().view(), with_drafts()).value();
}

void try_exporter(ByteView body) {
  ByteWriter writer;
  write_stored_header(writer, static_cast<StoredKind>(64));
  writer.bytes(body);
  writer.bytes(stored_digest(writer.view()));
  auto exporter = drafts::SafeExporter::load(writer.view());
  if (!exporter) return;
  const SecretBytes stored = exporter->store();
  SATSUMA_CHECK(drafts::SafeExporter::load(stored.view()).value().store() == stored);
  for (std::uint32_t component = 0; component < 65536; component += 4099) {
    const auto id = static_cast<drafts::ComponentId>(component);
    if (exporter->export_secret(id)) SATSUMA_CHECK(!exporter->export_secret(id).has_value());
  }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const ByteView rest(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    try_member(rest);
  } else {
    try_exporter(rest);
  }
  return 0;
}
