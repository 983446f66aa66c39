#include "signaling/sdp.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "signaling/control_messages.h"

namespace satsuma::signaling {
namespace {

/// What Chromium and Firefox wrote: three sendonly transceivers (audio, video, video) without tracks, and their answers to an offer of slots.
std::string sample(const std::string& name) {
  std::ifstream file(std::string(SATSUMA_SDP_SAMPLES) + "/" + name, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_FALSE(text.str().empty()) << name;
  return text.str();
}

const std::string fingerprint =
    "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89";

struct Local {
  std::vector<TransportAddress> candidates{TransportAddress::v4({127, 0, 0, 1}, 5000), *TransportAddress::parse("2001:db8::1", 5001)};
  std::vector<TransportAddress> tcp_candidates{TransportAddress::v4({127, 0, 0, 1}, 443)};
  LocalDescription description{{"abcd", "0123456789012345678901"}, fingerprint, candidates, 99, 3, tcp_candidates};
};

std::vector<OfferedSlot> slots(std::size_t audio, std::size_t video) {
  std::vector<OfferedSlot> out;
  for (std::size_t i = 0; i < audio; ++i) out.push_back({MediaKind::audio, "a" + std::to_string(i), static_cast<std::uint32_t>(1000 + i), 0});
  for (std::size_t i = 0; i < video; ++i)
    out.push_back({MediaKind::video, "v" + std::to_string(i), static_cast<std::uint32_t>(2000 + i), static_cast<std::uint32_t>(3000 + i)});
  return out;
}

/// A small offer that the tests bend.
std::string minimal(const std::string& media_lines = "a=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n",
                    const std::string& session_lines = "") {
  return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" + session_lines +
         "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
         "a=fingerprint:sha-256 " + fingerprint + "\r\na=setup:actpass\r\na=mid:0\r\n" + media_lines;
}

Result<PublishOffer> interpret(const std::string& text) {
  SATSUMA_TRY(const SessionDescription description, parse_sdp(text));
  return interpret_publish_offer(description);
}

TEST(Sdp, ChromiumsPublishOfferIsUnderstood) {
  const auto offer = interpret(sample("chromium-156-publish-offer.sdp"));
  ASSERT_TRUE(offer) << offer.error().name();
  EXPECT_EQ(offer->ice.ufrag, "VHaC");
  EXPECT_EQ(offer->fingerprint.substr(0, 8), "B3:28:BE");
  ASSERT_EQ(offer->media.size(), 3u);
  EXPECT_EQ(offer->media[0].source, Source::microphone);
  EXPECT_EQ(offer->media[0].codecs, (std::vector<PublishedCodec>{{Codec::opus, 111, std::nullopt, true}, {Codec::red, 63, std::nullopt, false}}));
  EXPECT_EQ(offer->media[0].ssrc, 4278594029u);
  EXPECT_FALSE(offer->media[0].retransmissions());
  EXPECT_EQ(offer->media[1].source, Source::camera);
  EXPECT_EQ(offer->media[1].codecs, (std::vector<PublishedCodec>{
                                        {Codec::vp8, 96, 97, true}, {Codec::vp9, 98, 99, true}, {Codec::av1, 45, 46, true}, {Codec::h264, 108, 109, true}}));
  EXPECT_TRUE(offer->media[1].retransmissions());
  EXPECT_EQ(offer->media[1].find(46)->codec, Codec::av1);
  EXPECT_EQ(offer->media[1].find(47), nullptr);
  EXPECT_EQ(offer->media[1].ssrc, 613076515u);
  EXPECT_EQ(offer->media[1].rtx_ssrc, 351613179u);
  EXPECT_EQ(offer->media[1].mid_extension, 4);
  EXPECT_EQ(offer->media[1].transport_cc_extension, 3);
  EXPECT_EQ(offer->media[2].source, Source::screen);
}

TEST(Sdp, FirefoxsPublishOfferIsUnderstoodWithItsBundleOnlyLinesAndSessionWideFingerprint) {
  const auto offer = interpret(sample("firefox-153-publish-offer.sdp"));
  ASSERT_TRUE(offer) << offer.error().name();
  EXPECT_EQ(offer->fingerprint.substr(0, 8), "0C:42:C7");
  ASSERT_EQ(offer->media.size(), 3u);
  EXPECT_EQ(offer->media[0].codecs, (std::vector<PublishedCodec>{{Codec::opus, 109, std::nullopt, true}}));
  EXPECT_EQ(offer->media[1].source, Source::camera);
  EXPECT_EQ(offer->media[1].codecs,
            (std::vector<PublishedCodec>{{Codec::vp8, 120, 124, true}, {Codec::vp9, 121, 125, true}, {Codec::av1, 99, 100, true}}));
  EXPECT_EQ(offer->media[2].rtx_ssrc, 2708602135u);
  EXPECT_EQ(offer->media[2].mid_extension, 3);
}

TEST(Sdp, BothBrowsersAnswersToAnOfferOfSlotsAreUnderstood) {
  for (const char* name : {"chromium-156-subscribe-answer.sdp", "firefox-153-subscribe-answer.sdp"}) {
    const auto description = parse_sdp(sample(name));
    ASSERT_TRUE(description) << name;
    const auto answer = interpret_subscribe_answer(*description, slots(6, 8));
    ASSERT_TRUE(answer) << name << " " << answer.error().name();
    ASSERT_EQ(answer->slots.size(), 14u);
    for (std::size_t i = 0; i < 14; ++i) {
      EXPECT_TRUE(answer->slots[i].accepted);
      EXPECT_EQ(answer->slots[i].retransmissions, i >= 6);
      // Firefox has neither RED nor, without a plug-in, H.264.
      const bool chromium = std::string_view(name).starts_with("chromium");
      CodecSet codecs = i < 6 ? CodecSet{Codec::opus, Codec::red} : CodecSet{Codec::vp8, Codec::vp9, Codec::av1, Codec::h264};
      if (!chromium) codecs.erase(i < 6 ? Codec::red : Codec::h264);
      EXPECT_EQ(answer->slots[i].codecs, codecs);
    }
    EXPECT_FALSE(answer->ice.ufrag.empty());
    EXPECT_EQ(interpret_subscribe_answer(*description, slots(6, 7)).error(), Error(sdp_media_mismatch));
    EXPECT_EQ(interpret_subscribe_answer(*description, slots(7, 7)).error(), Error(sdp_media_mismatch));
  }
}

TEST(Sdp, TheAnswerTakesEachCodecOfOursWithItsRetransmissionsAndNothingElse) {
  const auto offer = interpret(sample("chromium-156-publish-offer.sdp"));
  const Local local;
  const std::string answer = write_publish_answer(*offer, local.description);
  const auto read = parse_sdp(answer);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->media.size(), 3u);
  EXPECT_EQ(read->bundle, (std::vector<std::string>{"0", "1", "2"}));
  for (const SdpMedia& media : read->media) {
    EXPECT_EQ(media.direction, MediaDirection::recvonly);
    EXPECT_EQ(media.setup, SetupRole::passive);
    EXPECT_TRUE(media.rtcp_mux);
    EXPECT_EQ(media.ice_ufrag, "abcd");
    EXPECT_EQ(media.fingerprint, fingerprint);
    EXPECT_EQ(media.extensions.size(), media.kind == MediaKind::audio ? 3u : 2u); // how loud it is, of sound, since that was offered
  }
  EXPECT_EQ(read->media[0].codecs.size(), 2u);
  EXPECT_EQ(read->media[0].codecs[1].redundant, 111);
  EXPECT_TRUE(read->media[0].codecs[0].transport_cc);
  ASSERT_EQ(read->media[1].codecs.size(), 8u);
  for (std::size_t i = 0; i < 8; i += 2) {
    const SdpCodec& codec = read->media[1].codecs[i];
    EXPECT_TRUE(codec.nack && codec.nack_pli && codec.transport_cc);
    EXPECT_EQ(read->media[1].codecs[i + 1].associated, codec.payload_type);
  }
  EXPECT_EQ(read->media[1].codecs[0].name, "vp8");
  EXPECT_EQ(read->media[1].codecs[6].name, "h264");
  EXPECT_TRUE(read->media[1].codecs[6].constrained_baseline);
  EXPECT_EQ(read->media[1].codecs[6].packetization_mode, 1);
  EXPECT_NE(answer.find("a=ice-lite\r\n"), std::string::npos);
  EXPECT_NE(answer.find("a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host\r\n"), std::string::npos);
  EXPECT_NE(answer.find("a=candidate:2 1 udp 2130706175 2001:db8::1 5001 typ host\r\n"), std::string::npos);
  EXPECT_NE(answer.find("a=candidate:3 1 tcp 1520435199 127.0.0.1 443 typ host tcptype passive\r\na=end-of-candidates\r\n"), std::string::npos) << answer;
  EXPECT_EQ(answer.find("o=- 99 3 IN IP4 127.0.0.1"), 5u);
  EXPECT_EQ(answer.find("ulpfec"), std::string::npos);
  EXPECT_EQ(answer.find("abs-send-time"), std::string::npos);
}

TEST(Sdp, SoundIsAskedForAgainOfWhoOffersItForOpusAndOfNobodyElse) {
  const std::string opus = "a=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n";
  for (const auto& [lines, resends] : std::vector<std::pair<std::string, bool>>{
           {opus + "a=rtcp-fb:111 nack\r\n", true}, {opus, false}, {opus + "a=rtcp-fb:111 nack pli\r\n", false}, {opus + "a=rtcp-fb:9 nack\r\n", false}}) {
    const auto offer = interpret(minimal(lines));
    ASSERT_TRUE(offer);
    EXPECT_EQ(offer->media[0].resends_sound, resends) << lines;
    const Local local;
    const auto answer = parse_sdp(write_publish_answer(*offer, local.description));
    EXPECT_EQ(answer->media[0].codecs[0].nack, resends) << lines;
  }
  for (const char* name : {"chromium-156-publish-offer.sdp", "firefox-153-publish-offer.sdp"}) {
    const auto offer = interpret(sample(name));
    for (const PublishedMedia& media : offer->media) EXPECT_FALSE(media.resends_sound) << name;
  }
}

TEST(Sdp, LinesWithoutACommonCodecAndThoseTooManyAreRefusedAndNamed) {
  std::string text = sample("chromium-156-publish-offer.sdp");
  for (const char* name : {" VP8/90000", " VP9/90000", " AV1/90000", " H264/90000"})
    for (std::size_t at; (at = text.find(name)) != std::string::npos;) text.replace(at, 3, " XX");
  const auto offer = interpret(text);
  ASSERT_TRUE(offer);
  EXPECT_FALSE(offer->media[1].source);
  const auto read = parse_sdp(write_publish_answer(*offer, Local().description));
  ASSERT_TRUE(read);
  EXPECT_FALSE(read->media[0].rejected);
  EXPECT_TRUE(read->media[1].rejected);
  EXPECT_EQ(read->media[1].mid, "1");
  EXPECT_EQ(read->bundle, std::vector<std::string>{"0"});

  for (std::size_t at; (at = text.find(" opus/")) != std::string::npos;) text.replace(at, 6, " 0pus/");
  EXPECT_EQ(interpret(text).error(), Error(sdp_nothing_accepted));
}

TEST(Sdp, OnlyTheProfilesOfOursAreTaken) {
  const auto codecs = [](const std::string& parameters) {
    const auto offer = interpret("v=0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 98 99\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
                                 "a=fingerprint:sha-256 " + fingerprint + "\r\na=setup:actpass\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n" + parameters);
    return offer ? offer->media[0].codecs.size() : 0;
  };
  EXPECT_EQ(codecs("a=rtpmap:98 VP9/90000\r\n"), 1u);
  EXPECT_EQ(codecs("a=rtpmap:98 VP9/90000\r\na=fmtp:98 profile-id=0;max-fr=60\r\n"), 1u);
  EXPECT_EQ(codecs("a=fmtp:98 max-fr=60; profile-id=2\r\na=rtpmap:98 VP9/90000\r\n"), 0u);
  EXPECT_EQ(codecs("a=rtpmap:98 AV1/90000\r\na=fmtp:98 level-idx=5;profile=1;tier=0\r\n"), 0u);
  EXPECT_EQ(codecs("a=rtpmap:98 AV1/90000\r\na=rtpmap:99 AV1/90000\r\n"), 1u) << "each once";
  EXPECT_EQ(codecs("a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=1;profile-level-id=42e01f\r\n"), 1u);
  EXPECT_EQ(codecs("a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=1;profile-level-id=42C00B\r\n"), 1u);
  EXPECT_EQ(codecs("a=rtpmap:98 H264/90000\r\na=fmtp:98 profile-level-id=42e01f\r\n"), 0u) << "packetization mode 0";
  EXPECT_EQ(codecs("a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=1;profile-level-id=42001f\r\n"), 0u);
  EXPECT_EQ(codecs("a=rtpmap:98 H264/90000\r\na=fmtp:98 packetization-mode=1;profile-level-id=4d001f\r\n"), 0u);
  EXPECT_EQ(codecs("a=rtpmap:98 VP8/48000\r\n"), 0u);
  EXPECT_EQ(codecs("a=rtpmap:98 opus/48000/2\r\n"), 0u) << "as video";
}

TEST(Sdp, RedundancyIsTakenForTheOpusBesideItAlone) {
  const auto codecs = [](const std::string& redundant) {
    std::string text = minimal("a=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n" + redundant);
    text.replace(text.find("SAVPF 111"), 9, "SAVPF 111 63");
    return interpret(text)->media[0].codecs.size();
  };
  EXPECT_EQ(codecs("a=fmtp:63 111/111\r\n"), 2u);
  EXPECT_EQ(codecs(""), 1u);
  EXPECT_EQ(codecs("a=fmtp:63 111\r\n"), 1u);
  EXPECT_EQ(codecs("a=fmtp:63 111/8\r\n"), 1u);
  EXPECT_EQ(codecs("a=fmtp:63 8/8\r\n"), 1u);
  EXPECT_EQ(codecs("a=fmtp:63 x/y\r\n"), 1u);
}

TEST(Sdp, AnOfferOfSlotsIsWrittenSoThatItIsReadBack) {
  const Local local;
  const auto offered = slots(2, 2);
  const std::string text = write_subscribe_offer(offered, local.description);
  const auto read = parse_sdp(text);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->media.size(), 4u);
  EXPECT_EQ(read->media[0].setup, SetupRole::actpass);
  EXPECT_EQ(read->media[0].mid, "a0");
  EXPECT_EQ(read->media[0].ssrcs, std::vector<std::uint32_t>{1000});
  EXPECT_EQ(read->media[3].mid, "v1");
  EXPECT_EQ(read->media[3].direction, MediaDirection::sendonly);
  ASSERT_EQ(read->media[3].fids.size(), 1u);
  EXPECT_EQ(read->media[3].fids[0].media, 2001u);
  EXPECT_EQ(read->media[3].fids[0].retransmission, 3001u);
  EXPECT_NE(text.find("a=msid:v1 v1\r\n"), std::string::npos);
  EXPECT_NE(text.find("a=ssrc:3001 cname:slot-v1\r\n"), std::string::npos);
}

TEST(Sdp, TheLargestOfferFitsAFrame) {
  std::vector<OfferedSlot> largest = slots(40, 40);
  for (OfferedSlot& slot : largest) {
    slot.ssrc += 4'000'000'000;
    if (slot.rtx_ssrc != 0) slot.rtx_ssrc += 4'000'000'000;
  }
  std::vector<TransportAddress> many; // as many as a server announces, at two ports each by TCP
  for (std::uint16_t i = 0; i < 16; ++i) many.push_back(*TransportAddress::parse("2001:db8:1111:2222:3333:4444:5555:6666", static_cast<std::uint16_t>(60'000 + i)));
  LocalDescription local = Local().description;
  local.candidates = std::span(many).first(8);
  local.tcp_candidates = many;
  local.session_id = 9'000'000'000'000'000'000U;
  local.version = 1'000'000'000'000U;
  const std::string offer = write_subscribe_offer(largest, local);
  EXPECT_LE(offer.size(), max_control_sdp_size);
  EXPECT_LE(write_server_control(Offer{max_request_id, offer}).size(), max_control_size);
}

TEST(Sdp, FeedbackForPayloadTypesThatTheLineDoesNotNameIsPassedOver) {
  const auto description =
      parse_sdp(minimal("a=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:77 nack\r\na=fmtp:78 x=1\r\na=rtcp-fb:* transport-cc\r\n"));
  ASSERT_TRUE(description);
  EXPECT_EQ(description->media[0].codecs.size(), 1u);
  EXPECT_FALSE(description->media[0].codecs[0].nack);
  EXPECT_TRUE(description->media[0].codecs[0].transport_cc);
}

TEST(Sdp, UnknownAttributesAndLinesWithABareLineFeedAreFine) {
  std::string text = minimal("a=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rid:x send\r\na=simulcast:send x\r\nb=AS:300\r\nx=y\r\n");
  EXPECT_TRUE(interpret(text));
  std::erase(text, '\r');
  EXPECT_TRUE(interpret(text));
}

TEST(Sdp, GrammarIsEnforcedRuleByRule) {
  const auto error = [](const std::string& text) {
    const auto parsed = parse_sdp(text);
    EXPECT_FALSE(parsed);
    return parsed ? std::string_view() : parsed.error().name();
  };
  const std::string_view malformed = sdp_malformed.name;
  EXPECT_EQ(error(""), malformed);
  EXPECT_EQ(error("v=1\r\n"), malformed);
  EXPECT_EQ(error("v=0\r\nhello\r\n"), malformed);
  EXPECT_EQ(error("v=0\r\n\r\n"), malformed);
  EXPECT_EQ(error("v=0\r\ns=-"), malformed); // no end of line
  EXPECT_EQ(error(std::string("v=0\r\ns=a\0b\r\n", 12)), malformed);
  EXPECT_EQ(error("v=0\r\ns=" + std::string(max_sdp_line, 'x') + "\r\n"), sdp_too_large.name);
  EXPECT_EQ(error("v=0\r\n" + std::string(max_sdp_size, 'x')), sdp_too_large.name);
  EXPECT_EQ(error("v=0\r\nm=audio x UDP/TLS/RTP/SAVPF 1\r\n"), malformed);
  EXPECT_EQ(error("v=0\r\nm=audio 65536 UDP/TLS/RTP/SAVPF 1\r\n"), malformed);
  EXPECT_EQ(error("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 128\r\n"), malformed);
  EXPECT_EQ(error("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 1 1\r\n"), malformed);
  for (const char* line : {"a=mid:a b", "a=mid:", "a=mid:seventeen-letters", "a=ice-ufrag:abc", "a=ice-ufrag:ab cd", "a=ice-pwd:short", "a=setup:maybe",
                           "a=fingerprint:sha-256 AB:CD", "a=rtpmap:200 opus/48000/2", "a=rtpmap:111 opus", "a=rtpmap:111 opus/x", "a=fmtp:x y",
                           "a=fmtp:111 apt=200", "a=fmtp:111 x=1;profile-id=x", "a=fmtp:111 packetization-mode=-1", "a=fmtp:111 profile-level-id=42e0", "a=fmtp:111 profile-level-id=42e01g", "a=extmap:0 urn:x", "a=extmap:256 urn:x", "a=extmap:1/never urn:x", "a=ssrc:x cname:y",
                           "a=ssrc:4294967296 cname:y", "a=ssrc-group:FID 1", "a=ssrc-group:FID 1 x"})
    EXPECT_EQ(error(minimal(std::string(line) + "\r\n")), malformed) << line;
  EXPECT_EQ(error(minimal("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n")), malformed); // the same mid twice
  EXPECT_EQ(error("v=0\r\na=group:BUNDLE a \xff\r\n"), malformed);
}

TEST(Sdp, EverythingThatCouldGrowIsBounded) {
  const auto error = [](const std::string& text) { return parse_sdp(text).error(); };
  std::string text = "v=0\r\n";
  for (std::size_t i = 0; i <= max_sdp_media; ++i) text += "m=audio 9 X 1\r\n";
  EXPECT_EQ(error(text), Error(sdp_too_many_items));
  text = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF";
  for (std::size_t i = 0; i <= max_sdp_codecs; ++i) text += " " + std::to_string(i);
  EXPECT_EQ(error(text + "\r\n"), Error(sdp_too_many_items));
  text = "v=0\r\nm=audio 9 X 1\r\n";
  for (std::size_t i = 0; i <= max_sdp_extensions; ++i) text += "a=extmap:" + std::to_string(i + 1) + " urn:x\r\n";
  EXPECT_EQ(error(text), Error(sdp_too_many_items));
  text = "v=0\r\nm=audio 9 X 1\r\n";
  for (std::size_t i = 0; i <= max_sdp_ssrcs; ++i) text += "a=ssrc:" + std::to_string(i) + " cname:x\r\n";
  EXPECT_EQ(error(text), Error(sdp_too_many_items));
  text = "v=0\r\nm=audio 9 X 1\r\n";
  for (std::size_t i = 0; i <= max_sdp_ssrcs; ++i) text += "a=ssrc-group:FID 1 2\r\n";
  EXPECT_EQ(error(text), Error(sdp_too_many_items));
  text = "v=0\r\na=group:BUNDLE";
  for (std::size_t i = 0; i <= max_sdp_media; ++i) text += " " + std::to_string(i);
  EXPECT_EQ(error(text + "\r\n"), Error(sdp_too_many_items));
}

TEST(Sdp, AnOfferThatCannotBecomeAConnectionIsRefusedRuleByRule) {
  EXPECT_TRUE(interpret(minimal()));
  const auto without = [](std::string text, const std::string& what, const std::string& with = "") {
    const auto at = text.find(what);
    EXPECT_NE(at, std::string::npos);
    return text.replace(at, what.size(), with);
  };
  EXPECT_EQ(interpret(without(minimal(), "a=ice-ufrag:abcd\r\n")).error(), Error(sdp_no_ice_credentials));
  EXPECT_EQ(interpret(without(minimal(), "a=ice-pwd:0123456789012345678901\r\n")).error(), Error(sdp_no_ice_credentials));
  EXPECT_EQ(interpret(without(minimal(), "a=fingerprint:sha-256 " + fingerprint + "\r\n")).error(), Error(sdp_no_fingerprint));
  EXPECT_EQ(interpret(without(minimal(), "sha-256", "sha-1")).error(), Error(sdp_no_fingerprint));
  EXPECT_EQ(interpret(without(minimal(), "BUNDLE 0", "BUNDLE 1")).error(), Error(sdp_not_bundled));
  EXPECT_EQ(interpret(without(minimal(), "a=mid:0\r\n")).error(), Error(sdp_not_bundled));
  EXPECT_EQ(interpret(without(minimal(), "actpass", "passive")).error(), Error(sdp_bad_setup));
  EXPECT_EQ(interpret(without(minimal(), "audio 9", "audio 0")).error(), Error(sdp_not_bundled));
  EXPECT_EQ(interpret(without(minimal(), "a=rtcp-mux\r\n")).error(), Error(sdp_nothing_accepted));
  EXPECT_EQ(interpret(without(minimal(), "sendonly", "recvonly")).error(), Error(sdp_nothing_accepted));
  EXPECT_EQ(interpret(without(minimal(), "opus/48000/2", "opus/48000/1")).error(), Error(sdp_nothing_accepted));
  EXPECT_EQ(interpret(without(minimal(), "SAVPF", "SAVP")).error(), Error(sdp_not_bundled));
}

TEST(Sdp, DescriptorsAreForThoseWhoTakeThemAndTwoByteExtensions) {
  const std::string offer = write_subscribe_offer(slots(1, 1), Local().description);
  const std::string line = "a=extmap:3 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension\r\n";
  EXPECT_NE(offer.find(line, offer.find("m=video")), std::string::npos);
  EXPECT_EQ(offer.find(line), offer.rfind(line)) << "not of sound";
  EXPECT_LT(offer.find("a=extmap-allow-mixed\r\n"), offer.find("m="));
  // Chromium's answer to an offer with it.
  std::string text = sample("chromium-156-subscribe-answer.sdp");
  const auto taken = [](const std::string& sdp) {
    const auto answer = interpret_subscribe_answer(*parse_sdp(sdp), slots(6, 8));
    EXPECT_TRUE(answer);
    return std::count_if(answer->slots.begin(), answer->slots.end(), [](const auto& slot) { return slot.dependency_descriptors; });
  };
  EXPECT_EQ(taken(text), 0);
  for (std::size_t at = text.find("m=video"); (at = text.find("a=extmap:1 ", at)) != std::string::npos; at += line.size() + 1) text.insert(at, line);
  EXPECT_EQ(taken(text), 0) << "a structure does not fit a one-byte extension";
  text.insert(text.find("m="), "a=extmap-allow-mixed\r\n");
  EXPECT_EQ(taken(text), 8);
  for (std::size_t at; (at = text.find("a=extmap:3 ")) != std::string::npos;) text[at + 9] = '5'; // another number is another extension
  EXPECT_EQ(taken(text), 0);
  // Publishing: the answer says it if the offer did.
  const auto answered = [](const std::string& sdp) { return write_publish_answer(*interpret(sdp), Local().description).find("a=extmap-allow-mixed\r\n") != std::string::npos; };
  const std::string publish = sample("chromium-156-publish-offer.sdp");
  EXPECT_TRUE(answered(publish));
  std::string silent = publish;
  silent.erase(silent.find("a=extmap-allow-mixed"), std::string_view("a=extmap-allow-mixed\r\n").size());
  EXPECT_FALSE(answered(silent));
}

TEST(Sdp, AnAnswerMustBeTheActiveSideAndMayRefuseSlots) {
  std::string text = sample("chromium-156-subscribe-answer.sdp");
  std::string passive = text;
  for (std::size_t at; (at = passive.find("a=setup:active")) != std::string::npos;) passive.replace(at, 14, "a=setup:passive");
  EXPECT_EQ(interpret_subscribe_answer(*parse_sdp(passive), slots(6, 8)).error(), Error(sdp_bad_setup));
  const auto second = text.find("m=audio 9", text.find("m=audio 9") + 1);
  std::string refused = text;
  refused.replace(second, 9, "m=audio 0");
  const auto answer = interpret_subscribe_answer(*parse_sdp(refused), slots(6, 8));
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->slots[0].accepted);
  EXPECT_FALSE(answer->slots[1].accepted);
}

} // namespace
} // namespace satsuma::signaling
