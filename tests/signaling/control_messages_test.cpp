#include "signaling/control_messages.h"

#include <gtest/gtest.h>

namespace satsuma::signaling {
namespace {

IncarnationId some_id() {
  IncarnationId who;
  for (std::size_t i = 0; i < who.bytes.size(); ++i) who.bytes[i] = static_cast<std::uint8_t>(0xa0 + i);
  return who;
}

template <class T>
T client(std::string_view text) {
  const auto parsed = parse_client_control(text);
  EXPECT_TRUE(parsed.has_value()) << text << " " << (parsed ? "" : parsed.error().name());
  return parsed ? std::get<T>(*parsed) : T{};
}

TEST(ControlMessages, TheClientsMessagesAreThoseOfTheProtocol) {
  EXPECT_EQ(client<Publish>(R"({"type":"publish","id":1,"sdp":"v=0\r\n"})").sdp, "v=0\r\n");
  EXPECT_EQ(client<Publish>(R"({"type":"publish","id":2147483648,"sdp":"v"})").id, 2147483648u);
  EXPECT_EQ(client<Sources>(R"({"type":"sources","active":["microphone","camera"]})").active,
            (SourceSet{Source::microphone, Source::camera}));
  EXPECT_EQ(client<Sources>(R"({"type":"sources","active":[]})").active, SourceSet{});
  EXPECT_EQ(client<Subscribe>(R"({"type":"subscribe","id":5})").id, 5u);
  EXPECT_EQ(client<Answer>(R"({"type":"answer","revision":3,"sdp":"x"})").revision, 3u);
  EXPECT_EQ(client<KeyFrame>(R"({"type":"key_frame","mid":"v0"})").mid, "v0");
  EXPECT_EQ(client<Restart>(R"({"type":"restart","id":7,"sdp":"x"})").id, 7u);
  EXPECT_EQ(client<Subscribe>(R"( { "later" : { "a" : [ 1 ] } , "id" : 5, "type":"subscribe" } )").id, 5u);
}

TEST(ControlMessages, WhatIsWrittenIsReadBack) {
  const std::vector<ClientControl> from_client{Publish{1, "v=0\r\n\"\\"}, Sources{{Source::screen, Source::screen_audio}},
                                               Subscribe{2}, Answer{3, "x"}, KeyFrame{"a12"}, Restart{4, "y"}};
  for (const auto& message : from_client) {
    const std::string text = write_client_control(message);
    const auto parsed = parse_client_control(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(parsed->index(), message.index());
    EXPECT_EQ(write_client_control(*parsed), text);
  }
  const ServerControl from_server[]{Published{1, "v=0"}, Offer{2, "v=0"},
                                               Slots{9, {{"a0", some_id(), Source::microphone}, {"v1", some_id(), Source::screen}}},
                                               ControlError{5, "not_ready", "Say hello first."}, ControlError{{}, "bad", ""}};
  for (const auto& message : from_server) {
    const std::string text = write_server_control(message);
    const auto parsed = parse_server_control(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(write_server_control(*parsed), text);
  }
}

TEST(ControlMessages, SlotsNameIncarnationsInHex) {
  EXPECT_EQ(write_server_control(Slots{1, {{"a0", some_id(), Source::microphone}}}),
            R"({"sequence":1,"slots":[{"incarnation":"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf","mid":"a0","source":"microphone"}],"type":"slots"})");
  const auto refuses = [](std::string_view incarnation) {
    const std::string text = R"({"sequence":1,"slots":[{"incarnation":")" + std::string(incarnation) +
                             R"(","mid":"a0","source":"camera"}],"type":"slots"})";
    return !parse_server_control(text).has_value();
  };
  EXPECT_FALSE(refuses("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"));
  EXPECT_TRUE(refuses("A0a1a2a3a4a5a6a7a8a9aaabacadaeaf"));
  EXPECT_TRUE(refuses("a0a1a2a3a4a5a6a7a8a9aaabacadae"));
  EXPECT_TRUE(refuses("g0a1a2a3a4a5a6a7a8a9aaabacadaeaf"));
}

