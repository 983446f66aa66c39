#include <gtest/gtest.h>

#include <vector>

#include "container/ivf.h"
#include "container/ogg_opus.h"

namespace satsuma::container {
namespace {

Bytes vp8_key(std::uint16_t width, std::uint16_t height) {
  return {0x10, 0, 0, 0x9d, 0x01, 0x2a, static_cast<std::uint8_t>(width), static_cast<std::uint8_t>(width >> 8), static_cast<std::uint8_t>(height), static_cast<std::uint8_t>(height >> 8), 9};
}

void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

TEST(Ivf, WhatIsWrittenIsReadAgain) {
  Bytes file = ivf_header({640, 360});
  const Bytes key = vp8_key(640, 360), delta{0x11, 1, 2, 3};
  append(file, ivf_frame_header(key.size(), 0));
  append(file, key);
  append(file, ivf_frame_header(delta.size(), 3000));
  append(file, delta);
  auto reader = IvfReader::open(file);
  ASSERT_TRUE(reader);
  EXPECT_DOUBLE_EQ(reader->time_base(), 1.0 / 90000);
  for (int round = 0; round < 2; ++round) {
    const auto first = reader->next();
    ASSERT_TRUE(first && *first);
    EXPECT_TRUE(equal((*first)->data, key));
    EXPECT_TRUE(is_vp8_key_frame((*first)->data));
    EXPECT_EQ(vp8_size((*first)->data)->height, 360);
    const auto second = reader->next();
    ASSERT_TRUE(second && *second);
    EXPECT_EQ((*second)->timestamp, 3000U);
    EXPECT_FALSE(is_vp8_key_frame((*second)->data));
    EXPECT_FALSE(*reader->next());
    reader->rewind();
  }
  // A file that was cut off ends with its last whole frame.
  auto cut = IvfReader::open(ByteView(file).first(file.size() - 1));
  ASSERT_TRUE(cut);
  EXPECT_TRUE(*cut->next());
  EXPECT_FALSE(*cut->next());
}

TEST(Ivf, OtherFilesAreRefused) {
  EXPECT_EQ(IvfReader::open(Bytes(100)).error(), Error(ivf_malformed));
  EXPECT_EQ(IvfReader::open(as_bytes("DKIF")).error(), Error(ivf_malformed));
  Bytes other = ivf_header({1, 1});
  other[11] = '9';
  EXPECT_EQ(IvfReader::open(other).error(), Error(ivf_not_vp8));
  Bytes zero = ivf_header({1, 1});
  std::fill(zero.begin() + 16, zero.begin() + 20, std::uint8_t{0});
  EXPECT_EQ(IvfReader::open(zero).error(), Error(ivf_malformed));
  Bytes huge = ivf_header({1, 1});
  append(huge, ivf_frame_header(max_ivf_frame + 1, 0));
  EXPECT_EQ(IvfReader::open(huge)->next().error(), Error(ivf_malformed));
}

TEST(OggOpus, WhatIsWrittenIsReadAgain) {
  OggOpusWriter writer(77, 2);
  Bytes file = writer.header();
  std::vector<Bytes> packets;
  std::uint64_t granule = 0;
  for (const std::size_t size : {1U, 20U, 254U, 255U, 256U, 510U, 1275U}) {
    Bytes packet(size, 0x33);
    packet[0] = 0xf8; // CELT, 20 ms, mono, one frame
    packets.push_back(packet);
    granule += 960;
    append(file, writer.packet(packet, granule, size == 1275));
  }
  auto reader = OggOpusReader::open(file);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->channels(), 2);
  for (int round = 0; round < 2; ++round) {
    for (const Bytes& packet : packets) {
      const auto next = reader->next();
      ASSERT_TRUE(next && *next);
      EXPECT_TRUE(equal(**next, packet)) << packet.size();
    }
    EXPECT_FALSE(*reader->next());
    reader->rewind();
  }
}

TEST(OggOpus, DamageIsNoticed) {
  OggOpusWriter writer(1, 1);
  Bytes file = writer.header();
  append(file, writer.packet(Bytes{0xf8, 1, 2, 3}, 960));
  Bytes flipped = file;
  flipped.back() ^= 1;
  auto reader = OggOpusReader::open(flipped);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->next().error(), Error(ogg_malformed));
  EXPECT_EQ(OggOpusReader::open(as_bytes("RIFF....")).error(), Error(ogg_not_opus));
  EXPECT_EQ(OggOpusReader::open(Bytes(64)).error(), Error(ogg_malformed));
}

TEST(OggOpus, PacketsTellHowLongTheyPlay) {
  EXPECT_EQ(opus_samples(Bytes{0xf8}), 960U);            // CELT 20 ms
  EXPECT_EQ(opus_samples(Bytes{0xe0}), 120U);            // CELT 2.5 ms
  EXPECT_EQ(opus_samples(Bytes{0x18, 0}), 2880U);        // SILK 60 ms
  EXPECT_EQ(opus_samples(Bytes{0xf9, 0}), 1920U);        // two frames
  EXPECT_EQ(opus_samples(Bytes{0xfb, 3, 0}), 2880U);     // three
  EXPECT_EQ(opus_samples(Bytes{0xfb, 63, 0}), 0U) << "more than 120 ms";
  EXPECT_EQ(opus_samples({}), 0U);
}

} // namespace
} // namespace satsuma::container
