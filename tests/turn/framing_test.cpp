#include "turn/framing.h"

#include <gtest/gtest.h>

#include "requests.h"

namespace satsuma::turn {
namespace {

using test::channel_data;

std::vector<Bytes> frames_of(FrameReader& reader, Bytes input) {
  std::vector<Bytes> frames;
  MutableByteView rest = input;
  while (true) {
    const auto frame = reader.next(rest);
    if (!frame || !*frame) break;
    frames.push_back(to_bytes(**frame));
  }
  return frames;
}

TEST(FrameReader, GivesTheSameFramesHoweverTheStreamIsCut) {
  const Bytes message = test::write({.method = allocate, .transport = 17});
  Bytes stream = message;
  for (std::size_t size : {0U, 1U, 2U, 3U, 4U, 5U, 1200U}) {
    const Bytes frame = channel_data(0x4001, Bytes(size, 7));
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  stream.insert(stream.end(), message.begin(), message.end());
  FrameReader whole;
  const std::vector<Bytes> expected = frames_of(whole, stream);
  ASSERT_EQ(expected.size(), 9U);
  EXPECT_EQ(expected.front(), message);
  EXPECT_EQ(expected[2].size(), channel_data_header + 1) << "without its padding";
  EXPECT_EQ(expected.back(), message);
  for (std::size_t step : {1U, 2U, 3U, 7U, 100U, 1203U}) {
    FrameReader reader;
    std::vector<Bytes> frames;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      const auto end = std::min(stream.size(), at + step);
      for (Bytes& frame : frames_of(reader, Bytes(stream.begin() + static_cast<std::ptrdiff_t>(at), stream.begin() + static_cast<std::ptrdiff_t>(end)))) {
        frames.push_back(std::move(frame));
      }
    }
    EXPECT_EQ(frames, expected) << "in pieces of " << step;
    Bytes none;
    MutableByteView nothing = none;
    ASSERT_TRUE(reader.next(nothing).has_value());
    EXPECT_EQ(reader.kept(), 0U);
  }
}

TEST(FrameReader, RefusesWhatIsNeitherStunNorChannelData) {
  for (const int first : {0x05, 0x16, 0x3f, 0x50, 0x80, 0xff}) {
    Bytes input = {static_cast<std::uint8_t>(first), 0, 0, 4, 0, 0, 0, 0};
    MutableByteView rest = input;
    FrameReader reader;
    const auto frame = reader.next(rest);
    ASSERT_FALSE(frame) << first;
    EXPECT_EQ(frame.error(), Error(turn_bad_framing));
  }
}

TEST(FrameReader, RefusesAFrameThatIsTooLong) {
  for (const Bytes& head : {Bytes{0x40, 0, 0x08, 0x00}, Bytes{0, 3, 0x10, 0x00}}) {
    Bytes input = head;
    MutableByteView rest = input;
    FrameReader reader;
    EXPECT_FALSE(reader.next(rest));
  }
}

TEST(FrameReader, RefusesAStunMessageWhoseLengthIsNoMultipleOfFour) {
  Bytes input = {0, 3, 0, 5, 0x21, 0x12, 0xa4, 0x42};
  MutableByteView rest = input;
  FrameReader reader;
  EXPECT_FALSE(reader.next(rest));
}

} // namespace
} // namespace satsuma::turn
