#include "container/ogg_opus.h"

#include <algorithm>
#include <array>

namespace satsuma::container {

namespace {

constexpr std::size_t page_header_size = 27;
constexpr std::uint8_t flag_continued = 1, flag_first = 2, flag_last = 4;

std::uint64_t little(ByteView bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i > 0; --i) value = value << 8 | bytes[i - 1];
  return value;
}

void put(Bytes& out, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) out.push_back(static_cast<std::uint8_t>(value >> 8 * i));
}

// RFC 3533 s.6, field 7: polynomial 0x04c11db7, most significant bit first, over the page with this field zero.
constexpr std::array<std::uint32_t, 256> crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t r = i << 24;
    for (int bit = 0; bit < 8; ++bit) r = r << 1 ^ ((r & 0x80000000U) != 0 ? 0x04c11db7U : 0U);
    table[i] = r;
  }
  return table;
}();

std::uint32_t checksum(ByteView page) {
  std::uint32_t crc = 0;
  for (std::size_t i = 0; i < page.size(); ++i) {
    const std::uint8_t byte = i >= 22 && i < 26 ? std::uint8_t{0} : page[i];
    crc = crc << 8 ^ crc_table[(crc >> 24 ^ byte) & 0xff];
  }
  return crc;
}

} // namespace

std::uint32_t opus_samples(ByteView packet) {
  if (packet.empty()) return 0;
  const unsigned config = packet[0] >> 3;
  std::uint32_t frame = 0;
  if (config < 12) frame = std::array<std::uint32_t, 4>{480, 960, 1920, 2880}[config % 4]; // SILK
  else if (config < 16) frame = std::array<std::uint32_t, 2>{480, 960}[config % 2];        // hybrid
  else frame = std::array<std::uint32_t, 4>{120, 240, 480, 960}[config % 4];               // CELT
  switch (packet[0] & 3) {
    case 0: return frame;
    case 1:
    case 2: return 2 * frame;
    default: break;
  }
  const std::uint32_t samples = packet.size() < 2 ? 0 : frame * (packet[1] & 63U);
  return samples > 5760 ? 0 : samples; // 120 ms is the most
}

Result<bool> OggOpusReader::next_page() {
  while (true) {
    if (rest_.size() < page_header_size) return false;
    if (as_text(rest_.first(4)) != "OggS" || rest_[4] != 0) return ogg_malformed;
    const std::size_t segments = rest_[26];
    if (rest_.size() < page_header_size + segments) return false;
    const ByteView lacing = rest_.subspan(page_header_size, segments);
    std::size_t size = 0;
    for (const std::uint8_t length : lacing) size += length;
    if (rest_.size() - page_header_size - segments < size) return false; // cut off
    const ByteView page = rest_.first(page_header_size + segments + size);
    if (checksum(page) != little(page.subspan(22, 4))) return ogg_malformed;
    const auto serial = static_cast<std::uint32_t>(little(page.subspan(14, 4)));
    const ByteView body = page.subspan(page_header_size + segments);
    rest_ = rest_.subspan(page.size());
    if (!serial_known_) {
      // RFC 7845 s.5.1: the first page of the stream holds the identification header alone.
      if ((page[5] & flag_first) == 0 || body.size() < 19 || as_text(body.first(8)) != "OpusHead") continue;
      serial_known_ = true;
      serial_ = serial;
      channels_ = body[9];
      return true;
    }
    if (serial != serial_) continue;
    if ((page[5] & flag_continued) == 0 && in_packet_) {
      packet_.clear(); // its end was lost
      in_packet_ = false;
    }
    lacing_ = lacing;
    body_ = body;
    if ((page[5] & flag_continued) != 0 && !in_packet_) {
      // The end of something whose beginning is not there.
      while (!lacing_.empty()) {
        const std::uint8_t length = lacing_.front();
        body_ = body_.subspan(length);
        lacing_ = lacing_.subspan(1);
        if (length < 255) break;
      }
    }
    return true;
  }
}

Result<OggOpusReader> OggOpusReader::open(ByteView file) {
  OggOpusReader reader(file);
  SATSUMA_TRY(const bool found, reader.next_page());
  if (!found || reader.channels_ == 0) return ogg_not_opus;
  reader.file_ = reader.rest_;
  return reader;
}

void OggOpusReader::rewind() {
  rest_ = file_;
  lacing_ = body_ = {};
  packet_.clear();
  in_packet_ = false;
}

Result<std::optional<ByteView>> OggOpusReader::next() {
  if (!in_packet_) packet_.clear();
  while (true) {
    while (!lacing_.empty()) {
      const std::uint8_t length = lacing_.front();
      lacing_ = lacing_.subspan(1);
      if (!in_packet_) packet_.clear();
      packet_.insert(packet_.end(), body_.begin(), body_.begin() + length);
      body_ = body_.subspan(length);
      if (packet_.size() > max_opus_packet) return ogg_malformed;
      in_packet_ = length == 255;
      if (in_packet_) continue;
      if (as_text(packet_).starts_with("OpusTags")) continue;
      if (opus_samples(packet_) == 0) continue; // nothing to play
      return std::optional<ByteView>(packet_);
    }
    SATSUMA_TRY(const bool more, next_page());
    if (!more) return std::optional<ByteView>();
  }
}

Bytes OggOpusWriter::page(std::uint8_t flags, std::uint64_t granule, ByteView packet) {
  SATSUMA_CHECK(packet.size() < 255 * 255);
  Bytes out = to_bytes(as_bytes("OggS"));
  put(out, 0, 1);
  put(out, flags, 1);
  put(out, granule, 8);
  put(out, serial_, 4);
  put(out, sequence_++, 4);
  put(out, 0, 4);
  const std::size_t full = packet.size() / 255;
  out.push_back(static_cast<std::uint8_t>(full + 1));
  out.insert(out.end(), full, 255);
  out.push_back(static_cast<std::uint8_t>(packet.size() % 255));
  out.insert(out.end(), packet.begin(), packet.end());
  const std::uint32_t crc = checksum(out);
  for (std::size_t i = 0; i < 4; ++i) out[22 + i] = static_cast<std::uint8_t>(crc >> 8 * i);
  return out;
}

Bytes OggOpusWriter::header() {
  Bytes head = to_bytes(as_bytes("OpusHead"));
  put(head, 1, 1);
  put(head, channels_, 1);
  put(head, 0, 2); // pre-skip
  put(head, 48000, 4);
  put(head, 0, 2); // gain
  put(head, 0, 1); // mono or stereo
  Bytes tags = to_bytes(as_bytes("OpusTags"));
  put(tags, 7, 4);
  for (const char c : std::string_view("Satsuma")) tags.push_back(static_cast<std::uint8_t>(c));
  put(tags, 0, 4);
  Bytes out = page(flag_first, 0, head);
  const Bytes second = page(0, 0, tags);
  out.insert(out.end(), second.begin(), second.end());
  return out;
}

Bytes OggOpusWriter::packet(ByteView packet, std::uint64_t granule, bool last) { return page(last ? flag_last : std::uint8_t{0}, granule, packet); }

} // namespace satsuma::container
