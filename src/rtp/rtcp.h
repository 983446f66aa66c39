#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"

namespace satsuma::rtp {

inline constexpr ErrorCode rtcp_truncated{"rtcp_truncated", ErrorKind::peer};
inline constexpr ErrorCode rtcp_bad_version{"rtcp_bad_version", ErrorKind::peer};
inline constexpr ErrorCode rtcp_bad_padding{"rtcp_bad_padding", ErrorKind::peer};
inline constexpr ErrorCode rtcp_wrong_type{"rtcp_wrong_type", ErrorKind::caller};
inline constexpr ErrorCode rtcp_too_many_items{"rtcp_too_many_items", ErrorKind::peer};

enum class RtcpType : std::uint8_t {
  sender_report = 200,
  receiver_report = 201,
  source_description = 202,
  bye = 203,
  application = 204,
  transport_feedback = 205, ///< RFC 4585 s.6.2: NACK is format 1, transport-wide congestion control 15
  payload_feedback = 206,   ///< RFC 4585 s.6.3: PLI is 1, FIR 4 (RFC 5104), REMB 15
  extended_report = 207,
};

inline constexpr std::uint8_t format_nack = 1;
inline constexpr std::uint8_t format_transport_wide = 15;
inline constexpr std::uint8_t format_pli = 1;
inline constexpr std::uint8_t format_fir = 4;
inline constexpr std::uint8_t format_application = 15; ///< REMB among others

/// One packet of a compound, with its length checked and padding taken off. The type may be one that nobody knows.
struct RtcpPacket {
  std::uint8_t type = 0;
  std::uint8_t count = 0; ///< or the feedback format
  ByteView body;          ///< after the four bytes of header

  bool is(RtcpType wanted) const { return type == static_cast<std::uint8_t>(wanted); }
  bool is_transport_feedback(std::uint8_t format) const { return is(RtcpType::transport_feedback) && count == format; }
  bool is_payload_feedback(std::uint8_t format) const { return is(RtcpType::payload_feedback) && count == format; }
};

/// Walks a compound (RFC 3550 s.6.1) or reduced-size (RFC 5506) packet. An error ends it: nothing after is trusted.
class RtcpReader {
 public:
  explicit RtcpReader(ByteView compound) : rest_(compound) {}
  /// Empty at the end.
  Result<std::optional<RtcpPacket>> next();

 private:
  ByteView rest_;
};

/// RFC 3550 s.6.4.1.
struct ReportBlock {
  std::uint32_t ssrc = 0;
  std::uint8_t fraction_lost = 0;
  std::int32_t cumulative_lost = 0; ///< 24 bits, signed
  std::uint32_t highest_sequence = 0;
  std::uint32_t jitter = 0; ///< in units of the stream's timestamps
  std::uint32_t last_sender_report = 0;
  std::uint32_t delay_since_last_sender_report = 0; ///< in 1/65536 s
};

struct SenderInfo {
  std::uint32_t ssrc = 0;
  std::uint64_t ntp = 0; ///< 32.32 fixed point
  std::uint32_t rtp_timestamp = 0;
  std::uint32_t packets = 0;
  std::uint32_t octets = 0;
};

/// Report blocks of an SR or RR, read one at a time; at most 31.
class ReportBlocks {
 public:
  ReportBlocks(ByteView bytes) : rest_(bytes) {} // NOLINT: a view of whole blocks
  std::optional<ReportBlock> next();

 private:
  ByteView rest_;
};

struct SenderReport {
  SenderInfo info;
  ReportBlocks blocks;
};
struct ReceiverReport {
  std::uint32_t ssrc = 0;
  ReportBlocks blocks;
};
Result<SenderReport> parse_sender_report(const RtcpPacket& packet);
Result<ReceiverReport> parse_receiver_report(const RtcpPacket& packet);

/// The common form of feedback messages (RFC 4585 s.6.1).
struct Feedback {
  std::uint32_t sender = 0;
  std::uint32_t media = 0;
  ByteView control; ///< FCI
};
Result<Feedback> parse_feedback(const RtcpPacket& packet);

/// The sequence numbers of a generic NACK's FCI (RFC 4585 s.6.2.1), in their order.
class NackedSequences {
 public:
  explicit NackedSequences(ByteView control) : rest_(control) {}
  std::optional<std::uint16_t> next();

 private:
  ByteView rest_;
  std::uint16_t last_ = 0;
  std::uint16_t mask_ = 0;
};

/// The SSRCs of a FIR's FCI (RFC 5104 s.4.3.1).
class FirTargets {
 public:
  explicit FirTargets(ByteView control) : rest_(control) {}
  std::optional<std::uint32_t> next();

 private:
  ByteView rest_;
};

// ---- writing: each appends one packet to `out`; what does not fit makes out.written() fail

/// At most 31 blocks.
void write_sender_report(const SenderInfo& info, std::span<const ReportBlock> blocks, SpanWriter& out);
void write_receiver_report(std::uint32_t sender, std::span<const ReportBlock> blocks, SpanWriter& out);
/// SDES with one chunk that holds a CNAME of at most 255 bytes (RFC 3550 s.6.5).
void write_cname(std::uint32_t ssrc, std::string_view cname, SpanWriter& out);
void write_bye(std::uint32_t ssrc, SpanWriter& out);
/// `sequences` rise on the circle; neighbours share an item. Returns how many of them were written: as many as the space holds.
std::size_t write_nack(std::uint32_t sender, std::uint32_t media, std::span<const std::uint16_t> sequences, SpanWriter& out,
                       std::size_t max_items = 64);
void write_pli(std::uint32_t sender, std::uint32_t media, SpanWriter& out);
void write_fir(std::uint32_t sender, std::uint32_t media, std::uint8_t command, SpanWriter& out);

/// 32.32 seconds since 1900 cut to the middle 32 bits, as reports quote it (RFC 3550 s.6.4.1, LSR).
inline std::uint32_t compact_ntp(std::uint64_t ntp) { return static_cast<std::uint32_t>(ntp >> 16); }

} // namespace satsuma::rtp
