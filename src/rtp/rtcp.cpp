#include "rtp/rtcp.h"

#include <algorithm>

namespace satsuma::rtp {

namespace {

constexpr std::size_t report_block_size = 24;

std::uint32_t read32(ByteView bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}
std::uint16_t read16(ByteView bytes) { return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]); }

void write_head(std::uint8_t count, RtcpType type, std::size_t body_size, SpanWriter& out) {
  out.u8(static_cast<std::uint8_t>(0x80 | count));
  out.u8(static_cast<std::uint8_t>(type));
  out.u16(static_cast<std::uint16_t>(body_size / 4)); // length in words minus one, and the head is one word
}

void write_block(const ReportBlock& block, SpanWriter& out) {
  out.u32(block.ssrc);
  out.u8(block.fraction_lost);
  out.u24(static_cast<std::uint32_t>(std::clamp(block.cumulative_lost, -0x800000, 0x7fffff)) & 0xffffffU);
  out.u32(block.highest_sequence);
  out.u32(block.jitter);
  out.u32(block.last_sender_report);
  out.u32(block.delay_since_last_sender_report);
}

} // namespace

Result<std::optional<RtcpPacket>> RtcpReader::next() {
  if (rest_.empty()) return std::optional<RtcpPacket>();
  if (rest_.size() < 4) return rtcp_truncated;
  if (rest_[0] >> 6 != 2) return rtcp_bad_version;
  const std::size_t size = 4 + std::size_t{4} * read16(rest_.subspan(2));
  if (size > rest_.size()) return rtcp_truncated;
  RtcpPacket packet;
  packet.count = rest_[0] & 0x1f;
  packet.type = rest_[1];
  packet.body = rest_.subspan(4, size - 4);
  if ((rest_[0] & 0x20) != 0) {
    // RFC 3550 s.6.4.1: the last byte counts the padding, a multiple of four.
    if (packet.body.empty()) return rtcp_bad_padding;
    const std::size_t padding = packet.body.back();
    if (padding == 0 || padding > packet.body.size()) return rtcp_bad_padding;
    packet.body = packet.body.first(packet.body.size() - padding);
  }
  rest_ = rest_.subspan(size);
  return std::optional<RtcpPacket>(packet);
}

std::optional<ReportBlock> ReportBlocks::next() {
  if (rest_.size() < report_block_size) return std::nullopt;
  ReportBlock block;
  block.ssrc = read32(rest_);
  block.fraction_lost = rest_[4];
  const std::uint32_t lost = std::uint32_t{rest_[5]} << 16 | std::uint32_t{rest_[6]} << 8 | rest_[7];
  block.cumulative_lost = static_cast<std::int32_t>(lost) - ((lost & 0x800000) != 0 ? 0x1000000 : 0);
  block.highest_sequence = read32(rest_.subspan(8));
  block.jitter = read32(rest_.subspan(12));
  block.last_sender_report = read32(rest_.subspan(16));
  block.delay_since_last_sender_report = read32(rest_.subspan(20));
  rest_ = rest_.subspan(report_block_size);
  return block;
}

Result<SenderReport> parse_sender_report(const RtcpPacket& packet) {
  if (!packet.is(RtcpType::sender_report)) return rtcp_wrong_type;
  const std::size_t blocks = report_block_size * packet.count;
  if (packet.body.size() < 24 + blocks) return rtcp_truncated;
  SenderReport report{{}, packet.body.subspan(24, blocks)};
  report.info.ssrc = read32(packet.body);
  report.info.ntp = std::uint64_t{read32(packet.body.subspan(4))} << 32 | read32(packet.body.subspan(8));
  report.info.rtp_timestamp = read32(packet.body.subspan(12));
  report.info.packets = read32(packet.body.subspan(16));
  report.info.octets = read32(packet.body.subspan(20));
  return report;
}

Result<ReceiverReport> parse_receiver_report(const RtcpPacket& packet) {
  if (!packet.is(RtcpType::receiver_report)) return rtcp_wrong_type;
  const std::size_t blocks = report_block_size * packet.count;
  if (packet.body.size() < 4 + blocks) return rtcp_truncated;
  return ReceiverReport{read32(packet.body), packet.body.subspan(4, blocks)};
}

Result<Feedback> parse_feedback(const RtcpPacket& packet) {
  if (!packet.is(RtcpType::transport_feedback) && !packet.is(RtcpType::payload_feedback)) return rtcp_wrong_type;
  if (packet.body.size() < 8) return rtcp_truncated;
  return Feedback{read32(packet.body), read32(packet.body.subspan(4)), packet.body.subspan(8)};
}

