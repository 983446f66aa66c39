// Values are what Chromium 156 wrote: of VP9 and AV1 in L2T3_KEY at 640 x 360, and of VP8 in L1T3 at 160 x 90.

#include "rtp/dependency_descriptor.h"

#include <gtest/gtest.h>

#include <bit>
#include <vector>


namespace satsuma::rtp {
namespace {

constexpr std::string_view two_layers = "c00007800514853aaaa8018004004002a02a0060010015d34514174d144c700874321651118543276809f8059813f80b38";
constexpr std::string_view one_layer = "c00003800214eaa860414d141020842700270015";

struct Stream {
  std::optional<DependencyStructure> structure;
  Result<DependencyDescriptor> read(ByteView value) { return parse_dependency_descriptor(value, structure); }
  Result<DependencyDescriptor> read(std::string_view hex) { return read(ByteView(*from_hex(hex))); }
};

Bytes rewritten(ByteView value, const DependencyDescriptorLayout& layout, std::uint16_t frame_number, std::optional<std::uint32_t> targets) {
  Bytes out(value.size() + max_dd_growth, 0xff);
  const auto written = rewrite_dependency_descriptor(value, layout, frame_number, targets, out);
  EXPECT_TRUE(written);
  return written ? to_bytes(*written) : Bytes{};
}

TEST(DependencyDescriptor, AKeyFrameTellsItsLayersAndTheirSizes) {
  Stream stream;
  const auto d = stream.read(two_layers);
  ASSERT_TRUE(d);
  EXPECT_TRUE(d->has_structure && d->start_of_frame && d->end_of_frame);
  EXPECT_EQ(d->frame_number, 7);
  EXPECT_EQ(d->layout.target_count, 6);
  EXPECT_TRUE(d->layout.has_structure());
  EXPECT_FALSE(d->layout.has_targets);
  const DependencyStructure& s = *stream.structure;
  EXPECT_EQ(std::pair(s.spatial_layers, s.temporal_layers), std::pair(std::uint8_t{2}, std::uint8_t{3}));
  EXPECT_EQ(std::pair(s.widths[0], s.heights[0]), std::pair(std::uint16_t{320}, std::uint16_t{180}));
  EXPECT_EQ(std::pair(s.widths[1], s.heights[1]), std::pair(std::uint16_t{640}, std::uint16_t{360}));
}

TEST(DependencyDescriptor, FramesBetweenSayWhichLayerTheyAreOf) {
  Stream stream;
  ASSERT_TRUE(stream.read(two_layers));
  struct Row {
    std::string_view hex;
    int spatial, temporal, frame;
  };
  for (const Row& row : {Row{"850008", 1, 0, 8}, {"c30009", 0, 2, 9}, {"c8000a", 1, 2, 10}, {"c2000b", 0, 1, 11}, {"c7000c", 1, 1, 12}, {"c1000f", 0, 0, 15}, {"c60010", 1, 0, 16}}) {
    const auto d = stream.read(row.hex);
    ASSERT_TRUE(d) << row.hex;
    EXPECT_EQ(std::tuple(+d->spatial, +d->temporal, +d->frame_number), std::tuple(row.spatial, row.temporal, row.frame)) << row.hex;
    EXPECT_FALSE(d->has_structure);
  }
  EXPECT_FALSE(stream.read("450008")->start_of_frame);
}

TEST(DependencyDescriptor, TargetsUpToALayerAreThoseThatShowNoMore) {
  Stream stream;
  ASSERT_TRUE(stream.read(two_layers));
  const DependencyStructure& s = *stream.structure;
  EXPECT_EQ(targets_up_to(s, 1, 2), 0x3fU);
  EXPECT_EQ(std::popcount(targets_up_to(s, 0, 2)), 3);
  EXPECT_EQ(std::popcount(targets_up_to(s, 1, 0)), 2);
  EXPECT_EQ(std::popcount(targets_up_to(s, 0, 0)), 1);
  EXPECT_EQ(targets_up_to(s, 0, 2) & ~targets_up_to(s, 1, 2), 0U);
}

TEST(DependencyDescriptor, RewritingTheFrameNumberLeavesAllElseAsItWas) {
  Stream stream;
  for (const std::string_view hex : {two_layers, std::string_view("850008"), std::string_view("c8000a")}) {
    const Bytes value = *from_hex(hex);
    const auto d = stream.read(value);
    ASSERT_TRUE(d);
    Bytes expected = value;
    expected[1] = 0xab;
    expected[2] = 0xcd;
    EXPECT_EQ(rewritten(value, d->layout, 0xabcd, std::nullopt), expected) << hex;
  }
}

TEST(DependencyDescriptor, OtherActiveTargetsAreReadByWhoeverReadsTheRewrittenValueAndTheRestIsTheSame) {
  for (const auto& [key, delta] : {std::pair(two_layers, std::string_view("c8000a")), std::pair(one_layer, std::string_view("c20005"))}) {
    Stream from, to;
    for (const std::string_view hex : {key, delta}) {
      const Bytes value = *from_hex(hex);
      const auto before = from.read(value);
      ASSERT_TRUE(before);
      const std::uint32_t targets = targets_up_to(*from.structure, 0, 1);
      const Bytes out = rewritten(value, before->layout, 77, targets);
      const auto after = to.read(out);
      ASSERT_TRUE(after) << hex;
      EXPECT_EQ(after->frame_number, 77);
      EXPECT_EQ(after->active_decode_targets, targets);
      EXPECT_EQ(std::tuple(after->template_id, after->spatial, after->temporal, after->start_of_frame, after->end_of_frame, after->has_structure),
                std::tuple(before->template_id, before->spatial, before->temporal, before->start_of_frame, before->end_of_frame, before->has_structure));
      EXPECT_EQ(after->indications, before->indications);
      EXPECT_EQ(to.structure->widths, from.structure->widths);
      // A bitmask that is there is replaced, not added to.
      const Bytes again = rewritten(out, after->layout, 78, targets ^ 1U);
      EXPECT_LE(again.size(), out.size() + 1);
      EXPECT_EQ(to.read(again)->active_decode_targets, targets ^ 1U);
      EXPECT_EQ(to.structure->heights, from.structure->heights);
    }
  }
}

TEST(DependencyDescriptor, WhatNamesNoKnownTemplateIsRefusedAndChangesNothing) {
  Stream stream;
  EXPECT_EQ(stream.read("c30009").error(), Error(dd_no_structure));
  EXPECT_FALSE(stream.structure);
  ASSERT_TRUE(stream.read(two_layers));
  EXPECT_EQ(stream.read("d00009").error(), Error(dd_no_structure)); // template 16 of ten
  EXPECT_EQ(stream.read(Bytes(max_dd_size + 1, 0)).error(), Error(dd_too_large));
  // A structure that is cut short leaves the one before.
  const Bytes whole = *from_hex(one_layer);
  for (std::size_t size = 4; size < whole.size() - 1; ++size) EXPECT_FALSE(stream.read(ByteView(whole).first(size))) << size;
  EXPECT_EQ(stream.structure->spatial_layers, 2);
  EXPECT_TRUE(stream.read("850008"));
}

TEST(DependencyDescriptor, RewritingRefusesALayoutThatIsNotTheValues) {
  Bytes out(64);
  const Bytes value = *from_hex("c8000a");
  EXPECT_EQ(rewrite_dependency_descriptor(value, {40, 6, false}, 1, 1, out).error(), Error(dd_truncated));
  EXPECT_EQ(rewrite_dependency_descriptor(value, {29, 6, true}, 1, 1, out).error(), Error(dd_truncated));
  EXPECT_EQ(rewrite_dependency_descriptor(value, {29, 40, false}, 1, 1, out).error(), Error(dd_truncated));
  EXPECT_EQ(rewrite_dependency_descriptor(value, {3, 6, false}, 1, 1, out).error(), Error(dd_truncated));
  EXPECT_EQ(rewrite_dependency_descriptor(ByteView(value).first(2), {29, 6, false}, 1, 1, out).error(), Error(dd_truncated));
  EXPECT_EQ(rewrite_dependency_descriptor(value, {29, 6, false}, 1, 1, MutableByteView(out).first(7)).error(), Error(bytes_no_space));
}

} // namespace
} // namespace satsuma::rtp
