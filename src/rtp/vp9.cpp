#include "rtp/vp9.h"

namespace satsuma::rtp {

Result<Vp9Descriptor> parse_vp9_descriptor(ByteView payload) {
  ByteReader reader(payload);
  const auto first = reader.u8();
  if (!first) return vp9_truncated;
  const bool has_picture_id = (*first & 0x80) != 0;
  const bool has_layers = (*first & 0x20) != 0;
  Vp9Descriptor d;
  d.inter_picture_predicted = (*first & 0x40) != 0;
  d.flexible = (*first & 0x10) != 0;
  d.start_of_frame = (*first & 0x08) != 0;
  d.end_of_frame = (*first & 0x04) != 0;
  d.scalability_structure = (*first & 0x02) != 0;
  if (has_picture_id) {
    const auto high = reader.u8();
    if (!high) return vp9_truncated;
    d.picture_id = *high & 0x7f;
    if ((*high & 0x80) != 0) {
      const auto low = reader.u8();
      if (!low) return vp9_truncated;
      d.picture_id = static_cast<std::uint16_t>((*high & 0x7f) << 8 | *low);
    }
  }
  if (has_layers) {
    const auto layers = reader.u8();
    if (!layers) return vp9_truncated;
    d.temporal = static_cast<std::uint8_t>(*layers >> 5);
    d.switching_up_point = (*layers & 0x10) != 0;
    d.spatial = static_cast<std::uint8_t>(*layers >> 1 & 0x07);
    d.inter_layer_predicted = (*layers & 0x01) != 0;
    if (!d.flexible && !reader.u8()) return vp9_truncated; // TL0PICIDX
  }
  return d;
}

} // namespace satsuma::rtp
