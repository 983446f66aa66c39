// What went wrong in the design that this one repairs, by name: clear bytes of Opus, short packets lost, clear bytes altered unseen, a key frame
// bit that was read from the wrong place, a gap of 1,100 frames. (Frames around a change of epoch: tests/call.)

#include <gtest/gtest.h>

#include <algorithm>

#include "sframe/shell.h"

namespace satsuma::sframe {
namespace {

constexpr std::uint64_t microphone_key = 0x21, camera_key = 0x10021;

struct Link {
  Sender sender{CipherSuite::chacha20_poly1305_sha256_128};
  Receiver receiver{CipherSuite::chacha20_poly1305_sha256_128};
  ForgeryAllowance line{Bytes(32, 1)};
  explicit Link(std::uint64_t key_id) {
    sender.set_key(key_id, Bytes(32, 3));
    receiver.try_key(key_id, Bytes(32, 3));
  }
  Bytes protect(Shell shell, ByteView frame) {
    Bytes out(max_protected_size(shell, frame.size()));
    const auto written = protect_frame(sender, shell, frame, out);
    EXPECT_TRUE(written);
    out.resize(written ? written->size() : 0);
    return out;
  }
  Result<Bytes> unprotect(ShellKind kind, ByteView frame) {
    Bytes out(frame.size());
    SATSUMA_TRY(const Unprotected unprotected, unprotect_frame(receiver, line, kind, frame, out));
    return to_bytes(unprotected.plaintext);
  }
};

bool contains(ByteView bytes, ByteView part) { return std::search(bytes.begin(), bytes.end(), part.begin(), part.end()) != bytes.end(); }

TEST(OriginalFailures, NoByteOfAnOpusPacketIsInTheClearWhateverItsModeIs) {
  Link link(microphone_key);
  for (int toc = 0; toc < 256; toc += 4) { // RFC 6716 s.3.1: SILK, hybrid and CELT
    Bytes packet(40, 0x5a);
    packet[0] = static_cast<std::uint8_t>(toc);
    for (std::size_t i = 1; i < packet.size(); ++i) packet[i] = static_cast<std::uint8_t>(i * 37);
    const Bytes frame = link.protect(Shell::none, packet);
    for (std::size_t at = 0; at + 4 <= packet.size(); ++at) EXPECT_FALSE(contains(frame, ByteView(packet).subspan(at, 4)));
    EXPECT_EQ(*link.unprotect(ShellKind::none, frame), packet);
  }
}

TEST(OriginalFailures, ShortPacketsOfSilenceArriveAsTheyWere) {
  Link link(microphone_key);
  for (std::size_t size = 0; size < 10; ++size) {
    const Bytes packet(size, 0x08);
    EXPECT_EQ(*link.unprotect(ShellKind::none, link.protect(Shell::none, packet)), packet);
  }
}

TEST(OriginalFailures, AFlippedClearByteIsSeen) {
  Link link(camera_key);
  Bytes frame = link.protect(Shell::vp8_delta, Bytes(100, 1));
  frame[0] ^= 1; // a delta frame passed off as a key frame
  EXPECT_EQ(link.unprotect(ShellKind::video, frame).error(), Error(sframe_authentication_failed));
}

TEST(OriginalFailures, WhatIsAKeyFrameIsTheEncodersWordNotABitOfItsOutput) {
  Link link(camera_key);
  for (int first = 0; first < 256; ++first) {
    const Bytes picture(50, static_cast<std::uint8_t>(first));
    EXPECT_EQ(link.protect(Shell::vp8_key, picture)[0], 0x00); // RFC 7741 s.4.3: the lowest bit, and inverse
    EXPECT_EQ(link.protect(Shell::vp8_delta, picture)[0], 0x01);
  }
}

TEST(OriginalFailures, AGapOf1100FramesCostsThoseFramesAlone) {
  Link link(camera_key);
  EXPECT_TRUE(link.unprotect(ShellKind::video, link.protect(Shell::vp8_key, Bytes(100, 1))));
  for (int lost = 0; lost < 1100; ++lost) link.protect(Shell::vp8_delta, Bytes(100, 2));
  for (int next = 0; next < 50; ++next) EXPECT_TRUE(link.unprotect(ShellKind::video, link.protect(Shell::vp8_delta, Bytes(100, 3))));
}

TEST(OriginalFailures, AFrameCostsTwentyFourBytesAtMostAndNoSignature) {
  Link link(camera_key);
  for (const std::size_t size : {0, 100, 1200, 5000}) EXPECT_LE(link.protect(Shell::vp8_delta, Bytes(size, 1)).size(), size + 1 + 24);
}

} // namespace
} // namespace satsuma::sframe