TEST(ControlMessages, SlotsSayHowManyMicrophonesThereAreAtMostWhereThatIsFewerThanForty) {
  const auto read = [](std::string_view field) { return parse_server_control(R"({"type":"slots","sequence":1,"slots":[])" + std::string(field) + "}"); };
  EXPECT_EQ(std::get<Slots>(*read("")).voices, 40U);
  EXPECT_EQ(std::get<Slots>(*read(R"(,"voices":8)")).voices, 8U);
  EXPECT_EQ(write_server_control(Slots{1, {}, 8}), R"({"sequence":1,"slots":[],"type":"slots","voices":8})");
  EXPECT_EQ(write_server_control(Slots{1, {}, 40}), R"({"sequence":1,"slots":[],"type":"slots"})");
  for (const char* bad : {R"(,"voices":0)", R"(,"voices":41)", R"(,"voices":"8")", R"(,"voices":null)", R"(,"voices":8.5)"}) EXPECT_FALSE(read(bad)) << bad;
}

TEST(ControlMessages, TheLargestMessagesStayWithinTheBound) {
  Slots slots{(1ULL << 53) - 1, std::vector(max_slots, Slot{std::string(max_mid_size, 'z'), some_id(), Source::screen_audio})};
  EXPECT_LE(write_server_control(slots).size(), max_control_size);
  EXPECT_TRUE(parse_server_control(write_server_control(slots)).has_value());
}

TEST(ControlMessages, WhatIsNotAJsonObjectIsRefused) {
  for (const char* text : {"", " ", "null", "1", "[]", "\"publish\"", "{", "}", "{]", "{\"type\":\"subscribe\",\"id\":1", "{'type':'subscribe'}",
                           "{\"type\":\"subscribe\",\"id\":1}x", "{\"type\":\"subscribe\",\"id\":1}{}", "{\"type\":\"subscribe\",\"id\":01}",
                           "{\"type\":\"subscribe\",\"id\":NaN}", "{\"type\":\"subscribe\",}", "\xef\xbb\xbf", "{\"type\":\"\xff\"}",
                           "{\"type\":\"\\ud800\"}", "// {}"}) {
    EXPECT_FALSE(parse_client_control(text).has_value()) << text;
  }
  using namespace std::string_view_literals;
  EXPECT_FALSE(parse_client_control("{\"type\":\"subscribe\",\"id\":1}\0"sv).has_value());
  EXPECT_FALSE(parse_client_control("{\"type\":\"subscribe\",\"id\":1}\0garbage"sv).has_value());
  EXPECT_FALSE(parse_client_control("\0{\"type\":\"subscribe\",\"id\":1}"sv).has_value());
}

TEST(ControlMessages, EveryTruncationIsRefused) {
  const std::string text = R"({"type":"publish","id":17,"sdp":"v=0\r\n"})";
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(parse_client_control(text.substr(0, size)).has_value()) << size;
}

