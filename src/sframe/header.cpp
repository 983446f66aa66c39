#include "sframe/header.h"

#include <bit>

namespace satsuma::sframe {

namespace {

// 0 to 7 fit the configuration byte's three bits; larger values follow in 1 to 8 bytes.
std::size_t extra_bytes(std::uint64_t value) {
  return value < 8 ? 0 : static_cast<std::size_t>(std::bit_width(value) + 7) / 8;
}

std::uint8_t configuration_bits(std::uint64_t value) {
  const std::size_t extra = extra_bytes(value);
  return static_cast<std::uint8_t>(extra == 0 ? value : 8 | (extra - 1));
}

void write_value(std::uint64_t value, MutableByteView out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(value >> (8 * (out.size() - 1 - i)));
}

Result<std::uint64_t> read_value(std::uint8_t bits, ByteReader& reader) {
  if ((bits & 8) == 0) return std::uint64_t{bits};
  const auto bytes = reader.bytes(static_cast<std::size_t>(bits & 7) + 1);
  if (!bytes) return sframe_malformed;
  std::uint64_t value = 0;
  for (std::uint8_t byte : *bytes) value = value << 8 | byte;
  return value;
}

} // namespace

Result<ParsedHeader> parse_header(ByteView frame) {
  ByteReader reader(frame);
  const auto configuration = reader.u8();
  if (!configuration) return sframe_malformed;
  SATSUMA_TRY(const std::uint64_t key_id, read_value(*configuration >> 4, reader));
  SATSUMA_TRY(const std::uint64_t counter, read_value(*configuration & 15, reader));
  return ParsedHeader{{key_id, counter}, frame.size() - reader.remaining()};
}

std::size_t header_size(const Header& header) { return 1 + extra_bytes(header.key_id) + extra_bytes(header.counter); }

std::size_t write_header(const Header& header, MutableByteView out) {
  const std::size_t key_id_size = extra_bytes(header.key_id);
  const std::size_t counter_size = extra_bytes(header.counter);
  SATSUMA_CHECK(out.size() >= 1 + key_id_size + counter_size);
  out[0] = static_cast<std::uint8_t>(configuration_bits(header.key_id) << 4 | configuration_bits(header.counter));
  write_value(header.key_id, out.subspan(1, key_id_size));
  write_value(header.counter, out.subspan(1 + key_id_size, counter_size));
  return 1 + key_id_size + counter_size;
}

} // namespace satsuma::sframe
