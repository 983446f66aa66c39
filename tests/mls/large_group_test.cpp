// A group as large as the bounds' defaults are meant for.
#include "world.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SATSUMA_SLOW 1
#endif
#endif

namespace satsuma::mls {
namespace {

#ifdef SATSUMA_SLOW
constexpr std::size_t members = 1000;
#else
constexpr std::size_t members = 10000;
#endif

void expect_same_epoch(const Group& a, const Group& b) {
  EXPECT_EQ(a.epoch(), b.epoch());
  EXPECT_TRUE(equal(a.epoch_authenticator(), b.epoch_authenticator()));
}

/// `by` commits, `other` processes.
void commit(Group& by, Group& other, const CommitParams& params, RandomSource& random) {
  PendingCommit pending = VALUE(by.commit(params, random));
  ASSERT_TRUE(other.merge(VALUE(other.stage(pending.commit))));
  ASSERT_TRUE(by.merge(std::move(pending.staged)));
  expect_same_epoch(by, other);
}

void say(Group& from, Group& to, std::string_view text, RandomSource& random) {
  const Bytes message = VALUE(from.protect_application(as_bytes(text), {}, random));
  EXPECT_EQ(text, as_text(VALUE(to.unprotect_application(message)).plaintext.view()));
}

TEST(LargeGroup, TenThousandAreAddedInOneCommitCommitTalkAndRestartWithTheDefaultBounds) {
  World world;
  SeededRandom& random = world.random();
  GroupParams params;
  params.group_id = to_bytes(as_bytes("large"));
  Group first = VALUE(Group::create(params, world.new_person("0"), random));
  CommitParams add;
  add.force_path = false;
  KeyPackageBundle last;
  for (std::size_t i = 1; i < members; ++i) {
    last = world.new_person(std::to_string(i));
    add.add.push_back(last.key_package);
  }
  PendingCommit pending = VALUE(first.commit(add, random));
  Group joined = VALUE(Group::join(VALUE(MLSMessage::decode_as<Welcome>(*pending.welcome)), last));
  ASSERT_TRUE(first.merge(std::move(pending.staged)));
  EXPECT_EQ(members, joined.members().size());
  EXPECT_EQ(LeafIndex{members - 1}, joined.own_leaf());
  expect_same_epoch(first, joined);

  commit(first, joined, {}, random);
  commit(joined, first, {}, random);
  CommitParams change;
  change.add.push_back(world.new_person("another").key_package);
  for (std::uint32_t i = 1; i <= 300; ++i) change.remove.push_back({i * 3});
  commit(first, joined, change, random);
  EXPECT_EQ(members - 299, first.members().size());

  say(first, joined, "to the last", random);
  say(joined, first, "to the first", random);
  Group first_again = VALUE(Group::load(VALUE(first.store()).view()));
  Group joined_again = VALUE(Group::load(VALUE(joined.store()).view()));
  expect_same_epoch(first_again, joined_again);
  commit(joined_again, first_again, {}, random);
  say(first_again, joined_again, "after the restart", random);
}

TEST(LargeGroup, ManyAddedTogetherGiveTheTreeOfAddingOneAfterTheOther) {
  World world;
  world.create("0");
  std::vector<std::string> names;
  for (int i = 1; i < 12; ++i) names.push_back(std::to_string(i));
  world.commit("0", names, {});
  world.commit("5", {}, {});
  world.commit("8", {}, {"2", "9"});
  RatchetTree one_by_one = world.at("0").tree();
  RatchetTree together = one_by_one;
  std::vector<LeafNode> leaves;
  for (int i = 20; i < 31; ++i) leaves.push_back(world.new_person(std::to_string(i)).key_package.leaf_node);
  (void)one_by_one.tree_hash();
  for (const LeafNode& leaf : leaves) ASSERT_TRUE(one_by_one.add_leaf(leaf));
  const std::vector<LeafIndex> places = VALUE(together.add_leaves(leaves));
  EXPECT_EQ(LeafIndex{2}, places[0]);
  EXPECT_EQ(LeafIndex{9}, places[1]);
  EXPECT_EQ(LeafIndex{12}, places[2]);
  EXPECT_EQ(LeafIndex{20}, places[10]);
  EXPECT_EQ(one_by_one.serialise(), together.serialise());
  EXPECT_EQ(one_by_one.tree_hash(), together.tree_hash());
}

TEST(LargeGroup, ATreeThatIsFullTakesNobodyMoreAndStaysAsItWas) {
  World world;
  const LeafNode leaf = world.new_person("a").key_package.leaf_node; // trees do not look at who it is
  RatchetTree tree(CipherSuite{3});
  ASSERT_TRUE(tree.add_leaves(std::vector<LeafNode>(RatchetTree::max_leaves - 1, leaf)));
  EXPECT_ERROR(mls_tree_full, tree.add_leaves({leaf, leaf}));
  EXPECT_EQ(RatchetTree::max_leaves - 1, tree.member_count());
  ASSERT_TRUE(tree.add_leaf(leaf));
  EXPECT_ERROR(mls_tree_full, tree.add_leaf(leaf));
  ASSERT_TRUE(tree.remove_leaf({77}));
  EXPECT_EQ(LeafIndex{77}, VALUE(tree.add_leaf(leaf)));

  // One node more than the largest tree has.
  ByteWriter nodes;
  for (std::size_t i = 0; i < 2 * RatchetTree::max_leaves; ++i) nodes.u8(0);
  ByteWriter extension;
  codec::write_opaque(extension, nodes.view());
  EXPECT_ERROR(mls_tree_full, RatchetTree::parse(CipherSuite{3}, extension.view()));
}

} // namespace
} // namespace satsuma::mls
