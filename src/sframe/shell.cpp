#include "sframe/shell.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace satsuma::sframe {

namespace {

// RFC 7741 s.4.3: the lowest bit of a VP8 frame's first byte is the inverse key frame flag, and browsers read it on arrival.
constexpr std::uint8_t vp8_key[] = {0x00};
constexpr std::uint8_t vp8_delta[] = {0x01};

// AV1 s.5.3.2: type 6 (frame), no extension; without a size field, as the last OBU may be. Depacketisers add one.
constexpr std::uint8_t av1_frame = 6 << 3;
constexpr std::uint8_t obu_has_size = 0x02;
// Before it, of type 1 and with its size: the sequence header (s.5.5) whose every field is as small as it may be, a picture of 1x1. Receivers
// begin to decode only where there is one, and do not look into it.
constexpr std::uint8_t av1_key[] = {0x0a, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, av1_frame};
constexpr std::uint8_t av1_delta[] = {av1_frame};

// ITU-T H.264 s.7.3.1: the types 7 (SPS), 8 (PPS), 5 (IDR slice) and 1 (slice), each behind a start code. Constrained baseline, one macroblock, with
// the bitstream restrictions that browsers would otherwise write into the SPS. FF reads as the front of a slice header that begins a picture.
constexpr std::uint8_t h264_key[] = {0x00, 0x00, 0x00, 0x01, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0x7a, 0x01, 0xe1, 0x10, 0x8d, 0x40, //
                                     0x00, 0x00, 0x00, 0x01, 0x68, 0xce, 0x38, 0x80,                                           //
                                     0x00, 0x00, 0x00, 0x01, 0x65, 0xff};
constexpr std::uint8_t h264_delta[] = {0x00, 0x00, 0x00, 0x01, 0x41, 0xff};
// s.7.3.2.11: a NAL unit does not end with a zero.
constexpr std::uint8_t h264_end = 0x80;

static_assert(std::size(h264_key) + 1 <= max_shell_size && std::size(av1_key) <= max_shell_size);

/// The clear bytes in front, in the form in which they are written and authenticated. What stands behind is the same for all frames of a shell.
ByteView clear_bytes(Shell shell) {
  switch (shell) {
  case Shell::none: return {};
  case Shell::vp8_key: return vp8_key;
  case Shell::vp8_delta: return vp8_delta;
  case Shell::av1_key: return av1_key;
  case Shell::av1_delta: return av1_delta;
  case Shell::h264_key: return h264_key;
  case Shell::h264_delta: return h264_delta;
  }
  SATSUMA_CHECK(false);
  return {};
}

bool is_h264(Shell shell) { return shell == Shell::h264_key || shell == Shell::h264_delta; }

bool starts_with(ByteView bytes, ByteView prefix) { return bytes.size() >= prefix.size() && equal(bytes.first(prefix.size()), prefix); }

// ---- emulation prevention (H.264 s.7.4.1): behind two zeros no byte below 04 stands without a 03 between them

constexpr std::uint8_t emulation_prevention = 0x03;

std::size_t count_escapes(ByteView bytes) {
  std::size_t count = 0, zeros = 0;
  for (const std::uint8_t byte : bytes) {
    if (zeros >= 2 && byte <= emulation_prevention) {
      ++count;
      zeros = 0;
    }
    zeros = byte == 0 ? zeros + 1 : 0;
  }
  return count;
}

/// Of the first `size` of `bytes`, in place; room for half as many more. Returns the new size.
std::size_t escape(MutableByteView bytes, std::size_t size) {
  const std::size_t escapes = count_escapes(bytes.first(size));
  if (escapes == 0) return size;
  std::memmove(bytes.data() + escapes, bytes.data(), size);
  std::size_t zeros = 0, to = 0;
  for (std::size_t from = escapes; from < escapes + size; ++from) {
    const std::uint8_t byte = bytes[from];
    if (zeros >= 2 && byte <= emulation_prevention) {
      bytes[to++] = emulation_prevention;
      zeros = 0;
    }
    bytes[to++] = byte;
    zeros = byte == 0 ? zeros + 1 : 0;
  }
  return to;
}

/// Up to out.size() bytes of what escape() wrote; sframe_malformed for anything else.
Result<std::size_t> unescape(ByteView escaped, MutableByteView out) {
  std::size_t zeros = 0, to = 0;
  for (std::size_t from = 0; from < escaped.size() && to < out.size(); ++from) {
    std::uint8_t byte = escaped[from];
    if (zeros >= 2 && byte <= emulation_prevention) {
      if (byte != emulation_prevention || ++from == escaped.size() || escaped[from] > emulation_prevention) return sframe_malformed;
      byte = escaped[from];
      zeros = 0;
    }
    out[to++] = byte;
    zeros = byte == 0 ? zeros + 1 : 0;
  }
  return to;
}

// ---- what depacketisers made of the shells

/// AV1 s.4.10.5: little endian, seven bits a byte. Only the shortest form, so that there is one.
std::optional<std::size_t> take_leb128(ByteView& bytes) {
  std::size_t value = 0;
  for (unsigned i = 0; i < 4 && i < bytes.size(); ++i) {
    value |= std::size_t{bytes[i] & 0x7fU} << (7 * i);
    if ((bytes[i] & 0x80) != 0) continue;
    if (i > 0 && bytes[i] == 0) return std::nullopt;
    bytes = bytes.subspan(i + 1);
    return value;
  }
  return std::nullopt;
}

/// `frame` begins with the frame OBU.
Result<OpenedFrame> open_av1(Shell shell, ByteView frame) {
  if (frame.empty() || (frame[0] & ~obu_has_size) != av1_frame) return sframe_malformed;
  ByteView rest = frame.subspan(1);
  if ((frame[0] & obu_has_size) != 0) {
    const auto size = take_leb128(rest);
    if (size != rest.size()) return sframe_malformed;
  }
  return OpenedFrame{shell, rest};
}

bool take_start_code(ByteView& bytes) {
  constexpr std::uint8_t start_code[] = {0x00, 0x00, 0x00, 0x01};
  for (const ByteView code : {ByteView(start_code), ByteView(start_code).subspan(1)}) {
    if (!starts_with(bytes, code)) continue;
    bytes = bytes.subspan(code.size());
    return true;
  }
  return false;
}

/// The NAL units of the shell, one after the other, whatever the length of their start codes. Empty, or what follows them.
std::optional<ByteView> skip_nal_units(ByteView frame, ByteView shell) {
  while (!shell.empty()) {
    if (!take_start_code(shell) || !take_start_code(frame)) return std::nullopt;
    constexpr std::uint8_t next[] = {0x00, 0x00, 0x00, 0x01};
    const auto end = std::search(shell.begin(), shell.end(), std::begin(next), std::end(next));
    const ByteView unit = shell.first(static_cast<std::size_t>(end - shell.begin()));
    if (!starts_with(frame, unit)) return std::nullopt;
    frame = frame.subspan(unit.size());
    shell = shell.subspan(unit.size());
  }
  return frame;
}

Result<OpenedFrame> open_h264(ByteView frame) {
  for (const Shell shell : {Shell::h264_delta, Shell::h264_key}) {
    const auto rest = skip_nal_units(frame, clear_bytes(shell));
    if (!rest) continue;
    if (rest->empty() || rest->back() != h264_end) return sframe_malformed;
    return OpenedFrame{shell, rest->first(rest->size() - 1)};
  }
  return sframe_malformed;
}

} // namespace

