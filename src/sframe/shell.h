#pragma once

#include "sframe/sframe.h"

namespace satsuma::sframe {

/// What a browser's packetiser must see in front of a frame that is ciphertext from its first byte to its last.
/// The clear bytes are made up, carry one fact (is it a key frame) and are authenticated as SFrame metadata.
enum class Shell : std::uint8_t {
  none = 0, ///< Opus and VP9: nothing
  vp8_key = 1,
  vp8_delta = 2,
};

/// How a receiver reads the frames of a stream; it needs no codec parser.
enum class ShellKind : std::uint8_t { none = 0, vp8 = 1 };

inline constexpr std::size_t max_shell_size = 1;

/// Shell and SFrame ciphertext into `out`, which has frame.size() + max_overhead + max_shell_size bytes.
Result<MutableByteView> protect_frame(Sender& sender, Shell shell, ByteView frame, MutableByteView out);

/// sframe_malformed when the shell is none of ours. `out` has frame.size() bytes and does not overlap `frame`.
Result<Unprotected> unprotect_frame(Receiver& receiver, ShellKind kind, ByteView frame, MutableByteView out);

} // namespace satsuma::sframe
