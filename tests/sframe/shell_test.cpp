#include "sframe/shell.h"

#include <gtest/gtest.h>

#include <random>

namespace satsuma::sframe {
namespace {

constexpr std::uint64_t key_id = 0x10000; // camera, leaf 0, epoch 0 (docs/protocol.md, section 4): its header is full of zeros
constexpr Shell video_shells[] = {Shell::none,      Shell::vp8_key,  Shell::vp8_delta, Shell::av1_key,
                                  Shell::av1_delta, Shell::h264_key, Shell::h264_delta};

struct Pair {
  Sender sender{CipherSuite::chacha20_poly1305_sha256_128};
  Receiver receiver{CipherSuite::chacha20_poly1305_sha256_128};
  ForgeryAllowance line{Bytes(32, 1)};
  Bytes base_key = Bytes(32, 7);
  Pair() {
    sender.set_key(key_id, base_key);
    receiver.try_key(key_id, base_key);
  }
  Bytes protect(Shell shell, ByteView frame) {
    Bytes out(max_protected_size(shell, frame.size()), 0xee);
    const auto written = protect_frame(sender, shell, frame, out);
    EXPECT_TRUE(written);
    out.resize(written ? written->size() : 0);
    return out;
  }
  Result<Bytes> unprotect(ByteView frame, ShellKind kind = ShellKind::video) {
    Bytes out(frame.size());
    SATSUMA_TRY(const Unprotected unprotected, unprotect_frame(receiver, line, kind, frame, out));
    EXPECT_EQ(unprotected.plaintext.data(), out.data());
    return to_bytes(unprotected.plaintext);
  }
};

Bytes join(std::initializer_list<ByteView> parts) {
  Bytes out;
  for (ByteView part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

/// As depacketisers hand on an AV1 frame: with a size in its last OBU, whose header is at `at`.
Bytes with_obu_size(const Bytes& frame, std::size_t at) {
  Bytes out(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(at));
  out.push_back(frame[at] | 0x02);
  for (std::size_t size = frame.size() - at - 1; ; size >>= 7) {
    out.push_back(static_cast<std::uint8_t>((size & 0x7f) | (size > 0x7f ? 0x80 : 0)));
    if (size <= 0x7f) break;
  }
  out.insert(out.end(), frame.begin() + static_cast<std::ptrdiff_t>(at) + 1, frame.end());
  return out;
}
constexpr std::size_t av1_key_obu = 10;

TEST(Shell, EveryFrameComesBackFromEveryShellAndSaysWhetherItIsAKeyFrame) {
  std::mt19937 random(5);
  for (const Shell shell : video_shells) {
    Pair pair;
    for (const std::size_t size : {0, 1, 2, 10, 100, 127, 128, 1200, 20000}) {
      Bytes picture(size);
      for (std::uint8_t& byte : picture) byte = static_cast<std::uint8_t>(random() % 3); // codecs make many zeros
      const Bytes frame = pair.protect(shell, picture);
      const auto opened = open_shell(ShellKind::video, frame);
      ASSERT_TRUE(opened);
      EXPECT_EQ(opened->shell, shell);
      EXPECT_EQ(parse_frame_header(*opened)->key_id, key_id);
      const auto back = pair.unprotect(frame);
      ASSERT_TRUE(back) << static_cast<int>(shell) << " " << size;
      EXPECT_EQ(*back, picture);
    }
  }
  EXPECT_EQ((OpenedFrame{Shell::none, {}}.key_frame()), std::nullopt);
  for (const Shell shell : {Shell::vp8_key, Shell::av1_key, Shell::h264_key}) EXPECT_EQ((OpenedFrame{shell, {}}.key_frame()), true);
  for (const Shell shell : {Shell::vp8_delta, Shell::av1_delta, Shell::h264_delta}) EXPECT_EQ((OpenedFrame{shell, {}}.key_frame()), false);
}

TEST(Shell, ClearBytesAreTheSameForAllFramesAndSizes) {
  for (const Shell shell : video_shells) {
    Pair one, other;
    other.sender.set_key(key_id, Bytes(32, 9));
    const Bytes a = one.protect(shell, Bytes(50, 1)), b = other.protect(shell, Bytes(5000, 2));
    const auto opened = open_shell(ShellKind::video, a);
    ASSERT_TRUE(opened);
    const auto clear = static_cast<std::size_t>(opened->ciphertext.data() - a.data());
    EXPECT_TRUE(equal(ByteView(a).first(clear), ByteView(b).first(clear)));
    EXPECT_LE(clear + 1, max_shell_size);
  }
}

TEST(Shell, NoClearByteCanBeChangedUnseen) {
  for (const Shell shell : video_shells) {
    Pair pair;
    const Bytes frame = pair.protect(shell, Bytes(40, 3));
    for (std::size_t at = 0; at < frame.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        Bytes bent = frame;
        bent[at] ^= static_cast<std::uint8_t>(1 << bit);
        EXPECT_FALSE(pair.unprotect(bent)) << static_cast<int>(shell) << " byte " << at << " bit " << bit;
      }
    }
    EXPECT_TRUE(pair.unprotect(frame)) << "the window did not move for what was refused";
  }
}

TEST(Shell, AKeyFrameCannotBePassedOffAsADeltaFrameNorOneCodecAsAnother) {
  for (const Shell from : video_shells) {
    for (const Shell to : video_shells) {
      if (from == to) continue;
      Pair pair;
      const Bytes frame = pair.protect(from, Bytes(40, 3)), shell = pair.protect(to, Bytes(40, 3));
      const OpenedFrame ciphertext = *open_shell(ShellKind::video, frame), around = *open_shell(ShellKind::video, shell);
      const ByteView before = ByteView(shell).first(static_cast<std::size_t>(around.ciphertext.data() - shell.data()));
      const ByteView after = ByteView(shell).subspan(before.size() + around.ciphertext.size());
      EXPECT_FALSE(pair.unprotect(join({before, ciphertext.ciphertext, after})));
    }
  }
}

TEST(Shell, AnAv1FrameMayGetItsSizeOnTheWayAndOnlyTheRightOne) {
  for (const Shell shell : {Shell::av1_key, Shell::av1_delta}) {
    for (const std::size_t size : {10, 200, 20000}) {
      Pair pair;
      const std::size_t at = shell == Shell::av1_key ? av1_key_obu : 0;
      const Bytes picture(size, 1);
      const Bytes frame = with_obu_size(pair.protect(shell, picture), at);
      for (const int step : {-1, 1}) {
        Bytes wrong = frame;
        wrong[at + 1] = static_cast<std::uint8_t>(wrong[at + 1] + step);
        EXPECT_EQ(pair.unprotect(wrong).error(), Error(sframe_malformed));
      }
      EXPECT_EQ(pair.unprotect(join({frame, Bytes{0}})).error(), Error(sframe_malformed));
      EXPECT_EQ(pair.unprotect(ByteView(frame).first(frame.size() - 1)).error(), Error(sframe_malformed));
      ASSERT_TRUE(pair.unprotect(frame));
    }
  }
}

TEST(Shell, AnObuSizeHasOneForm) {
  Pair pair;
  const Bytes frame = pair.protect(Shell::av1_delta, Bytes(10, 1));
  Bytes longer = with_obu_size(frame, 0);
  longer[1] |= 0x80;
  longer.insert(longer.begin() + 2, 0x00);
  EXPECT_EQ(pair.unprotect(longer).error(), Error(sframe_malformed));
  EXPECT_EQ(pair.unprotect(Bytes{0x32, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x80}).error(), Error(sframe_malformed));
  EXPECT_EQ(pair.unprotect(Bytes{0x32, 0x80}).error(), Error(sframe_malformed));
}

TEST(Shell, H264NeverShowsAStartCodeWithinAndTakesThreeByteStartCodes) {
  Pair pair;
  std::size_t escapes = 0;
  for (std::size_t i = 0; i < 600; ++i) {
    const Bytes picture(400, static_cast<std::uint8_t>(i));
    const Bytes frame = pair.protect(i % 2 == 0 ? Shell::h264_key : Shell::h264_delta, picture);
    const OpenedFrame opened = *open_shell(ShellKind::video, frame);
    const ByteView inside(opened.ciphertext);
    for (std::size_t at = 2; at < inside.size(); ++at) {
      if (inside[at - 2] != 0 || inside[at - 1] != 0) continue;
      EXPECT_GE(inside[at], 3);
      escapes += inside[at] == 3;
    }
    EXPECT_EQ(frame.back(), 0x80);
    Bytes three;
    for (std::size_t at = 0; at < frame.size(); ++at) {
      const bool four = at + 4 <= frame.size() && equal(ByteView(frame).subspan(at, 4), Bytes{0, 0, 0, 1});
      if (!four) three.push_back(frame[at]);
    }
    EXPECT_EQ(*pair.unprotect(three), picture);
    EXPECT_EQ(pair.unprotect(frame).error(), Error(sframe_replayed));
  }
  EXPECT_GT(escapes, 100u) << "the header alone has two zeros in each frame";
}

TEST(Shell, WhatIsNoShellOfOursIsMalformed) {
  Pair pair;
  const Bytes key = pair.protect(Shell::h264_key, Bytes(40, 3));
  const auto error = [&](const Bytes& frame) {
    const auto opened = pair.unprotect(frame);
    EXPECT_FALSE(opened);
    return opened ? Error(sframe_unknown_key) : opened.error();
  };
  const Error malformed(sframe_malformed);
  EXPECT_EQ(error({}), malformed);
  EXPECT_EQ(error({0x00}), malformed);
  EXPECT_EQ(error({0x01}), malformed);
  EXPECT_EQ(error({0x00, 0x10, 0x20}), malformed);
  EXPECT_EQ(error({0x01, 0x10, 0x20}), malformed);
  EXPECT_EQ(error({0x12, 0x00, 0x32, 0x01, 0x80}), malformed) << "a temporal delimiter";
  EXPECT_EQ(error({0x34, 0x00, 0x90, 0x80}), malformed) << "an OBU extension";
  EXPECT_EQ(error({0x0a, 0x08, 0, 0, 0, 0, 0, 0, 0, 4}), malformed) << "a sequence header alone";
  EXPECT_EQ(error({0x0a, 0x08, 0, 0, 0, 0, 0, 0, 1, 4, 0x30, 0x90, 0x80}), malformed) << "another sequence header";
  EXPECT_EQ(error({0, 0, 0, 1, 0x41, 0xff, 0x80}), malformed) << "nothing inside";
  EXPECT_EQ(error({0, 0, 0, 1, 0x41, 0xff, 0x90, 0x81}), malformed) << "no end";
  EXPECT_EQ(error({0, 0, 0, 1, 0x41, 0xff, 0xa0, 0, 0, 1, 0x80}), malformed) << "a start code within";
  EXPECT_EQ(error({0, 0, 0, 1, 0x41, 0xff, 0xa0, 0, 0, 3, 0x80}), malformed) << "an escape without reason at the end";
  EXPECT_EQ(error({0, 0, 0, 1, 0x61, 0xff, 0xa0, 1, 0, 3, 0x80}), malformed) << "another slice header";
  Bytes twice = key;
  twice.insert(twice.end(), key.begin(), key.end());
  EXPECT_FALSE(pair.unprotect(twice));
  EXPECT_TRUE(pair.unprotect(key));
}

TEST(Shell, AudioHasNoneAndItsFirstBytesMeanNothing) {
  Pair pair;
  pair.sender.set_key(5, pair.base_key);
  pair.receiver.try_key(5, pair.base_key);
  const Bytes sound = {0xf8, 0xff, 0xfe}; // what Opus sends while nobody speaks
  const Bytes frame = pair.protect(Shell::none, sound);
  EXPECT_LT(frame[0], 0x80);
  EXPECT_EQ(*pair.unprotect(frame, ShellKind::none), sound);
}

TEST(Shell, TooLittleRoomIsAnErrorBeforeACounterIsUsedUp) {
  for (const Shell shell : video_shells) {
    Pair pair;
    Bytes out(max_protected_size(shell, 100) - 1);
    EXPECT_EQ(protect_frame(pair.sender, shell, Bytes(100), out).error(), Error(sframe_too_large));
    EXPECT_EQ(pair.sender.next_counter(), 0u);
  }
}

} // namespace
} // namespace satsuma::sframe
