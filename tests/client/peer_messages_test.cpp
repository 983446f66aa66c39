// What is read of another forwarding unit's answers.

#include <gtest/gtest.h>

#include "http_response.h"
#include "janus_messages.h"

namespace satsuma::client {
namespace {

Result<HttpResponse> read(std::string_view text, std::size_t piece = 1 << 20) {
  HttpReader reader;
  while (!text.empty()) {
    SATSUMA_TRY_VOID(reader.append(as_bytes(text.substr(0, piece))));
    text.remove_prefix(std::min(piece, text.size()));
  }
  return reader.finish();
}

TEST(HttpReader, AResponseIsReadHoweverItIsCut) {
  for (const std::size_t piece : {1U, 2U, 7U, 1000U}) {
    const auto response = read("HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH: 5 \r\n\r\nhello", piece);
    ASSERT_TRUE(response) << response.error().name();
    EXPECT_EQ(response->status, 200U);
    EXPECT_EQ(response->body, "hello");
  }
}

TEST(HttpReader, WithoutALengthTheBodyGoesToTheEnd) {
  const auto response = read("HTTP/1.0 404 Not Found\r\n\r\nnothing here");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 404U);
  EXPECT_EQ(response->body, "nothing here");
}

TEST(HttpReader, ItIsCompleteWithTheLastByteOfItsLength) {
  HttpReader reader;
  ASSERT_TRUE(reader.append(as_bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")));
  EXPECT_FALSE(reader.complete());
  ASSERT_TRUE(reader.append(as_bytes("k and what follows")));
  EXPECT_TRUE(reader.complete());
  EXPECT_EQ(reader.finish()->body, "ok");
}

TEST(HttpReader, WhatIsNoResponseIsRefused) {
  const auto error = [](std::string_view text) {
    const auto response = read(text);
    return response ? std::string_view("taken") : response.error().name();
  };
  EXPECT_EQ(error(""), "http_incomplete");
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\n"), "http_incomplete");
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"), "http_incomplete");
  EXPECT_EQ(error("SSH-2.0-OpenSSH\r\n\r\n"), "http_malformed");
  EXPECT_EQ(error("HTTP/1.1 2000 OK\r\n\r\n"), "http_malformed");
  EXPECT_EQ(error("HTTP/1.1 ok\r\n\r\n"), "http_malformed");
  EXPECT_EQ(error("HTTP/2.0 200 OK\r\n\r\n"), "http_malformed");
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), "http_malformed");
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "http_malformed");
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"), "http_malformed");
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "http_unknown_coding");
}

TEST(HttpReader, HeadAndBodyAreBounded) {
  const auto error = [](const std::string& text) {
    const auto response = read(text, 1000);
    return response ? std::string_view("taken") : response.error().name();
  };
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\nX: " + std::string(max_http_head, 'x')), "http_too_large");
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\n\r\n" + std::string(max_http_body, 'x')), "taken");
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\n\r\n" + std::string(max_http_body + 1, 'x')), "http_too_large");
  EXPECT_EQ(error("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(max_http_body + 1) + "\r\n\r\n"), "http_too_large");
}

TEST(JanusMessages, WhatASessionAndAHandleAreMadeWithIsRead) {
  const auto messages = parse_janus_messages(R"({"janus":"success","transaction":"t1","data":{"id":7319384756120}})");
  ASSERT_TRUE(messages);
  ASSERT_EQ(messages->size(), 1U);
  EXPECT_EQ(messages->front().kind, "success");
  EXPECT_EQ(messages->front().transaction, "t1");
  EXPECT_EQ(messages->front().id, 7319384756120U);
}

TEST(JanusMessages, AListOfEventsIsReadInItsOrder) {
  const auto messages = parse_janus_messages(R"([{"janus":"hangup","sender":3,"reason":"DTLS alert"},
    {"janus":"event","sender":4,"transaction":"t2","plugindata":{"plugin":"janus.plugin.videoroom","data":{"videoroom":"joined","id":8}},"jsep":{"type":"answer","sdp":"v=0"}}])");
  ASSERT_TRUE(messages);
  ASSERT_EQ(messages->size(), 2U);
  EXPECT_EQ(messages->at(0).reason, "DTLS alert");
  EXPECT_EQ(messages->at(1).feed, "8");
  EXPECT_EQ(messages->at(1).sdp, "v=0");
}

TEST(JanusMessages, AFeedMayHaveANameInPlaceOfANumber) {
  EXPECT_EQ(parse_janus_messages(R"({"janus":"event","plugindata":{"data":{"id":"a\"b"}}})")->front().feed, R"("a\"b")");
}

TEST(JanusMessages, JanusAndItsVideoRoomSayWhatIsWrong) {
  const auto own = parse_janus_messages(R"({"janus":"error","error":{"code":460,"reason":"No such plugin"}})");
  ASSERT_TRUE(own && own->front().problem);
  EXPECT_EQ(own->front().problem->code, janus_no_such_plugin);
  const auto room = parse_janus_messages(R"({"janus":"event","plugindata":{"data":{"videoroom":"event","error_code":432,"error":"Maximum number of publishers"}}})");
  ASSERT_TRUE(room && room->front().problem);
  EXPECT_EQ(room->front().problem->code, janus_publishers_full);
  EXPECT_EQ(room->front().problem->reason, "Maximum number of publishers");
}

TEST(JanusMessages, WhatIsOfAnotherTypeCountsAsAbsent) {
  const auto messages = parse_janus_messages(R"({"janus":"success","transaction":5,"data":[1],"sender":-3,"jsep":"v=0","plugindata":{"data":{"id":-4,"exists":"yes"}}})");
  ASSERT_TRUE(messages);
  const JanusMessage& message = messages->front();
  EXPECT_TRUE(message.transaction.empty() && message.id == 0 && message.sdp.empty() && message.feed.empty() && !message.exists);
}

TEST(JanusMessages, WhatIsNoMessageIsRefused) {
  const auto error = [](std::string_view text) {
    const auto messages = parse_janus_messages(text);
    return messages ? std::string_view("taken") : messages.error().name();
  };
  EXPECT_EQ(error(""), "janus_not_json");
  EXPECT_EQ(error("<html>"), "janus_not_json");
  EXPECT_EQ(error(std::string_view("{\"janus\":\"ack\"}\0x", 17)), "janus_not_json");
  EXPECT_EQ(error("7"), "janus_unknown_message");
  EXPECT_EQ(error("{}"), "janus_unknown_message");
  EXPECT_EQ(error(R"({"janus":5})"), "janus_unknown_message");
  EXPECT_EQ(error(R"([{"janus":"ack"},[]])"), "janus_unknown_message");
  std::string many = "[";
  for (std::size_t i = 0; i < max_janus_messages; ++i) many += R"({"janus":"ack"},)";
  EXPECT_EQ(error(many.substr(0, many.size() - 1) + "]"), "taken");
  EXPECT_EQ(error(many + R"({"janus":"ack"}])"), "janus_too_many_messages");
}

} // namespace
} // namespace satsuma::client