TEST(ControlMessages, FieldsOfAnotherTypeOrOutOfRangeAreRefused) {
  for (const char* text : {
           R"({})", R"({"type":1})", R"({"type":null})", R"({"type":"nonsense"})", R"({"type":""})", R"({"type":["publish"]})",
           R"({"type":"publish","id":1})", R"({"type":"publish","sdp":"v"})", R"({"type":"publish","id":0,"sdp":"v"})",
           R"({"type":"publish","id":-1,"sdp":"v"})", R"({"type":"publish","id":2147483649,"sdp":"v"})",
           R"({"type":"publish","id":1.0,"sdp":"v"})", R"({"type":"publish","id":1e3,"sdp":"v"})", R"({"type":"publish","id":"1","sdp":"v"})",
           R"({"type":"publish","id":true,"sdp":"v"})", R"({"type":"publish","id":99999999999999999999999999,"sdp":"v"})",
           R"({"type":"publish","id":1,"sdp":""})", R"({"type":"publish","id":1,"sdp":{}})", R"({"type":"publish","id":1,"sdp":null})",
           R"({"type":"sources"})", R"({"type":"sources","active":"camera"})", R"({"type":"sources","active":{"a":"camera"}})",
           R"({"type":"sources","active":["camera","camera"]})", R"({"type":"sources","active":["window"]})", R"({"type":"sources","active":[1]})",
           R"({"type":"sources","active":["camera","screen","microphone","screen_audio","camera"]})",
           R"({"type":"subscribe"})", R"({"type":"answer","revision":0,"sdp":"x"})", R"({"type":"answer","id":1,"sdp":"x"})",
           R"({"type":"key_frame"})", R"({"type":"key_frame","mid":""})", R"({"type":"key_frame","mid":"a 0"})",
           R"({"type":"key_frame","mid":"aaaaaaaaaaaaaaaaa"})", R"({"type":"key_frame","mid":"a\u0000"})", R"({"type":"key_frame","mid":0})",
           R"({"type":"published","id":1,"sdp":"v"})",
       }) {
    EXPECT_FALSE(parse_client_control(text).has_value()) << text;
  }
  for (const char* text : {R"({"type":"error","id":0,"code":"a","message":""})", R"({"type":"error","code":"A","message":""})",
                           R"({"type":"error","code":"","message":""})", R"({"type":"error","code":"a"})", R"({"type":"offer","revision":1})",
                           R"({"type":"slots","sequence":9007199254740992,"slots":[]})", R"({"type":"slots","sequence":1,"slots":{}})",
                           R"({"type":"slots","sequence":1,"slots":[[]]})", R"({"type":"publish","id":1,"sdp":"v"})"}) {
    EXPECT_FALSE(parse_server_control(text).has_value()) << text;
  }
}

TEST(ControlMessages, SizesHaveBounds) {
  const auto publish = [](std::size_t size) { return R"({"type":"publish","id":1,"sdp":")" + std::string(size, 'a') + "\"}"; };
  EXPECT_TRUE(parse_client_control(publish(max_control_sdp_size)).has_value());
  EXPECT_EQ(parse_client_control(publish(max_control_sdp_size + 1)).error(), Error(control_bad_field));
  EXPECT_EQ(parse_client_control(publish(max_control_size)).error(), Error(control_too_large));
}

