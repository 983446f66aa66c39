#include "sframe/shell.h"

namespace satsuma::sframe {

namespace {
// RFC 7741 s.4.3: the lowest bit of a VP8 frame's first byte is the inverse key frame flag, and browsers read it on arrival.
constexpr std::uint8_t vp8_key_byte = 0x00;
constexpr std::uint8_t vp8_delta_byte = 0x01;
} // namespace

Result<MutableByteView> protect_frame(Sender& sender, Shell shell, ByteView frame, MutableByteView out) {
  if (shell == Shell::none) return sender.protect({}, frame, out);
  if (out.empty()) return sframe_too_large;
  const std::uint8_t clear = shell == Shell::vp8_key ? vp8_key_byte : vp8_delta_byte;
  SATSUMA_TRY(const MutableByteView sealed, sender.protect(ByteView(&clear, 1), frame, out.subspan(1)));
  out[0] = clear;
  return out.first(1 + sealed.size());
}

Result<Unprotected> unprotect_frame(Receiver& receiver, ShellKind kind, ByteView frame, MutableByteView out) {
  if (kind == ShellKind::none) return receiver.unprotect({}, frame, out);
  if (frame.empty() || frame[0] > vp8_delta_byte) return sframe_malformed;
  return receiver.unprotect(frame.first(1), frame.subspan(1), out);
}

} // namespace satsuma::sframe
