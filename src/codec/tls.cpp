#include "codec/tls.h"

namespace satsuma::codec {

Result<std::uint32_t> read_varint(ByteReader& reader) {
  ByteReader attempt = reader;
  SATSUMA_TRY(const std::uint8_t first, attempt.u8());
  const unsigned prefix = first >> 6;
  if (prefix == 3) return codec_varint_invalid;
  std::uint32_t value = first & 0x3f;
  for (unsigned i = 1; i < (1u << prefix); ++i) {
    SATSUMA_TRY(const std::uint8_t next, attempt.u8());
    value = value << 8 | next;
  }
  if (prefix == 1 && value < 0x40) return codec_varint_invalid;
  if (prefix == 2 && value < 0x4000) return codec_varint_invalid;
  reader = attempt;
  return value;
}

void write_varint(ByteWriter& writer, std::size_t value) {
  SATSUMA_CHECK(value <= max_varint);
  if (value < 0x40) {
    writer.u8(static_cast<std::uint8_t>(value));
  } else if (value < 0x4000) {
    writer.u16(static_cast<std::uint16_t>(0x4000 | value));
  } else {
    writer.u32(static_cast<std::uint32_t>(0x80000000u | value));
  }
}

std::size_t varint_size(std::size_t value) { return value < 0x40 ? 1 : value < 0x4000 ? 2 : 4; }

Result<ByteView> read_opaque(ByteReader& reader, std::size_t max_size) {
  ByteReader attempt = reader;
  SATSUMA_TRY(const std::uint32_t size, read_varint(attempt));
  if (size > max_size) return codec_too_long;
  SATSUMA_TRY(const ByteView body, attempt.bytes(size));
  reader = attempt;
  return body;
}

Result<Bytes> read_bytes(ByteReader& reader, std::size_t max_size) {
  SATSUMA_TRY(const ByteView body, read_opaque(reader, max_size));
  return to_bytes(body);
}

void write_opaque(ByteWriter& writer, ByteView bytes) {
  write_varint(writer, bytes.size());
  writer.bytes(bytes);
}

} // namespace satsuma::codec