TEST(ControlMessages, DeepNestingIsRefusedBeforeItIsParsed) {
  std::string deep = R"({"type":"subscribe","id":1,"x":)" + std::string(30'000, '[') + std::string(30'000, ']') + "}";
  EXPECT_EQ(parse_client_control(deep).error(), Error(control_not_json));
  EXPECT_TRUE(parse_client_control(R"({"type":"subscribe","id":1,"x":[[[1]]]})").has_value());
  EXPECT_FALSE(parse_client_control(R"({"type":"subscribe","id":1,"x":[[[[1]]]]})").has_value());
  // Brackets in a string are text, also behind an escaped quote.
  EXPECT_TRUE(parse_client_control(R"({"type":"publish","id":1,"sdp":"[[[[[[\"[[[[{{{{"})").has_value());
}

TEST(ControlMessages, TextThatIsNotUtf8IsWrittenWithReplacementsAndDoesNotAbort) {
  const std::string text = write_server_control(ControlError{1, "bad", "\xff\xfe"});
  EXPECT_TRUE(parse_server_control(text).has_value());
}

TEST(ControlMessages, OnlyRequestsHaveAnIdToAnswerTo) {
  EXPECT_EQ(request_id(Publish{3, "x"}), 3u);
  EXPECT_EQ(request_id(Subscribe{4}), 4u);
  EXPECT_EQ(request_id(Restart{5, "x"}), 5u);
  EXPECT_EQ(request_id(Answer{6, "x"}), std::nullopt);
  EXPECT_EQ(request_id(KeyFrame{"v"}), std::nullopt);
}

TEST(ControlMessages, AViewMayNameWhoseCameraItWantsAndHowManyOfTheLatestSpeakers) {
  View view{{{"v0", std::nullopt, Source::camera, 360}}, View::Speakers{4, 180}};
  IncarnationId who;
  for (std::size_t i = 0; i < IncarnationId::size; ++i) who.bytes[i] = static_cast<std::uint8_t>(i);
  view.tiles.push_back({"", who, Source::screen, 720});
  const auto back = client<View>(write_client_control(view));
  EXPECT_EQ(back.tiles, view.tiles);
  EXPECT_EQ(back.speakers, view.speakers);
  EXPECT_FALSE(client<View>(R"({"type":"view","tiles":[]})").speakers);
}

TEST(ControlMessages, AViewNamesEachTileOnceWithAHeightInRange) {
  const auto view = client<View>(R"({"type":"view","tiles":[{"mid":"v0","height":360},{"mid":"v1","height":1}]})");
  EXPECT_EQ(view.tiles, (std::vector<View::Tile>{{"v0", std::nullopt, Source::camera, 360}, {"v1", std::nullopt, Source::camera, 1}}));
  EXPECT_TRUE(client<View>(R"({"type":"view","tiles":[]})").tiles.empty());
  EXPECT_EQ(write_client_control(View{{{"v0", std::nullopt, Source::camera, 360}}}), R"({"tiles":[{"height":360,"mid":"v0"}],"type":"view"})");
  for (const char* bad : {R"({"type":"view"})", R"({"type":"view","tiles":{}})", R"({"type":"view","tiles":[1]})",
                          R"({"type":"view","tiles":[{"mid":"v0"}]})", R"({"type":"view","tiles":[{"mid":"v0","height":0}]})",
                          R"({"type":"view","tiles":[{"mid":"v0","height":16385}]})", R"({"type":"view","tiles":[{"mid":"v-0","height":5}]})",
                          R"({"type":"view","tiles":[{"mid":"v0","height":5},{"mid":"v0","height":6}]})",
                          R"({"type":"view","tiles":[],"speakers":4})", R"({"type":"view","tiles":[],"speakers":{"count":513,"height":5}})",
                          R"({"type":"view","tiles":[],"speakers":{"count":1}})", R"({"type":"view","tiles":[],"speakers":{"count":1,"height":0}})",
                          R"({"type":"view","tiles":[{"incarnation":"00","source":"camera","height":5}]})",
                          R"({"type":"view","tiles":[{"incarnation":"000102030405060708090a0b0c0d0e0f","height":5}]})",
                          R"({"type":"view","tiles":[{"incarnation":"000102030405060708090a0b0c0d0e0f","source":"microphone","height":5}]})",
                          R"({"type":"view","tiles":[{"incarnation":"000102030405060708090a0b0c0d0e0f","source":"camera","height":5},{"incarnation":"000102030405060708090a0b0c0d0e0f","source":"camera","height":5}]})"})
    EXPECT_EQ(parse_client_control(bad).error(), Error(control_bad_field)) << bad;
}

TEST(ControlMessages, OfWhatAnotherMemberWroteOnlyWhatIsKnownIsTaken) {
  const auto state = parse_member_message(R"({"type":"state","microphone":true,"camera":false,"screen":false,"video":["vp8"]})");
  ASSERT_TRUE(state && std::holds_alternative<MemberState>(*state));
  EXPECT_TRUE(std::get<MemberState>(*state).microphone);
  const auto speaks = parse_member_message(member_speaks);
  EXPECT_TRUE(speaks && std::holds_alternative<MemberSpeaks>(*speaks));
  for (const char* other : {"", "voice", "[]", R"({"type":"chat","text":"no number"})", R"({"type":"chat","number":-1,"text":"x"})", R"({"type":"chat","number":0,"text":""})",
                            R"({"type":"chat","number":9007199254740992,"text":"x"})", R"({"type":["voice"]})", R"({"microphone":true})", R"({"type":"state"})",
                            R"({"type":"state","microphone":1})", R"({"type":"state","microphone":true)"})
    EXPECT_FALSE(parse_member_message(other)) << other;
  // 2000 UTF-16 units, whatever they are in UTF-8.
  for (const auto& [letter, units] : {std::pair<std::string, std::size_t>{"x", 1}, {"\u8a9e", 1}, {"\U0001F600", 2}}) {
    std::string text;
    for (std::size_t i = 0; i < max_chat_length / units; ++i) text += letter;
    const auto chat = parse_member_message(write_member_chat({7, text}));
    ASSERT_TRUE(chat && std::holds_alternative<MemberChat>(*chat)) << letter;
    EXPECT_EQ(std::get<MemberChat>(*chat).number, 7U);
    EXPECT_EQ(std::get<MemberChat>(*chat).text, text);
    EXPECT_FALSE(parse_member_message(write_member_chat({7, text + letter}))) << letter;
  }
}

TEST(ControlMessages, VoicesNameUpToSixteenMicrophonesEachOnce) {
  Voices voices;
  for (std::size_t i = 0; i < max_asked_voices; ++i) voices.of.emplace_back().bytes[0] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(client<Voices>(write_client_control(voices)).of, voices.of);
  EXPECT_TRUE(client<Voices>(R"({"type":"voices","of":[]})").of.empty());
  std::string many = R"({"type":"voices","of":[)";
  for (std::size_t i = 0; i <= max_asked_voices; ++i) many += (i == 0 ? "\"" : ",\"") + std::string(30, '0') + std::to_string(10 + i) + "\"";
  many += "]}";
  for (const std::string& bad : {many, std::string(R"({"type":"voices"})"), std::string(R"({"type":"voices","of":{}})"), std::string(R"({"type":"voices","of":[1]})"),
                                 std::string(R"({"type":"voices","of":["00"]})"), std::string(R"({"type":"voices","of":["000102030405060708090A0B0C0D0E0F"]})"),
                                 std::string(R"({"type":"voices","of":["000102030405060708090a0b0c0d0e0f","000102030405060708090a0b0c0d0e0f"]})")})
    EXPECT_EQ(parse_client_control(bad).error(), Error(control_bad_field)) << bad;
}

TEST(ControlMessages, LayersAndThePathAreReadBackAndTheirFieldsChecked) {
  const auto layers = parse_server_control(write_server_control(Layers{Source::camera, {true, false, true}}));
  ASSERT_TRUE(layers);
  EXPECT_EQ(std::get<Layers>(*layers).active, (std::vector<bool>{true, false, true}));
  const Path path{2500, 1200, 3000, 7, 45, "delay", {{"v0", false, 2, 3, 1, "bandwidth"}, {"v1", true, 0, 1, 0, "view"}}};
  const auto read = parse_server_control(write_server_control(path));
  ASSERT_TRUE(read);
  const Path& back = std::get<Path>(*read);
  EXPECT_EQ(back.bitrate_kbps, 2500u);
  EXPECT_EQ(back.round_trip_ms, 45u);
  EXPECT_EQ(back.limited_by, "delay");
  ASSERT_EQ(back.slots.size(), 2u);
  EXPECT_EQ(back.slots[0].layer, 2u);
  EXPECT_TRUE(back.slots[1].paused);
  for (const char* bad : {R"({"type":"layers","source":"camera","active":[]})", R"({"type":"layers","source":"camera","active":[1]})",
                          R"({"type":"layers","source":"x","active":[true]})", R"({"type":"layers","source":"camera","active":[true,true,true,true,true]})",
                          R"({"type":"path","bitrate_kbps":1})"})
    EXPECT_EQ(parse_server_control(bad).error(), Error(control_bad_field)) << bad;
}

TEST(ControlMessages, CredentialsForTurnAreReadBackAndTheirFieldsChecked) {
  const auto read = parse_server_control(write_server_control(TurnServer{"1795:0123", SecretBytes::copy_of(as_bytes("secret"))}));
  ASSERT_TRUE(read);
  EXPECT_EQ(std::get<TurnServer>(*read).username, "1795:0123");
  EXPECT_EQ(as_text(std::get<TurnServer>(*read).credential.view()), "secret");
  for (const std::string& bad : {std::string(R"({"type":"turn","username":"","credential":"x"})"), std::string(R"({"type":"turn","username":"x"})"),
                                 std::string(R"({"type":"turn","username":"a\"b","credential":"x"})"), std::string(R"({"type":"turn","username":"a","credential":"\u00e9"})"),
                                 R"({"type":"turn","username":"x","credential":")" + std::string(max_turn_text + 1, 'x') + "\"}"})
    EXPECT_EQ(parse_server_control(bad).error(), Error(control_bad_field)) << bad;
}

} // namespace
} // namespace satsuma::signaling
