#include "rtp/packet_history.h"

#include <algorithm>

namespace satsuma::rtp {

PacketHistory::PacketHistory(std::size_t capacity)
    : slots_(capacity), bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(capacity * max_payload)) {
  SATSUMA_CHECK(capacity > 0 && (capacity & (capacity - 1)) == 0);
}

bool PacketHistory::store(ExtendedSequence sequence, std::uint32_t timestamp, bool marker, ByteView payload, std::uint32_t note,
                          ByteView extension, std::uint32_t extension_note) {
  if (extension.size() > 255 || payload.size() + extension.size() > max_payload || sequence < 0) return false;
  const std::size_t at = place(sequence);
  if (slots_[at].sequence >= sequence) return false;
  slots_[at] = {sequence, timestamp, note, static_cast<std::uint16_t>(payload.size()), static_cast<std::uint8_t>(extension.size()), marker, extension_note};
  std::copy(payload.begin(), payload.end(), bytes_.get() + at * max_payload);
  std::copy(extension.begin(), extension.end(), bytes_.get() + at * max_payload + payload.size());
  return true;
}

bool PacketHistory::contains(ExtendedSequence sequence) const {
  return sequence >= 0 && slots_[place(sequence)].sequence == sequence;
}

std::optional<PacketHistory::Entry> PacketHistory::find(ExtendedSequence sequence) const {
  if (!contains(sequence)) return std::nullopt;
  const Slot& slot = slots_[place(sequence)];
  const std::uint8_t* const bytes = bytes_.get() + place(sequence) * max_payload;
  return Entry{sequence, slot.timestamp, slot.marker, slot.note, ByteView(bytes, slot.size), ByteView(bytes + slot.size, slot.extension_size), slot.extension_note};
}

void PacketHistory::clear() { std::fill(slots_.begin(), slots_.end(), Slot{}); }

Result<Retransmission> parse_retransmission(ByteView payload) {
  if (payload.size() < 2) return rtx_truncated;
  return Retransmission{static_cast<std::uint16_t>(payload[0] << 8 | payload[1]), payload.subspan(2)};
}

} // namespace satsuma::rtp
