#include "container/ivf.h"

#include <algorithm>

namespace satsuma::container {

namespace {

// The file is little endian.
std::uint64_t little(ByteView bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i > 0; --i) value = value << 8 | bytes[i - 1];
  return value;
}

void put(Bytes& out, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) out.push_back(static_cast<std::uint8_t>(value >> 8 * i));
}

constexpr std::size_t header_size = 32;
constexpr std::size_t frame_header_size = 12;

} // namespace

std::optional<Vp8Size> vp8_size(ByteView frame) {
  // RFC 6386 s.9.1: three bytes of frame tag, the start code, then 14 bits each.
  if (frame.size() < 10 || !is_vp8_key_frame(frame) || frame[3] != 0x9d || frame[4] != 0x01 || frame[5] != 0x2a) return std::nullopt;
  return Vp8Size{static_cast<std::uint16_t>(little(frame.subspan(6, 2)) & 0x3fff), static_cast<std::uint16_t>(little(frame.subspan(8, 2)) & 0x3fff)};
}

Result<IvfReader> IvfReader::open(ByteView file) {
  if (file.size() < header_size || as_text(file.first(4)) != "DKIF") return ivf_malformed;
  const std::uint64_t size = little(file.subspan(6, 2));
  if (size < header_size || size > file.size()) return ivf_malformed;
  if (as_text(file.subspan(8, 4)) != "VP80") return ivf_not_vp8;
  IvfReader reader;
  reader.denominator_ = static_cast<std::uint32_t>(little(file.subspan(16, 4)));
  reader.numerator_ = static_cast<std::uint32_t>(little(file.subspan(20, 4)));
  if (reader.denominator_ == 0 || reader.numerator_ == 0) return ivf_malformed;
  reader.frames_ = reader.rest_ = file.subspan(static_cast<std::size_t>(size));
  return reader;
}

Result<std::optional<IvfReader::Frame>> IvfReader::next() {
  if (rest_.size() < frame_header_size) return std::optional<Frame>();
  const std::uint64_t size = little(rest_.first(4));
  if (size > max_ivf_frame) return ivf_malformed;
  if (rest_.size() - frame_header_size < size) return std::optional<Frame>();
  Frame frame{little(rest_.subspan(4, 8)), rest_.subspan(frame_header_size, static_cast<std::size_t>(size))};
  rest_ = rest_.subspan(frame_header_size + static_cast<std::size_t>(size));
  return std::optional(frame);
}

Bytes ivf_header(Vp8Size size) {
  Bytes out = to_bytes(as_bytes("DKIF"));
  put(out, 0, 2);
  put(out, header_size, 2);
  for (const char c : std::string_view("VP80")) out.push_back(static_cast<std::uint8_t>(c));
  put(out, size.width, 2);
  put(out, size.height, 2);
  put(out, 90000, 4);
  put(out, 1, 4);
  put(out, 0, 8); // the number of frames, which nobody relies on
  return out;
}

Bytes ivf_frame_header(std::size_t size, std::uint64_t timestamp) {
  Bytes out;
  put(out, size, 4);
  put(out, timestamp, 8);
  return out;
}

} // namespace satsuma::container
