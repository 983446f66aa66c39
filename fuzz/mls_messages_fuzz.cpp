// Every decoder of MLS that strangers' bytes reach. What is decoded is written as the same bytes, and the checks that need no secret run on it.
#include <cstddef>
#include <cstdint>

#include "mls/group/welcome.h"
#include "mls/tree/public_group.h"

using namespace satsuma;
using namespace satsuma::mls;

namespace {

template <class T>
std::optional<T> round_trip(ByteView input) {
  auto decoded = codec::decode<T>(input);
  if (!decoded) return std::nullopt;
  SATSUMA_CHECK(equal(codec::encode(*decoded), input));
  return std::move(*decoded);
}

void message(ByteView input) {
  const auto decoded = round_trip<MLSMessage>(input);
  if (!decoded) return;
  if (const auto* package = decoded->as<KeyPackage>()) (void)verify_key_package(*package, 1'700'000'000);
  if (const auto* welcome = decoded->as<Welcome>()) (void)welcome->find(Bytes(32, 1));
  if (const auto* info = decoded->as<GroupInfo>()) {
    if (auto group = PublicGroup::from_group_info(*info)) SATSUMA_CHECK(PublicGroup::deserialise(group->serialise()).has_value());
  }
}

void ratchet_tree(CipherSuite suite, ByteView input) {
  if (find_suite(suite) == nullptr) return;
  auto tree = RatchetTree::parse(suite, input);
  if (!tree) return;
  SATSUMA_CHECK(equal(tree->serialise(), input));
  GroupContext context;
  context.cipher_suite = suite;
  context.tree_hash = to_bytes(tree->tree_hash().view());
  if (!verify_tree(*tree, context)) return;
  // Only what was verified is worked on.
  for (const LeafIndex member : tree->members()) (void)tree->filtered_direct_path(member);
  (void)tree->resolution(tree->root());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const ByteView input(data + 1, size - 1);
  switch (data[0] % 8) {
    case 0: message(input); break;
    case 1: ratchet_tree(CipherSuite{3}, input); break;
    case 2: ratchet_tree(static_cast<CipherSuite>(1 + data[0] / 8 % 7), input); break;
    case 3: {
      const auto decoded = codec::decode<GroupSecrets>(input);
      if (decoded) SATSUMA_CHECK(equal(decoded->encode().view(), input));
      break;
    }
    case 4: round_trip<RequiredCapabilities>(input); break;
    case 5: round_trip<ExternalSender>(input); break;
    case 6: round_trip<AuthenticatedContent>(input); break;
    case 7: round_trip<Proposal>(input); break;
  }
  return 0;
}
