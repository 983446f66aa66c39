// Stored states that somebody made up who can compute the digest: an error, or something that behaves.
#include <cstddef>
#include <cstdint>

#include "../tests/mls/seeded_random.h"
#include "mls/group/group.h"
#include "mls/tree/stored.h"

using namespace satsuma;
using namespace satsuma::mls;

namespace {

void use(Group& group, RandomSource& random) {
  const SecretBytes stored = group.store().value();
  Group again = std::move(Group::load(stored.view()).value());
  SATSUMA_CHECK(again.store().value() == stored);
  if (auto message = group.protect_application(as_bytes("x"), {}, random)) (void)again.unprotect_application(*message);
  (void)group.group_info(true, true);
  (void)group.members();
  CommitParams params;
  params.include_cached_proposals = true;
  auto pending = group.commit(params, random);
  if (!pending) return;
  (void)again.stage(pending->commit);
  (void)group.merge(std::move(pending->staged));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  SeededRandom random(1);
  const auto kind = static_cast<StoredKind>(1 + data[0] % 4);
  ByteWriter writer;
  write_stored_header(writer, kind);
  writer.bytes(ByteView(data + 1, size - 1));
  writer.bytes(stored_digest(writer.view()));
  const ByteView stored = writer.view();
  switch (kind) {
    case StoredKind::public_group:
      if (auto group = PublicGroup::deserialise(stored)) SATSUMA_CHECK(PublicGroup::deserialise(group->serialise()).has_value());
      break;
    case StoredKind::group:
      if (auto group = Group::load(stored)) use(*group, random);
      break;
    case StoredKind::key_package_bundle:
      if (const auto bundle = KeyPackageBundle::load(stored)) SATSUMA_CHECK(equal(bundle->store().view(), stored));
      break;
    case StoredKind::pending_commit:
      if (auto pending = PendingCommit::load(stored)) SATSUMA_CHECK(PendingCommit::load(pending->store().view()).has_value());
      break;
  }
  (void)Group::load(ByteView(data, size));
  return 0;
}
