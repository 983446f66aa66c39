// A member who breaks the rules: contents that no honest member makes, rightly signed and protected, and Welcomes likewise.
// Whatever they are, the receiver's group stays as it is.
#include <cstddef>
#include <cstdint>

#include "../tests/mls/hostile_member.h"
#include "../tests/mls/seeded_random.h"
#include "mls/tree/stored.h"

using namespace satsuma;
using namespace satsuma::mls;
using internal::HostileMember;

namespace {

KeyPackageBundle person(std::string_view name, RandomSource& random) {
  KeyPackageParams params;
  params.credential = Credential::basic(as_bytes(name));
  return generate_key_package(params, generate_signature_keys(params.suite, random).value(), random).value();
}

/// Three members, of whom the second and the third have committed; the third is gone again. Made once: the states are loaded for each run.
struct Beginning {
  SecretBytes hostile, victim;
  KeyPackageBundle newcomer;
  Beginning() {
    SeededRandom random(3);
    const KeyPackageBundle b = person("b", random), c = person("c", random);
    newcomer = person("d", random);
    GroupParams params;
    params.group_id = {1, 2, 3, 4};
    Group a = Group::create(params, person("a", random), random).value();
    CommitParams add;
    add.add = {b.key_package, c.key_package};
    PendingCommit first = a.commit(add, random).value();
    const Welcome welcome = MLSMessage::decode_as<Welcome>(*first.welcome).value();
    SATSUMA_CHECK(a.merge(std::move(first.staged)).has_value());
    Group second = Group::join(welcome, b).value();
    PendingCommit commit = second.commit({}, random).value();
    SATSUMA_CHECK(a.merge(std::move(a.stage(commit.commit).value())).has_value());
    SATSUMA_CHECK(second.merge(std::move(commit.staged)).has_value());
    hostile = a.store().value();
    victim = second.store().value();
  }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  static const Beginning beginning;
  SeededRandom random(4);
  Group hostile = Group::load(beginning.hostile.view()).value();
  Group victim = Group::load(beginning.victim.view()).value();
  ByteReader reader(ByteView(data + 1, size - 1));

  if (data[0] % 4 == 3) { // a Welcome
    auto secrets = GroupSecrets::parse(reader);
    if (!secrets) return 0;
    auto info = GroupInfo::parse(reader);
    if (!info) return 0;
    const auto welcome = HostileMember::welcome(hostile, beginning.newcomer, *secrets, std::move(*info), random);
    if (welcome) (void)Group::join(*welcome, beginning.newcomer);
    return 0;
  }

  auto content = parse_content(reader, data[0] % 4 == 0 ? ContentType::proposal : ContentType::commit);
  if (!content) return 0;
  const SecretBytes before = victim.store().value();
  if (data[0] % 8 >= 4) {
    const auto message = HostileMember::send_private(hostile, std::move(*content), random).value();
    auto verified = victim.unprotect(MLSMessage::decode_as<PrivateMessage>(message).value());
    SATSUMA_CHECK(verified.has_value());
    const SecretBytes opened = victim.store().value(); // the key is used up
    if (verified->content().type() == ContentType::commit) SATSUMA_CHECK(!victim.stage(*verified).has_value() || victim.stage(*verified)->removes_self());
    SATSUMA_CHECK(victim.store().value() == opened);
    return 0;
  }
  const auto message = MLSMessage::decode_as<PublicMessage>(HostileMember::send_public(hostile, std::move(*content)).value());
  const auto verified = victim.verify(*message);
  SATSUMA_CHECK(verified.has_value());
  if (verified->content().type() == ContentType::commit) {
    const auto staged = victim.stage(*verified);
    SATSUMA_CHECK(!staged.has_value() || staged->removes_self()); // else it takes the right confirmation tag
    SATSUMA_CHECK(victim.store().value() == before);
  } else if (victim.cache_proposal(*verified)) {
    CommitParams params;
    params.include_cached_proposals = true;
    auto commit = victim.commit(params, random);
    if (commit) SATSUMA_CHECK(victim.merge(std::move(commit->staged)).has_value());
    if (commit) (void)hostile.stage(commit->commit);
  }
  return 0;
}
