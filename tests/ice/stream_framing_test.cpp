#include "ice/stream_framing.h"

#include <gtest/gtest.h>

#include <vector>

namespace satsuma::ice {
namespace {

Bytes framed(std::initializer_list<std::size_t> sizes) {
  Bytes stream;
  std::uint8_t fill = 1;
  for (const std::size_t size : sizes) {
    const auto length = stream_frame_length(size);
    stream.insert(stream.end(), length.begin(), length.end());
    stream.insert(stream.end(), size, fill++);
  }
  return stream;
}

/// The sizes of what `reader` makes of a piece of the stream; their bytes are checked.
Result<void> feed(StreamFrameReader& reader, Bytes piece, std::vector<Bytes>& out) {
  MutableByteView input(piece);
  while (true) {
    SATSUMA_TRY(const auto frame, reader.next(input));
    if (!frame) return {};
    out.push_back(to_bytes(*frame));
  }
}

TEST(StreamFraming, DatagramsComeOutWholeHoweverTheStreamIsCut) {
  const Bytes stream = framed({1, 300, 0, 2, max_stream_frame, 20});
  std::vector<Bytes> whole;
  StreamFrameReader first;
  ASSERT_TRUE(feed(first, stream, whole));
  ASSERT_EQ(whole.size(), 5u);
  EXPECT_EQ(whole[3], Bytes(max_stream_frame, 5));
  for (const std::size_t step : {1u, 2u, 3u, 7u, 299u, 1000u}) {
    StreamFrameReader reader;
    std::vector<Bytes> out;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      const auto begin = stream.begin() + static_cast<std::ptrdiff_t>(at);
      ASSERT_TRUE(feed(reader, Bytes(begin, begin + static_cast<std::ptrdiff_t>(std::min(step, stream.size() - at))), out));
      EXPECT_LE(reader.kept(), stream_frame_header + max_stream_frame);
    }
    EXPECT_EQ(out, whole) << step;
  }
}

TEST(StreamFraming, ALongerDatagramThanAPathCarriesEndsTheStream) {
  for (const std::size_t step : {1u, 4000u}) {
    const Bytes stream = framed({10, max_stream_frame + 1});
    StreamFrameReader reader;
    std::vector<Bytes> out;
    Result<void> result;
    for (std::size_t at = 0; at < stream.size() && result; at += step) {
      const auto begin = stream.begin() + static_cast<std::ptrdiff_t>(at);
      result = feed(reader, Bytes(begin, begin + static_cast<std::ptrdiff_t>(std::min(step, stream.size() - at))), out);
    }
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error(), Error(ice_frame_too_long));
    EXPECT_EQ(out.size(), 1u);
  }
}

TEST(StreamFraming, NothingIsKeptBetweenDatagrams) {
  StreamFrameReader reader;
  std::vector<Bytes> out;
  ASSERT_TRUE(feed(reader, framed({100, 200}), out));
  EXPECT_EQ(reader.kept(), 0u);
}

TEST(StreamFraming, ChecksBeginUnlikeTlsAndHttp) {
  EXPECT_TRUE(may_begin_stream(stream_frame_length(100)[0]));
  EXPECT_FALSE(may_begin_stream(0x16));
  for (const char c : {'G', 'H', 'P', 'O'}) EXPECT_FALSE(may_begin_stream(static_cast<std::uint8_t>(c)));
}

} // namespace
} // namespace satsuma::ice
