#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "rtp/packet.h"
#include "rtp/sequence.h"

namespace satsuma::rtp {

inline constexpr ErrorCode rtx_truncated{"rtx_truncated", ErrorKind::peer};

/// What was received lately of one stream: payloads as they came, shared by everybody they are forwarded to. A ring in memory
/// that is taken once; a packet stays until the one `capacity` places later arrives.
class PacketHistory {
 public:
  static constexpr std::size_t max_payload = 1500;

  struct Entry {
    ExtendedSequence sequence = -1;
    std::uint32_t timestamp = 0;
    bool marker = false;
    std::uint32_t note = 0; ///< the caller's
    ByteView payload; ///< valid until the next store()
    ByteView extension; ///< as well; of the header, what was given to be kept
    std::uint32_t extension_note = 0;
  };

  /// A power of two.
  explicit PacketHistory(std::size_t capacity);

  /// False when it was there already, is too old, or too large to keep: max_payload is for both together, and an extension has 255 bytes.
  bool store(ExtendedSequence sequence, std::uint32_t timestamp, bool marker, ByteView payload, std::uint32_t note = 0, ByteView extension = {},
             std::uint32_t extension_note = 0);
  bool contains(ExtendedSequence sequence) const;
  std::optional<Entry> find(ExtendedSequence sequence) const;
  std::size_t capacity() const { return slots_.size(); }
  void clear();

 private:
  struct Slot {
    ExtendedSequence sequence = -1;
    std::uint32_t timestamp = 0;
    std::uint32_t note = 0;
    std::uint16_t size = 0;
    std::uint8_t extension_size = 0;
    bool marker = false;
    std::uint32_t extension_note = 0;
  };
  std::size_t place(ExtendedSequence sequence) const { return static_cast<std::size_t>(sequence) & (slots_.size() - 1); }

  std::vector<Slot> slots_;
  std::unique_ptr<std::uint8_t[]> bytes_; ///< not cleared, so that pages are touched when they are used
};

/// A retransmission packet (RFC 4588 s.4): its payload is the original sequence number, then the original payload.
struct Retransmission {
  std::uint16_t original_sequence = 0;
  ByteView payload; ///< empty for a padding probe
};
/// `payload` is that of a packet on the retransmission stream. rtx_truncated for less than two bytes.
Result<Retransmission> parse_retransmission(ByteView payload);

} // namespace satsuma::rtp
