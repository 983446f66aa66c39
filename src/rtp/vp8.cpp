#include "rtp/vp8.h"

namespace satsuma::rtp {

Result<Vp8Descriptor> parse_vp8_descriptor(ByteView payload) {
  Vp8Descriptor d;
  std::size_t at = 0;
  const auto left = [&] { return payload.size() - at; };
  if (left() < 1) return vp8_truncated;
  const std::uint8_t first = payload[at++];
  d.non_reference = (first & 0x20) != 0;
  d.start_of_partition = (first & 0x10) != 0;
  d.partition = first & 0x07;
  if ((first & 0x80) != 0) {
    if (left() < 1) return vp8_truncated;
    const std::uint8_t present = payload[at++];
    if ((present & 0x80) != 0) {
      if (left() < 1) return vp8_truncated;
      d.picture_id_offset = at;
      d.long_picture_id = (payload[at] & 0x80) != 0;
      if (d.long_picture_id) {
        if (left() < 2) return vp8_truncated;
        d.picture_id = static_cast<std::uint16_t>((payload[at] & 0x7f) << 8 | payload[at + 1]);
        at += 2;
      } else {
        d.picture_id = payload[at++];
      }
    }
    if ((present & 0x40) != 0) {
      if (left() < 1) return vp8_truncated;
      d.tl0_offset = at;
      d.tl0_picture_index = payload[at++];
    }
    if ((present & 0x30) != 0) {
      if (left() < 1) return vp8_truncated;
      if ((present & 0x20) != 0) {
        d.temporal_layer = static_cast<std::uint8_t>(payload[at] >> 6);
        d.layer_sync = (payload[at] & 0x20) != 0;
      }
      ++at;
    }
  }
  d.size = at;
  return d;
}

bool starts_vp8_key_frame(const Vp8Descriptor& descriptor, ByteView payload) {
  return descriptor.starts_frame() && payload.size() > descriptor.size && (payload[descriptor.size] & 0x01) == 0;
}

void rewrite_vp8_descriptor(const Vp8Descriptor& descriptor, std::uint16_t picture_id, std::uint8_t tl0_picture_index,
                            MutableByteView payload) {
  SATSUMA_CHECK(payload.size() >= descriptor.size);
  if (descriptor.picture_id) {
    if (descriptor.long_picture_id) {
      payload[descriptor.picture_id_offset] = static_cast<std::uint8_t>(0x80 | (picture_id >> 8 & 0x7f));
      payload[descriptor.picture_id_offset + 1] = static_cast<std::uint8_t>(picture_id);
    } else {
      payload[descriptor.picture_id_offset] = static_cast<std::uint8_t>(picture_id & 0x7f);
    }
  }
  if (descriptor.tl0_picture_index) payload[descriptor.tl0_offset] = tl0_picture_index;
}

} // namespace satsuma::rtp
