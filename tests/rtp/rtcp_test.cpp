#include "rtp/rtcp.h"

#include <gtest/gtest.h>

#include "rtp/transport_feedback.h"

namespace satsuma::rtp {
namespace {

Bytes hex(std::string_view text) {
  std::string packed;
  for (char c : text)
    if (c != ' ') packed += c;
  return *from_hex(packed);
}

template <class F>
Bytes written(F&& write) {
  Bytes out(1500);
  SpanWriter writer(out);
  write(writer);
  out.resize(writer.written()->size());
  return out;
}

RtcpPacket only(const Bytes& bytes) {
  RtcpReader reader(bytes);
  const auto packet = reader.next();
  EXPECT_TRUE(packet && *packet);
  const auto end = reader.next();
  EXPECT_TRUE(end && !*end);
  return **packet;
}

TEST(Rtcp, ACompoundIsWalkedPacketByPacket) {
  const ReportBlock block{7, 3, -5, 66000, 9, 10, 11};
  const Bytes bytes = written([&](SpanWriter& out) {
    write_sender_report({1, 0x1122334455667788, 3, 4, 5}, std::span(&block, 1), out);
    write_cname(1, "name", out);
    write_bye(1, out);
  });
  RtcpReader reader(bytes);
  auto packet = reader.next();
  auto sr = parse_sender_report(**packet);
  ASSERT_TRUE(sr);
  EXPECT_EQ(sr->info.ssrc, 1u);
  EXPECT_EQ(sr->info.ntp, 0x1122334455667788u);
  EXPECT_EQ(compact_ntp(sr->info.ntp), 0x33445566u);
  const auto read = sr->blocks.next();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->cumulative_lost, -5);
  EXPECT_EQ(read->highest_sequence, 66000u);
  EXPECT_FALSE(sr->blocks.next());
  packet = reader.next();
  EXPECT_TRUE((*packet)->is(RtcpType::source_description));
  packet = reader.next();
  EXPECT_TRUE((*packet)->is(RtcpType::bye));
  EXPECT_FALSE(*reader.next());
}

TEST(Rtcp, CnamesOfEveryLengthFillWholeWords) {
  for (std::size_t size = 0; size <= 255; ++size) {
    const Bytes bytes = written([&](SpanWriter& out) { write_cname(1, std::string(size, 'x'), out); });
    EXPECT_EQ(bytes.size() % 4, 0u);
    EXPECT_EQ(bytes.back(), 0);
    only(bytes);
  }
}

TEST(Rtcp, PacketsThatLieAboutTheirLengthOrPaddingAreRefused) {
  const auto error = [](std::string_view text) {
    const Bytes bytes = hex(text);
    return RtcpReader(bytes).next().error();
  };
  EXPECT_EQ(error("80c9"), Error(rtcp_truncated));
  EXPECT_EQ(error("00c90000"), Error(rtcp_bad_version));
  EXPECT_EQ(error("80c90001"), Error(rtcp_truncated));
  EXPECT_EQ(error("a0c90000"), Error(rtcp_bad_padding));
  EXPECT_EQ(error("a0c90001 00000000"), Error(rtcp_bad_padding));
  EXPECT_EQ(error("a0c90001 00000005"), Error(rtcp_bad_padding));
  const Bytes count = hex("82c90001 00000001"); // two blocks announced, none there
  EXPECT_EQ(parse_receiver_report(only(count)).error(), Error(rtcp_truncated));
  const Bytes report = hex("80c80001 00000001");
  EXPECT_EQ(parse_sender_report(only(report)).error(), Error(rtcp_truncated));
  const Bytes feedback = hex("81cd0001 00000001");
  EXPECT_EQ(parse_feedback(only(feedback)).error(), Error(rtcp_truncated));
  EXPECT_EQ(parse_feedback(only(count)).error(), Error(rtcp_wrong_type));
}

TEST(Rtcp, NacksShareItemsAndComeBackInTheirOrder) {
  const std::vector<std::uint16_t> lost{65534, 65535, 0, 14, 15, 100};
  const Bytes bytes = written([&](SpanWriter& out) { EXPECT_EQ(write_nack(1, 2, lost, out), lost.size()); });
  EXPECT_EQ(bytes.size(), 12u + 3 * 4); // 65534 to 14, 15, 100
  const auto feedback = parse_feedback(only(bytes));
  ASSERT_TRUE(feedback);
  EXPECT_EQ(feedback->media, 2u);
  NackedSequences sequences(feedback->control);
  std::vector<std::uint16_t> read;
  while (const auto s = sequences.next()) read.push_back(*s);
  EXPECT_EQ(read, lost);
  const Bytes bounded = written([&](SpanWriter& out) { EXPECT_EQ(write_nack(1, 2, lost, out, 1), 4u); });
  EXPECT_EQ(bounded.size(), 16u);
}

TEST(Rtcp, PliAndFirNameTheirTargets) {
  const Bytes pli = written([](SpanWriter& out) { write_pli(1, 2, out); });
  EXPECT_EQ(pli, hex("81ce0002 00000001 00000002"));
  const Bytes fir = written([](SpanWriter& out) { write_fir(1, 2, 9, out); });
  const auto packet = only(fir);
  EXPECT_TRUE(packet.is_payload_feedback(format_fir));
  FirTargets targets(parse_feedback(packet)->control);
  EXPECT_EQ(targets.next(), 2u);
  EXPECT_FALSE(targets.next());
}

TEST(TransportFeedback, AllKindsOfChunksAreRead) {
  // base 10, 26 statuses, reference 1 (64 ms), number 5
  // run of 3 received with small deltas; vector of 14 single bits 10...01; vector of 7 double bits: large, none, small, 4 none;
  // run of 2 lost
  Bytes bytes = hex("000a 001a 000001 05");
  const auto put16 = [&](unsigned v) {
    bytes.push_back(static_cast<std::uint8_t>(v >> 8));
    bytes.push_back(static_cast<std::uint8_t>(v));
  };
  put16(1U << 13 | 3);
  put16(0x8000 | 1U << 13 | 1);
  put16(0xc000 | 2U << 12 | 0U << 10 | 1U << 8);
  put16(0U << 13 | 2);
  for (int delta : {4, 4, 4, 8, 8}) bytes.push_back(static_cast<std::uint8_t>(delta)); // three of the run, two of the bits
  put16(static_cast<std::uint16_t>(-4));
  bytes.push_back(12);
  std::vector<PacketStatus> storage(64);
  const auto feedback = parse_transport_feedback(bytes, storage);
  ASSERT_TRUE(feedback) << feedback.error().name();
  EXPECT_EQ(feedback->number, 5);
  ASSERT_EQ(feedback->statuses.size(), 26u);
  std::vector<std::pair<int, std::int64_t>> received;
  for (const auto& s : feedback->statuses)
    if (s.received) received.emplace_back(s.sequence, s.arrival_us);
  EXPECT_EQ(received, (std::vector<std::pair<int, std::int64_t>>{
                          {10, 65000}, {11, 66000}, {12, 67000}, {13, 69000}, {26, 71000}, {27, 70000}, {29, 73000}}));
}

TEST(TransportFeedback, HostileMessagesAreRefusedAndCostLittle) {
  std::vector<PacketStatus> storage(64);
  EXPECT_EQ(parse_transport_feedback(hex("000a"), storage).error(), Error(transport_feedback_malformed));
  EXPECT_EQ(parse_transport_feedback(hex("000a 0000 000001 05"), storage).error(), Error(transport_feedback_malformed)); // about nothing
  EXPECT_EQ(parse_transport_feedback(hex("000a ffff 000001 05 1fff"), storage).error(), Error(rtcp_too_many_items));
  EXPECT_EQ(parse_transport_feedback(hex("000a 0041 000001 05 0041"), storage).error(), Error(rtcp_too_many_items)); // 65 > 64
  EXPECT_EQ(parse_transport_feedback(hex("000a 0005 000001 05 0000"), storage).error(), Error(transport_feedback_malformed)); // empty run
  EXPECT_EQ(parse_transport_feedback(hex("000a 0005 000001 05 6005"), storage).error(), Error(transport_feedback_malformed)); // reserved symbol
  EXPECT_EQ(parse_transport_feedback(hex("000a 0005 000001 05 2005 01"), storage).error(), Error(transport_feedback_malformed)); // deltas end
}

TEST(TransportFeedback, WhatIsRecordedIsReadBackLossesAndWrapIncluded) {
  TransportFeedbackRecorder recorder;
  TimePoint now{std::chrono::milliseconds(123'456)};
  std::vector<std::pair<std::uint16_t, std::int64_t>> sent;
  std::uint16_t sequence = 65400;
  for (int i = 0; i < 300; ++i, ++sequence) {
    now += std::chrono::microseconds(i % 50 == 0 ? 90'000 : 700);
    if (i % 9 == 4) continue; // lost
    recorder.on_packet(now, sequence);
    sent.emplace_back(sequence, now.time_since_epoch().count());
  }
  std::vector<std::pair<std::uint16_t, std::int64_t>> read;
  std::vector<PacketStatus> storage(max_feedback_statuses);
  std::uint8_t number = 0;
  std::uint16_t next = 65400;
  while (recorder.pending()) {
    Bytes out(300);
    const auto message = recorder.write(1, 2, out);
    ASSERT_TRUE(message);
    const auto packet = only(to_bytes(*message));
    ASSERT_TRUE(packet.is_transport_feedback(format_transport_wide));
    const Bytes copy = to_bytes(*message);
    RtcpReader reader(copy);
    const auto feedback = parse_transport_feedback(parse_feedback(**reader.next())->control, storage);
    ASSERT_TRUE(feedback) << feedback.error().name();
    EXPECT_EQ(feedback->number, number++);
    for (const auto& s : feedback->statuses) {
      EXPECT_EQ(s.sequence, next++);
      if (s.received) read.emplace_back(s.sequence, s.arrival_us);
    }
  }
  ASSERT_EQ(read.size(), sent.size());
  for (std::size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].first, sent[i].first);
    EXPECT_NEAR(static_cast<double>(read[i].second), static_cast<double>(sent[i].second), 250);
  }
}

TEST(TransportFeedback, TheRecorderGoesOnAfterItsRestWithWhatComesThen) {
  TransportFeedbackRecorder recorder;
  TimePoint now{std::chrono::seconds(1)};
  Bytes out(1000);
  recorder.on_packet(now, 10);
  recorder.rest();
  EXPECT_FALSE(recorder.pending());
  recorder.on_packet(now, 12);
  const Bytes message = to_bytes(*recorder.write(1, 2, out));
  std::vector<PacketStatus> storage(64);
  RtcpReader reader(message);
  const auto feedback = parse_transport_feedback(parse_feedback(**reader.next())->control, storage);
  ASSERT_TRUE(feedback);
  ASSERT_EQ(feedback->statuses.size(), 1u);
  EXPECT_EQ(feedback->statuses[0].sequence, 12);
  EXPECT_FALSE(recorder.pending());
}

TEST(TransportFeedback, ALatePacketIsReportedAgainAndAJumpIsSurvived) {
  TransportFeedbackRecorder recorder;
  TimePoint now{std::chrono::seconds(1)};
  Bytes out(1000);
  recorder.on_packet(now, 10);
  recorder.on_packet(now, 12);
  ASSERT_TRUE(recorder.write(1, 2, out));
  EXPECT_FALSE(recorder.pending());
  recorder.on_packet(now, 11);
  ASSERT_TRUE(recorder.pending());
  const Bytes again = to_bytes(*recorder.write(1, 2, out));
  std::vector<PacketStatus> storage(64);
  RtcpReader reader(again);
  const auto feedback = parse_transport_feedback(parse_feedback(**reader.next())->control, storage);
  ASSERT_TRUE(feedback);
  ASSERT_EQ(feedback->statuses.size(), 2u);
  EXPECT_TRUE(feedback->statuses[0].received);
  EXPECT_EQ(feedback->statuses[0].sequence, 11);
  recorder.on_packet(now, 30000);
  for (int i = 0; i < 10 && recorder.pending(); ++i) recorder.write(1, 2, out);
  EXPECT_FALSE(recorder.pending());
  // A pause longer than a delta can say begins another message.
  recorder.on_packet(now, 30001);
  now += std::chrono::seconds(20);
  recorder.on_packet(now, 30002);
  int messages = 0;
  while (recorder.pending() && recorder.write(1, 2, out)) ++messages;
  EXPECT_EQ(messages, 2);
}

} // namespace
} // namespace satsuma::rtp