Result<MutableByteView> protect_frame(Sender& sender, Shell shell, ByteView frame, MutableByteView out, std::uint64_t flags) {
  if (out.size() < max_protected_size(shell, frame.size())) return sframe_too_large;
  const ByteView clear = clear_bytes(shell);
  const MutableByteView body = out.subspan(clear.size());
  SATSUMA_TRY(const MutableByteView sealed, sender.protect(clear, frame, body, flags));
  std::copy(clear.begin(), clear.end(), out.begin());
  std::size_t size = sealed.size();
  if (is_h264(shell)) {
    size = escape(body, size);
    body[size++] = h264_end;
  }
  return out.first(clear.size() + size);
}

std::optional<bool> OpenedFrame::key_frame() const {
  if (shell == Shell::none) return std::nullopt;
  return shell == Shell::vp8_key || shell == Shell::av1_key || shell == Shell::h264_key;
}

Result<OpenedFrame> open_shell(ShellKind kind, ByteView frame) {
  if (frame.size() < 2) return sframe_malformed;
  if (kind == ShellKind::none || (frame[0] & 0x80) != 0) return OpenedFrame{Shell::none, frame};
  if (frame[0] <= vp8_delta[0] && (frame[1] & 0x80) != 0)
    return OpenedFrame{frame[0] == vp8_key[0] ? Shell::vp8_key : Shell::vp8_delta, frame.subspan(1)};
  if (frame[0] == 0) return open_h264(frame);
  const ByteView sequence_header = ByteView(av1_key).first(std::size(av1_key) - 1);
  if (starts_with(frame, sequence_header)) return open_av1(Shell::av1_key, frame.subspan(sequence_header.size()));
  return open_av1(Shell::av1_delta, frame);
}

Result<Header> parse_frame_header(const OpenedFrame& frame) {
  if (!is_h264(frame.shell)) {
    SATSUMA_TRY(const ParsedHeader parsed, parse_header(frame.ciphertext));
    return parsed.header;
  }
  std::array<std::uint8_t, max_header_size> front;
  SATSUMA_TRY(const std::size_t size, unescape(frame.ciphertext, front));
  SATSUMA_TRY(const ParsedHeader parsed, parse_header(ByteView(front).first(size)));
  return parsed.header;
}

Result<Unprotected> unprotect_frame(Receiver& receiver, ForgeryAllowance& line, const OpenedFrame& frame, MutableByteView out) {
  if (!is_h264(frame.shell)) return receiver.unprotect(line, clear_bytes(frame.shell), frame.ciphertext, out);
  if (out.size() < frame.ciphertext.size()) return sframe_too_large;
  SATSUMA_TRY(const std::size_t size, unescape(frame.ciphertext, out));
  // In place, which leaves the plaintext where the ciphertext was: behind the header.
  SATSUMA_TRY(Unprotected unprotected, receiver.unprotect(line, clear_bytes(frame.shell), out.first(size), out));
  std::memmove(out.data(), unprotected.plaintext.data(), unprotected.plaintext.size());
  unprotected.plaintext = out.first(unprotected.plaintext.size());
  return unprotected;
}

Result<Unprotected> unprotect_frame(Receiver& receiver, ForgeryAllowance& line, ShellKind kind, ByteView frame, MutableByteView out) {
  SATSUMA_TRY(const OpenedFrame opened, open_shell(kind, frame));
  return unprotect_frame(receiver, line, opened, out);
}

} // namespace satsuma::sframe
