#include "rtp/packet.h"

#include <gtest/gtest.h>

#include "rtp/packet_history.h"
#include "rtp/vp8.h"

namespace satsuma::rtp {
namespace {

Bytes hex(std::string_view text) {
  std::string packed;
  for (char c : text)
    if (c != ' ') packed += c;
  return *from_hex(packed);
}

TEST(RtpPacket, AHeaderIsReadAsRfc3550DrawsIt) {
  const Bytes bytes = hex("80 e0 1234 00010203 a1b2c3d4 0908");
  const auto p = parse_packet(bytes);
  ASSERT_TRUE(p);
  EXPECT_TRUE(p->marker);
  EXPECT_EQ(p->payload_type, 96);
  EXPECT_EQ(p->sequence, 0x1234);
  EXPECT_EQ(p->timestamp, 0x00010203u);
  EXPECT_EQ(p->ssrc, 0xa1b2c3d4u);
  EXPECT_EQ(p->header_size, 12u);
  EXPECT_EQ(to_bytes(p->payload), hex("0908"));
}

TEST(RtpPacket, CsrcsExtensionAndPaddingAreTakenApart) {
  // Two CSRCs; one-byte extension: id 3 with two bytes, a padding byte, id 5 with one byte, padding; three bytes of padding.
  const Bytes bytes = hex("b2 60 0001 00000002 00000003 0000000a 0000000b bede0002 31 1122 00 50 99 0000 cafe 000003");
  const auto p = parse_packet(bytes);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->header_size, 12u + 8 + 4 + 8);
  EXPECT_EQ(to_bytes(p->payload), hex("cafe"));
  EXPECT_EQ(p->padding_size, 3u);
  EXPECT_EQ(to_bytes(*p->extension(3)), hex("1122"));
  EXPECT_EQ(to_bytes(*p->extension(5)), hex("99"));
  EXPECT_FALSE(p->extension(4));
}

TEST(RtpPacket, TheTwoByteFormHasLongAndEmptyElements) {
  const Bytes bytes = hex("90 60 0001 00000002 00000003 10000002 14 00 15 02 aabb 0000");
  const auto p = parse_packet(bytes);
  ASSERT_TRUE(p);
  EXPECT_EQ(p->extension(0x14)->size(), 0u);
  EXPECT_EQ(to_bytes(*p->extension(0x15)), hex("aabb"));
}

TEST(RtpPacket, Id15EndsTheOneByteFormAndAnUnknownProfileHasNoElements) {
  const Bytes stopped = hex("90 60 0001 00000002 00000003 bede0001 f0 10 20 30");
  ASSERT_TRUE(parse_packet(stopped));
  EXPECT_FALSE(parse_packet(stopped)->extension(1));
  const Bytes other = hex("90 60 0001 00000002 00000003 abcd0001 10203040");
  ASSERT_TRUE(parse_packet(other));
  EXPECT_FALSE(parse_packet(other)->extension(1));
}

TEST(RtpPacket, WhatDoesNotFitIsRefusedRuleByRule) {
  EXPECT_EQ(parse_packet({}).error(), Error(rtp_truncated));
  EXPECT_EQ(parse_packet(hex("80600001 00000002 000000")).error(), Error(rtp_truncated));
  EXPECT_EQ(parse_packet(hex("40600001 00000002 00000003")).error(), Error(rtp_bad_version));
  EXPECT_EQ(parse_packet(hex("81600001 00000002 00000003 0000")).error(), Error(rtp_truncated)); // CSRC
  EXPECT_EQ(parse_packet(hex("90600001 00000002 00000003 bede")).error(), Error(rtp_truncated)); // extension head
  EXPECT_EQ(parse_packet(hex("90600001 00000002 00000003 bede0002 10203040")).error(), Error(rtp_truncated)); // its words
  EXPECT_EQ(parse_packet(hex("90600001 00000002 00000003 bede0001 13112233")).error(), Error(rtp_bad_extension)); // element beyond it
  EXPECT_EQ(parse_packet(hex("90600001 00000002 00000003 10000001 00000001")).error(), Error(rtp_bad_extension)); // half a head
  EXPECT_EQ(parse_packet(hex("a0600001 00000002 00000003")).error(), Error(rtp_bad_padding));
  EXPECT_EQ(parse_packet(hex("a0600001 00000002 00000003 aa00")).error(), Error(rtp_bad_padding));
  EXPECT_EQ(parse_packet(hex("a0600001 00000002 00000003 aa03")).error(), Error(rtp_bad_padding));
}

TEST(RtpPacket, WhatIsWrittenIsReadBackInBothForms) {
  const Bytes a = hex("0102"), empty, longer(20, 7);
  for (const bool long_form : {false, true}) {
    const HeaderExtension extensions[2] = {{1, a}, {2, long_form ? ByteView(longer) : ByteView(a)}};
    Bytes out(100);
    const auto written = write_header({true, 111, 65535, 77, 88}, extensions, out);
    ASSERT_TRUE(written);
    EXPECT_EQ(written->size() % 4, 0u);
    const auto p = parse_packet(*written);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->header_size, written->size());
    EXPECT_TRUE(p->marker);
    EXPECT_EQ(p->payload_type, 111);
    EXPECT_EQ(p->sequence, 65535);
    EXPECT_EQ(to_bytes(*p->extension(1)), a);
    EXPECT_EQ(p->extension(2)->size(), long_form ? 20u : 2u);
  }
  Bytes small(15);
  const HeaderExtension one[1] = {{1, a}};
  EXPECT_EQ(write_header({}, one, small).error(), Error(bytes_no_space));
  const HeaderExtension zero[1] = {{0, a}};
  Bytes out(100);
  EXPECT_EQ(write_header({}, zero, out).error(), Error(rtp_extension_unwritable));
}

