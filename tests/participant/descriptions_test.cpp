// The client's descriptions and the server's, each read by the other side.
#include "world.h"

#include "signaling/client_sdp.h"

namespace satsuma::participant::test {
namespace {

TEST(ClientDescriptions, TheServerUnderstandsOurOfferAndWeItsAnswer) {
  const std::vector<signaling::OfferedStream> streams{{signaling::MediaKind::audio, "0", 1111, 0}, {signaling::MediaKind::video, "1", 2222, 3333}};
  const std::string fingerprint = dtls_context().fingerprint().text();
  const auto text = signaling::write_publish_offer(streams, {{"abcdefgh", "0123456789012345678901"}, fingerprint, 1, 1});
  const auto description = signaling::parse_sdp(text);
  ASSERT_TRUE(description) << text;
  const auto offer = signaling::interpret_publish_offer(*description);
  ASSERT_TRUE(offer);
  ASSERT_EQ(offer->media.size(), 2U);
  EXPECT_EQ(offer->media[0].source, Source::microphone);
  EXPECT_TRUE(offer->media[0].resends_sound);
  EXPECT_EQ(offer->media[1].ssrc, 2222U);
  EXPECT_EQ(offer->media[1].rtx_ssrc, 3333U);
  EXPECT_TRUE(offer->media[1].codecs[0].transport_cc);
  const std::array candidates{World::server_address, TransportAddress::v4({192, 0, 2, 9}, 7)};
  const auto answer_text = signaling::write_publish_answer(*offer, {{"ijklmnop", "9876543210987654321098"}, fingerprint, candidates, 2, 1});
  const auto answer = signaling::interpret_publish_answer(*signaling::parse_sdp(answer_text), streams);
  ASSERT_TRUE(answer) << answer_text;
  EXPECT_TRUE(answer->streams[0].accepted);
  EXPECT_TRUE(answer->streams[1].retransmissions);
  EXPECT_EQ(answer->transport.candidates, std::vector(candidates.begin(), candidates.end()));
  EXPECT_EQ(answer->transport.setup, signaling::SetupRole::passive);
  EXPECT_TRUE(answer->transport_cc_extension);
  const std::vector<signaling::OfferedStream> others{streams[1], streams[0]};
  EXPECT_EQ(signaling::interpret_publish_answer(*signaling::parse_sdp(answer_text), others).error(), Error(signaling::sdp_media_mismatch));
}

TEST(ClientDescriptions, SizesOfThePictureAreOfferedByRidAndTakenWhereTheOtherSideCan) {
  const std::string fingerprint = dtls_context().fingerprint().text();
  std::vector<signaling::OfferedStream> streams{{signaling::MediaKind::audio, "0", 1111, 0}, {signaling::MediaKind::video, "1", 2222, 3333}};
  streams[1].rids = {"q", "h", "f"};
  const auto text = signaling::write_publish_offer(streams, {{"abcdefgh", "0123456789012345678901"}, fingerprint, 1, 1});
  const auto offer = signaling::interpret_publish_offer(*signaling::parse_sdp(text));
  ASSERT_TRUE(offer) << text;
  EXPECT_EQ(offer->media[1].rids, streams[1].rids);
  EXPECT_EQ(offer->media[1].rid_extension, signaling::client_rid_extension);
  EXPECT_EQ(offer->media[1].repaired_rid_extension, signaling::client_repaired_rid_extension);
  const std::array candidates{World::server_address};
  std::string answer_text = signaling::write_publish_answer(*offer, {{"ijklmnop", "9876543210987654321098"}, fingerprint, candidates, 2, 1});
  const auto answer = signaling::interpret_publish_answer(*signaling::parse_sdp(answer_text), streams);
  ASSERT_TRUE(answer) << answer_text;
  EXPECT_EQ(answer->streams[1].rids, streams[1].rids);
  EXPECT_TRUE(answer->streams[0].rids.empty());
  EXPECT_TRUE(answer->rid_extension && answer->repaired_rid_extension);
  // A peer that takes two of them, and one that knows nothing of it.
  const std::size_t at = answer_text.find("a=simulcast:recv q;h;f");
  ASSERT_NE(at, std::string::npos);
  std::string two = answer_text, none = answer_text;
  two.replace(at, 22, "a=simulcast:recv q;h");
  none.erase(at, 24);
  EXPECT_EQ(signaling::interpret_publish_answer(*signaling::parse_sdp(two), streams)->streams[1].rids, (std::vector<std::string>{"q", "h"}));
  const auto plain = signaling::interpret_publish_answer(*signaling::parse_sdp(none), streams);
  EXPECT_TRUE(plain->streams[1].accepted && plain->streams[1].rids.empty() && !plain->rid_extension);
}

TEST(ClientDescriptions, LevelsAreTakenWhereTheyAreOfferedOnly) {
  const std::string fingerprint = dtls_context().fingerprint().text();
  for (const bool tells : {false, true}) {
    const std::vector<signaling::OfferedStream> streams{{signaling::MediaKind::audio, "0", 1111, 0, tells}, {signaling::MediaKind::video, "1", 2222, 3333}};
    const auto text = signaling::write_publish_offer(streams, {{"abcdefgh", "0123456789012345678901"}, fingerprint, 1, 1});
    const auto offer = signaling::interpret_publish_offer(*signaling::parse_sdp(text));
    ASSERT_TRUE(offer);
    EXPECT_EQ(offer->media[0].audio_level_extension.has_value(), tells);
    EXPECT_FALSE(offer->media[1].audio_level_extension);
    const std::array candidates{World::server_address};
    const auto answer_text = signaling::write_publish_answer(*offer, {{"ijklmnop", "9876543210987654321098"}, fingerprint, candidates, 2, 1});
    EXPECT_EQ(answer_text.find("ssrc-audio-level") != std::string::npos, tells);
    EXPECT_EQ(signaling::interpret_publish_answer(*signaling::parse_sdp(answer_text), streams)->audio_level_extension, tells);
  }
}

TEST(ClientDescriptions, WeUnderstandTheServersOfferAndItOurAnswer) {
  const std::string fingerprint = dtls_context().fingerprint().text();
  const std::vector<signaling::OfferedSlot> slots{{signaling::MediaKind::audio, "a0", 1, 0}, {signaling::MediaKind::video, "v0", 2, 3}};
  const std::array candidates{World::server_address};
  const auto text = signaling::write_subscribe_offer(slots, {{"ijklmnop", "9876543210987654321098"}, fingerprint, candidates, 2, 1});
  const auto offer = signaling::interpret_subscribe_offer(*signaling::parse_sdp(text));
  ASSERT_TRUE(offer) << text;
  ASSERT_EQ(offer->slots.size(), 2U);
  EXPECT_EQ(offer->slots[1].ssrc, 2U);
  EXPECT_EQ(offer->slots[1].rtx_ssrc, 3U);
  EXPECT_TRUE(offer->slots[1].rtx_payload_type);
  const auto answer_text = signaling::write_subscribe_answer(*offer, {{"abcdefgh", "0123456789012345678901"}, fingerprint, 1, 1});
  const auto answer = signaling::interpret_subscribe_answer(*signaling::parse_sdp(answer_text), slots);
  ASSERT_TRUE(answer) << answer_text;
  EXPECT_TRUE(answer->slots[0].accepted);
  EXPECT_TRUE(answer->slots[1].retransmissions);
}

TEST(ClientDescriptions, CandidatesThatAreNamesOrTcpArePassedOver) {
  const std::string head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n";
  const auto description = signaling::parse_sdp(head +
      "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\na=candidate:2 1 tcp 1 192.0.2.2 9 typ host tcptype active\r\n"
      "a=candidate:3 1 udp 1 5b2c.local 5000 typ host\r\na=candidate:4 2 udp 1 192.0.2.3 5000 typ host\r\na=candidate:5 1 UDP 1 2001:db8::1 99999 typ host\r\n"
      "a=candidate:6 1 UDP 1 2001:db8::1 6000 typ host\r\na=candidate:\r\n");
  ASSERT_TRUE(description);
  ASSERT_EQ(description->media.size(), 1U);
  EXPECT_EQ(description->media[0].candidates,
            (std::vector{TransportAddress::v4({192, 0, 2, 1}, 5000), *TransportAddress::parse("2001:db8::1", 6000)}));
}

} // namespace
} // namespace satsuma::participant::test
