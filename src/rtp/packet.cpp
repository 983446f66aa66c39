#include "rtp/packet.h"

#include <algorithm>

namespace satsuma::rtp {

namespace {

constexpr std::uint16_t one_byte_profile = 0xbede;     // RFC 8285 s.4.2
constexpr std::uint16_t two_byte_profile = 0x1000;     // s.4.3; the low four bits are "appbits"
constexpr std::uint8_t padding_id = 0;
constexpr std::uint8_t stop_id = 15;

enum class Step { element, end, malformed };

/// Takes the next element from the front of `rest`.
Step next_element(ByteView& rest, bool two_byte, HeaderExtension& element) {
  while (!rest.empty() && rest[0] == padding_id) rest = rest.subspan(1);
  if (rest.empty()) return Step::end;
  std::size_t head = 1, size = 0;
  if (two_byte) {
    if (rest.size() < 2) return Step::malformed;
    head = 2;
    element.id = rest[0];
    size = rest[1];
  } else {
    element.id = rest[0] >> 4;
    // s.4.2: id 15 ends the processing; an id of 0 with a length is padding that lies, and ends it too.
    if (element.id == stop_id || element.id == padding_id) return Step::end;
    size = (rest[0] & 0x0fU) + 1U;
  }
  if (rest.size() - head < size) return Step::malformed;
  element.value = rest.subspan(head, size);
  rest = rest.subspan(head + size);
  return Step::element;
}

} // namespace

Result<Packet> parse_packet(ByteView datagram) {
  if (datagram.size() < fixed_header_size) return rtp_truncated;
  if (datagram[0] >> 6 != 2) return rtp_bad_version;
  const bool has_padding = (datagram[0] & 0x20) != 0;
  const bool has_extension = (datagram[0] & 0x10) != 0;
  const std::size_t csrc_count = datagram[0] & 0x0fU;

  Packet packet;
  ByteReader reader(datagram.subspan(1));
  SATSUMA_TRY(const std::uint8_t second, reader.u8());
  packet.marker = (second & 0x80) != 0;
  packet.payload_type = second & 0x7f;
  SATSUMA_TRY(packet.sequence, reader.u16());
  SATSUMA_TRY(packet.timestamp, reader.u32());
  SATSUMA_TRY(packet.ssrc, reader.u32());
  if (!reader.bytes(4 * csrc_count)) return rtp_truncated;
  if (has_extension) {
    const auto profile = reader.u16();
    if (!profile) return rtp_truncated;
    const auto words = reader.u16();
    if (!words) return rtp_truncated;
    const auto block = reader.bytes(std::size_t{4} * *words);
    if (!block) return rtp_truncated;
    if (*profile == one_byte_profile || (*profile & 0xfff0) == two_byte_profile) {
      packet.extensions_ = *block;
      packet.two_byte_ = *profile != one_byte_profile;
      HeaderExtension element;
      ByteView rest = *block;
      Step step;
      while ((step = next_element(rest, packet.two_byte_, element)) == Step::element) {
      }
      if (step == Step::malformed) return rtp_bad_extension;
    }
  }
  packet.header_size = datagram.size() - reader.remaining();
  packet.payload = reader.rest();
  if (has_padding) {
    // RFC 3550 s.5.1: the last byte counts the padding, itself included.
    if (packet.payload.empty()) return rtp_bad_padding;
    packet.padding_size = packet.payload.back();
    if (packet.padding_size == 0 || packet.padding_size > packet.payload.size()) return rtp_bad_padding;
    packet.payload = packet.payload.first(packet.payload.size() - packet.padding_size);
  }
  return packet;
}

std::optional<ByteView> Packet::extension(std::uint8_t id) const {
  HeaderExtension element;
  ByteView rest = extensions_;
  while (next_element(rest, two_byte_, element) == Step::element)
    if (element.id == id) return element.value;
  return std::nullopt;
}

Result<MutableByteView> write_header(const Header& header, std::span<const HeaderExtension> extensions, MutableByteView out) {
  bool one_byte = true;
  std::size_t values = 0;
  for (const HeaderExtension& e : extensions) {
    if (e.id == 0 || e.value.size() > 255) return rtp_extension_unwritable;
    if (e.id > 14 || e.value.empty() || e.value.size() > 16) one_byte = false;
    values += e.value.size();
  }
  const std::size_t size = values + extensions.size() * (one_byte ? 1 : 2);
  const std::size_t words = (size + 3) / 4;
  if (words > 0xffff) return rtp_extension_unwritable;
  const std::size_t total = fixed_header_size + (extensions.empty() ? 0 : 4 + 4 * words);
  if (out.size() < total) return bytes_no_space;

  // Once for each packet and subscriber: the room was looked at, and what follows only writes.
  std::uint8_t* at = out.data();
  const auto u8 = [&at](std::size_t value) { *at++ = static_cast<std::uint8_t>(value); };
  const auto u16 = [&u8](std::size_t value) {
    u8(value >> 8);
    u8(value);
  };
  const auto u32 = [&u16](std::uint32_t value) {
    u16(value >> 16);
    u16(value);
  };
  u8(0x80 | (extensions.empty() ? 0U : 0x10U));
  u8((header.marker ? 0x80U : 0U) | (header.payload_type & 0x7fU));
  u16(header.sequence);
  u32(header.timestamp);
  u32(header.ssrc);
  if (!extensions.empty()) {
    u16(one_byte ? one_byte_profile : two_byte_profile);
    u16(words);
    for (const HeaderExtension& e : extensions) {
      if (one_byte) {
        u8(static_cast<unsigned>(e.id) << 4 | (e.value.size() - 1));
      } else {
        u8(e.id);
        u8(e.value.size());
      }
      for (const std::uint8_t byte : e.value) *at++ = byte; // two or three: a call would take longer
    }
    at = std::fill_n(at, words * 4 - size, std::uint8_t{0});
  }
  SATSUMA_CHECK(at == out.data() + total);
  return out.first(total);
}

} // namespace satsuma::rtp