std::optional<std::uint16_t> NackedSequences::next() {
  while (mask_ != 0) {
    ++last_;
    const bool lost = (mask_ & 1) != 0;
    mask_ = static_cast<std::uint16_t>(mask_ >> 1);
    if (lost) return last_;
  }
  if (rest_.size() < 4) return std::nullopt;
  last_ = read16(rest_);
  mask_ = read16(rest_.subspan(2));
  rest_ = rest_.subspan(4);
  return last_;
}

std::optional<std::uint32_t> FirTargets::next() {
  if (rest_.size() < 8) return std::nullopt;
  const std::uint32_t ssrc = read32(rest_);
  rest_ = rest_.subspan(8);
  return ssrc;
}

void write_sender_report(const SenderInfo& info, std::span<const ReportBlock> blocks, SpanWriter& out) {
  SATSUMA_CHECK(blocks.size() <= 31);
  write_head(static_cast<std::uint8_t>(blocks.size()), RtcpType::sender_report, 24 + report_block_size * blocks.size(), out);
  out.u32(info.ssrc);
  out.u64(info.ntp);
  out.u32(info.rtp_timestamp);
  out.u32(info.packets);
  out.u32(info.octets);
  for (const ReportBlock& block : blocks) write_block(block, out);
}

void write_receiver_report(std::uint32_t sender, std::span<const ReportBlock> blocks, SpanWriter& out) {
  SATSUMA_CHECK(blocks.size() <= 31);
  write_head(static_cast<std::uint8_t>(blocks.size()), RtcpType::receiver_report, 4 + report_block_size * blocks.size(), out);
  out.u32(sender);
  for (const ReportBlock& block : blocks) write_block(block, out);
}

void write_cname(std::uint32_t ssrc, std::string_view cname, SpanWriter& out) {
  SATSUMA_CHECK(cname.size() <= 255);
  // A chunk ends with at least one zero byte and is padded to a whole word.
  const std::size_t chunk = (4 + 2 + cname.size() + 1 + 3) / 4 * 4;
  write_head(1, RtcpType::source_description, chunk, out);
  out.u32(ssrc);
  out.u8(1);
  out.u8(static_cast<std::uint8_t>(cname.size()));
  out.bytes(as_bytes(cname));
  out.zeros(chunk - 6 - cname.size());
}

void write_bye(std::uint32_t ssrc, SpanWriter& out) {
  write_head(1, RtcpType::bye, 4, out);
  out.u32(ssrc);
}

std::size_t write_nack(std::uint32_t sender, std::uint32_t media, std::span<const std::uint16_t> sequences, SpanWriter& out,
                       std::size_t max_items) {
  // Two passes over the same grouping: the length stands before the items.
  const auto group_end = [&](std::size_t begin) {
    std::size_t end = begin + 1;
    while (end < sequences.size()) {
      const auto distance = static_cast<std::uint16_t>(sequences[end] - sequences[begin]);
      if (distance == 0 || distance > 16) break;
      ++end;
    }
    return end;
  };
  std::size_t items = 0, covered = 0;
  while (covered < sequences.size() && items < max_items) {
    covered = group_end(covered);
    ++items;
  }
  if (items == 0) return 0;
  write_head(format_nack, RtcpType::transport_feedback, 8 + 4 * items, out);
  out.u32(sender);
  out.u32(media);
  for (std::size_t begin = 0; begin < covered;) {
    const std::size_t end = group_end(begin);
    std::uint16_t mask = 0;
    for (std::size_t i = begin + 1; i < end; ++i)
      mask = static_cast<std::uint16_t>(mask | 1U << (static_cast<std::uint16_t>(sequences[i] - sequences[begin]) - 1));
    out.u16(sequences[begin]);
    out.u16(mask);
    begin = end;
  }
  return covered;
}

void write_pli(std::uint32_t sender, std::uint32_t media, SpanWriter& out) {
  write_head(format_pli, RtcpType::payload_feedback, 8, out);
  out.u32(sender);
  out.u32(media);
}

void write_fir(std::uint32_t sender, std::uint32_t media, std::uint8_t command, SpanWriter& out) {
  write_head(format_fir, RtcpType::payload_feedback, 16, out);
  out.u32(sender);
  out.u32(0); // RFC 5104 s.4.3.1.2: the target stands in the FCI
  out.u32(media);
  out.u8(command);
  out.zeros(3);
}

} // namespace satsuma::rtp