TEST(Vp8Descriptor, AllItsFieldsAreReadAndTheTwoIdsRewritten) {
  Bytes payload = hex("90 f0 8123 45 a0 00");
  const auto d = parse_vp8_descriptor(payload);
  ASSERT_TRUE(d);
  EXPECT_TRUE(d->starts_frame());
  EXPECT_EQ(d->picture_id, 0x123);
  EXPECT_TRUE(d->long_picture_id);
  EXPECT_EQ(d->tl0_picture_index, 0x45);
  EXPECT_EQ(d->temporal_layer, 2);
  EXPECT_TRUE(d->layer_sync);
  EXPECT_EQ(d->size, 6u);
  rewrite_vp8_descriptor(*d, 0x7fff, 9, payload);
  EXPECT_EQ(to_bytes(ByteView(payload).first(6)), hex("90 f0 ffff 09 a0"));
}

TEST(Vp8Descriptor, AShortPictureIdStaysShort) {
  Bytes payload = hex("90 80 05 01");
  const auto d = parse_vp8_descriptor(payload);
  ASSERT_TRUE(d);
  EXPECT_FALSE(d->long_picture_id);
  rewrite_vp8_descriptor(*d, 0x1ff, 0, payload);
  EXPECT_EQ(payload, hex("90 80 7f 01"));
}

TEST(Vp8Descriptor, AKeyFrameBeginsWithItsFirstPartitionAndAnEvenByte) {
  const auto key = [](std::string_view text) {
    const Bytes payload = hex(text);
    return starts_vp8_key_frame(*parse_vp8_descriptor(payload), payload);
  };
  EXPECT_TRUE(key("10 00"));
  EXPECT_FALSE(key("10 01"));
  EXPECT_FALSE(key("00 00")); // in the middle
  EXPECT_FALSE(key("11 00")); // another partition
  EXPECT_FALSE(key("10"));    // nothing behind the descriptor
}

TEST(Vp8Descriptor, TruncationsAreRefusedWhereverTheyAre) {
  const Bytes whole = hex("90 f0 8123 45 a0");
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_EQ(parse_vp8_descriptor(ByteView(whole).first(size)).error(), Error(vp8_truncated)) << size;
  EXPECT_TRUE(parse_vp8_descriptor(whole));
}

TEST(PacketHistory, HoldsTheNewestAndTellsDuplicates) {
  PacketHistory history(8);
  for (ExtendedSequence s = 100; s < 112; ++s) EXPECT_TRUE(history.store(s, static_cast<std::uint32_t>(s * 10), s % 2 == 0, Bytes(4, static_cast<std::uint8_t>(s))));
  EXPECT_FALSE(history.store(111, 1, false, Bytes(4)));
  EXPECT_FALSE(history.store(103, 1, false, Bytes(4))); // its place belongs to a newer one
  EXPECT_FALSE(history.find(103));
  const auto entry = history.find(104);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->timestamp, 1040u);
  EXPECT_TRUE(entry->marker);
  EXPECT_EQ(to_bytes(entry->payload), Bytes(4, 104));
  EXPECT_FALSE(history.find(112));
  EXPECT_FALSE(history.store(112, 1, false, Bytes(PacketHistory::max_payload + 1)));
  history.clear();
  EXPECT_FALSE(history.contains(104));
}

TEST(Retransmission, CarriesTheOriginalSequenceNumberFirst) {
  const Bytes payload = hex("1234 aabb");
  const auto r = parse_retransmission(payload);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->original_sequence, 0x1234);
  EXPECT_EQ(to_bytes(r->payload), hex("aabb"));
  EXPECT_EQ(parse_retransmission(hex("12")).error(), Error(rtx_truncated));
}

} // namespace
} // namespace satsuma::rtp
