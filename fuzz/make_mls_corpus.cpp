// Writes the seeds of the MLS fuzz targets: make_mls_corpus fuzz/corpus. All of them come from groups made here.
#include <cstdio>
#include <string>

#include "../tests/mls/hostile_member.h"
#include "../tests/mls/seeded_random.h"
#include "mls/tree/stored.h"

using namespace satsuma;
using namespace satsuma::mls;

namespace {

std::string folder;

void write(const char* target, const char* name, std::uint8_t selector, ByteView bytes) {
  const std::string path = folder + "/" + target + "/" + name;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  SATSUMA_CHECK(file != nullptr);
  std::fputc(selector, file);
  std::fwrite(bytes.data(), 1, bytes.size(), file);
  std::fclose(file);
}

void write_stored(const char* name, std::uint8_t kind, ByteView state) {
  write("mls_stored_fuzz", name, static_cast<std::uint8_t>(kind - 1), state.subspan(stored_header_size, state.size() - stored_header_size - stored_digest_size));
}

KeyPackageBundle person(std::string_view name, RandomSource& random) {
  KeyPackageParams params;
  params.credential = Credential::basic(as_bytes(name));
  return generate_key_package(params, generate_signature_keys(params.suite, random).value(), random).value();
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  folder = argv[1];
  SeededRandom random(3); // as mls_member_fuzz: the contents made here are about its group
  const KeyPackageBundle b = person("b", random), c = person("c", random), d = person("d", random);
  GroupParams params;
  params.group_id = {1, 2, 3, 4};
  const KeyPackageBundle creator = person("a", random);
  Group a = Group::create(params, creator, random).value();
  CommitParams add;
  add.add = {b.key_package, c.key_package};
  PendingCommit first = a.commit(add, random).value();
  write("mls_messages_fuzz", "commit-add", 0, first.commit);
  write("mls_messages_fuzz", "welcome", 0, *first.welcome);
  write("mls_messages_fuzz", "key-package", 0, b.message());
  const Welcome welcome = MLSMessage::decode_as<Welcome>(*first.welcome).value();
  SATSUMA_CHECK(a.merge(std::move(first.staged)).has_value());
  Group second = Group::join(welcome, b).value();
  PendingCommit commit = second.commit({}, random).value();
  SATSUMA_CHECK(a.merge(std::move(a.stage(commit.commit).value())).has_value());
  SATSUMA_CHECK(second.merge(std::move(commit.staged)).has_value());

  const Bytes info = a.group_info(true, true).value();
  write("mls_messages_fuzz", "group-info", 0, info);
  write("mls_messages_fuzz", "ratchet-tree", 1, a.tree().serialise());
  write("mls_messages_fuzz", "application", 0, a.protect_application(as_bytes("hello"), {}, random).value());
  const GroupSecrets secrets{SecretBytes(32), SecretBytes(32), {}};
  write("mls_messages_fuzz", "group-secrets", 3, secrets.encode().view());

  const PublicGroup follower = PublicGroup::from_group_info(MLSMessage::decode_as<GroupInfo>(info).value()).value();
  CommitParams change;
  change.remove = {LeafIndex{2}};
  change.add = {d.key_package};
  const PendingCommit pending = a.commit(change, random).value();
  SATSUMA_CHECK(a.propose(Proposal{Remove{{2}}}, false, {}, random).has_value());
  write_stored("group", 2, a.store().value().view());
  write_stored("public-group", 1, follower.serialise());
  write_stored("key-package-bundle", 3, d.store().view());
  write_stored("pending-commit", 4, pending.store().view());

  const auto content = [](const Content& value) {
    ByteWriter writer;
    write_content(writer, value);
    return std::move(writer).take();
  };
  const auto content_of = [&content](ByteView message) { return content(MLSMessage::decode_as<PublicMessage>(message).value().content.content); };
  write("mls_member_fuzz", "commit", 1, content_of(pending.commit));
  write("mls_member_fuzz", "commit-private", 5, content_of(a.commit({}, random).value().commit));
  write("mls_member_fuzz", "proposal-add", 0, content(Proposal{Add{d.key_package}}));
  write("mls_member_fuzz", "proposal-remove", 0, content(Proposal{Remove{{2}}}));
  write("mls_member_fuzz", "proposal-extensions", 0, content(Proposal{GroupContextExtensions{{{extension_type::required_capabilities, {0, 0, 0}}}}}));
  ByteWriter welcoming;
  welcoming.bytes(secrets.encode().view());
  MLSMessage::decode_as<GroupInfo>(info).value().write(welcoming);
  write("mls_member_fuzz", "welcome", 3, welcoming.view());

  for (int i = 0; i < 4; ++i) {
    Bytes script(48);
    random.fill(script);
    write("mls_group_fuzz", ("life-" + std::to_string(i)).c_str(), static_cast<std::uint8_t>(i), script);
  }
}
