#pragma once

#include <optional>

#include "sframe/sframe.h"

/// What a browser's packetiser must see around a frame that is ciphertext from its first byte to its last. The clear bytes are
/// constants of ours and carry one fact, whether it is a key frame; they are authenticated as SFrame metadata, in the form in which they
/// are written. Of what the encoder made nothing stays outside the ciphertext, its sequence headers and parameter sets included.
namespace satsuma::sframe {

/// Which of them a frame gets.
enum class Shell : std::uint8_t {
  none = 0,      ///< Opus (in RED too, RFC 2198) and VP9, each spatial layer of which is a frame of its own
  vp8_key = 1,   ///< one byte, for the inverse key frame bit of RFC 7741 s.4.3: 00
  vp8_delta = 2, ///< 01
  av1_key = 3,   ///< a sequence header OBU, then one frame OBU without size field that holds the ciphertext
  av1_delta = 4, ///< the frame OBU alone
  h264_key = 5,  ///< SPS, PPS and one IDR slice NAL unit that holds the ciphertext, with emulation prevention
  h264_delta = 6 ///< one slice NAL unit
};
inline constexpr std::uint8_t last_shell = 6;

/// How a receiver reads the frames of a stream. It needs no codec parser, nor need it be told which codec it is: shells differ in their first
/// bytes, so that a sender may change from one codec to another between two frames.
enum class ShellKind : std::uint8_t {
  none = 0, ///< audio
  video = 1 ///< any of the above. Key ids must be 8 or more: then SFrame's first byte has its top bit set (RFC 9605 s.4.3), as no shell's has
};

inline constexpr std::size_t max_shell_size = 40;
/// What `out` must have for a frame of `size` bytes.
constexpr std::size_t max_protected_size(Shell shell, std::size_t size) {
  const std::size_t sealed = size + max_overhead;
  // Each two bytes may need a third that keeps them from looking like a start code.
  return max_shell_size + sealed + (shell == Shell::h264_key || shell == Shell::h264_delta ? sealed / 2 : 0);
}

/// Shell and SFrame ciphertext into `out`, which does not overlap `frame`. sframe_too_large, before a counter is used up, if `out` has less than
/// max_protected_size(). `flags` as in Sender::protect.
Result<MutableByteView> protect_frame(Sender& sender, Shell shell, ByteView frame, MutableByteView out, std::uint64_t flags = 0);

/// A frame whose shell is one of ours; nothing of it is authenticated yet.
struct OpenedFrame {
  Shell shell = Shell::none;
  ByteView ciphertext;        ///< in the frame, with H.264's emulation prevention bytes still in it

  /// Of shells that tell.
  std::optional<bool> key_frame() const;
};

/// sframe_malformed for anything but a shell as it is written or as packetisers leave it: they give an AV1 frame OBU its size, which has to be right,
/// and H.264's start codes three bytes or four.
Result<OpenedFrame> open_shell(ShellKind kind, ByteView frame);
/// SFrame's header behind the shell.
Result<Header> parse_frame_header(const OpenedFrame& frame);

/// `out` has as many bytes as the frame and does not overlap it. The plaintext is at its front.
Result<Unprotected> unprotect_frame(Receiver& receiver, ForgeryAllowance& line, const OpenedFrame& frame, MutableByteView out);
/// Both steps at once.
Result<Unprotected> unprotect_frame(Receiver& receiver, ForgeryAllowance& line, ShellKind kind, ByteView frame, MutableByteView out);

} // namespace satsuma::sframe
