// Simulcast in session descriptions: RFC 8851, RFC 8852, RFC 8853.

#include <gtest/gtest.h>

#include <string>

#include "signaling/sdp.h"

namespace satsuma::signaling {
namespace {

const std::string transport =
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=setup:actpass\r\na=rtcp-mux\r\na=sendonly\r\n"
    "a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n";

std::string offer(const std::string& lines) {
  return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 1\r\n"
         "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n" + transport +
         "a=mid:1\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" + lines;
}
const std::string extensions =
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n"
    "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n"
    "a=extmap:12 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension\r\n";

Result<PublishOffer> interpret(const std::string& text) {
  SATSUMA_TRY(const SessionDescription description, parse_sdp(text));
  return interpret_publish_offer(description);
}

TEST(SimulcastSdp, TheStreamsAreTakenInTheirOrderAndTheAnswerNamesThemBack) {
  const auto published = interpret(offer(extensions + "a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f\r\n"));
  ASSERT_TRUE(published) << published.error().name();
  const PublishedMedia& media = published->media[0];
  EXPECT_EQ(media.rids, (std::vector<std::string>{"q", "h", "f"}));
  EXPECT_EQ(media.rid_extension, 10);
  EXPECT_EQ(media.repaired_rid_extension, 11);
  EXPECT_EQ(media.dependency_descriptor_extension, 12);
  const LocalDescription local{{"abcd", "abcdefghijklmnopqrstuv"}, "00", {}, 1, 1};
  const std::string answer = write_publish_answer(*published, local);
  EXPECT_NE(answer.find("a=rid:q recv\r\na=rid:h recv\r\na=rid:f recv\r\na=simulcast:recv q;h;f\r\n"), std::string::npos);
  EXPECT_NE(answer.find("a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n"), std::string::npos);
  EXPECT_NE(answer.find("a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n"), std::string::npos);
  EXPECT_NE(answer.find("a=extmap:12 https://aomediacodec"), std::string::npos);
}

TEST(SimulcastSdp, WithoutTheExtensionThatNamesAStreamOrWithOneStreamItIsNoSimulcast) {
  const std::string rids = "a=rid:q send\r\na=rid:h send\r\na=simulcast:send q;h\r\n";
  EXPECT_TRUE(interpret(offer(rids))->media[0].rids.empty());
  EXPECT_TRUE(interpret(offer(extensions + "a=rid:q send\r\na=simulcast:send q\r\n"))->media[0].rids.empty());
  EXPECT_TRUE(interpret(offer(extensions + "a=rid:q send\r\na=simulcast:send q;q;x\r\n"))->media[0].rids.empty());
  EXPECT_EQ(write_publish_answer(*interpret(offer(rids)), {{"abcd", "abcdefghijklmnopqrstuv"}, "00", {}, 1, 1}).find("simulcast"), std::string::npos);
}

TEST(SimulcastSdp, AlternativesPausedStreamsAndTheOtherDirectionAreUnderstood) {
  const auto media = interpret(offer(extensions + "a=rid:1 send\r\na=rid:2 send pt=96\r\na=rid:3 recv\r\na=simulcast:recv 3 send 1,4;~2\r\n"));
  ASSERT_TRUE(media);
  EXPECT_EQ(media->media[0].rids, (std::vector<std::string>{"1", "2"}));
}

TEST(SimulcastSdp, MoreStreamsThanWeForwardAreNotTakenAndTheLinesAreBounded) {
  const auto four = interpret(offer(extensions + "a=rid:a send\r\na=rid:b send\r\na=rid:c send\r\na=rid:d send\r\na=simulcast:send a;b;c;d\r\n"));
  EXPECT_EQ(four->media[0].rids, (std::vector<std::string>{"a", "b", "c"}));
  std::string many;
  for (int i = 0; i < 17; ++i) many += "a=rid:r" + std::to_string(i) + " send\r\n";
  EXPECT_EQ(interpret(offer(many)).error(), Error(sdp_too_many_items));
  std::string list = "a=simulcast:send a";
  for (int i = 0; i < 17; ++i) list += ";a";
  EXPECT_EQ(interpret(offer(list + "\r\n")).error(), Error(sdp_too_many_items));
}

TEST(SimulcastSdp, GrammarIsEnforced) {
  for (const char* line : {"a=rid: send", "a=rid:q;h send", "a=rid:aaaaaaaaaaaaaaaaa send", "a=simulcast:both q;h", "a=simulcast:send q;;h", "a=simulcast:send q;h!"})
    EXPECT_EQ(interpret(offer(std::string(line) + "\r\n")).error(), Error(sdp_malformed)) << line;
}

} // namespace
} // namespace satsuma::signaling
