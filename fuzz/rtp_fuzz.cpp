// RTP packets and VP8 descriptors as anybody may send them: nothing read lies outside the packet, and what is rewritten stays what it was.

#include "rtp/packet.h"
#include "rtp/packet_history.h"
#include "rtp/vp8.h"

using namespace satsuma;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(data, size);
  if (const auto packet = rtp::parse_packet(bytes)) {
    SATSUMA_CHECK(packet->header_size + packet->payload.size() + packet->padding_size == size);
    for (unsigned id = 1; id < 256; ++id)
      if (const auto value = packet->extension(static_cast<std::uint8_t>(id)))
        SATSUMA_CHECK(value->empty() || (value->data() >= data && value->data() + value->size() <= data + packet->header_size));
    (void)rtp::parse_retransmission(packet->payload);
  }
  if (const auto descriptor = rtp::parse_vp8_descriptor(bytes)) {
    SATSUMA_CHECK(descriptor->size <= size);
    (void)rtp::starts_vp8_key_frame(*descriptor, bytes);
    Bytes copy = to_bytes(bytes);
    rtp::rewrite_vp8_descriptor(*descriptor, 0x2345, 0x67, copy);
    const auto again = rtp::parse_vp8_descriptor(copy);
    SATSUMA_CHECK(again && again->size == descriptor->size && again->picture_id.has_value() == descriptor->picture_id.has_value());
    if (again->picture_id) SATSUMA_CHECK(*again->picture_id == (descriptor->long_picture_id ? 0x2345 : 0x45));
  }
  return 0;
}
