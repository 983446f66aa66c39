#include <gtest/gtest.h>

#include "io/random.h"
#include "io/websocket_frames.h"

namespace satsuma::io {
namespace {

Bytes server_frame(std::uint8_t first, std::size_t size, std::uint8_t fill = 'x') {
  Bytes out{first};
  if (size < 126) {
    out.push_back(static_cast<std::uint8_t>(size));
  } else if (size < 65536) {
    out.insert(out.end(), {126, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
  } else {
    out.insert(out.end(), {127, 0, 0, 0, 0, static_cast<std::uint8_t>(size >> 24), static_cast<std::uint8_t>(size >> 16), static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
  }
  out.insert(out.end(), size, fill);
  return out;
}

std::string_view refusal(const Bytes& bytes) {
  WebSocketReader reader;
  reader.append(bytes);
  while (true) {
    const auto next = reader.next();
    if (!next) return next.error().name();
    if (!*next) return "taken";
  }
}

TEST(WebSocketClientFrames, TheAnswerMustBelongToOurKey) {
  // The example of RFC 6455 s.1.3.
  const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";
  const std::string good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                           "sec-websocket-protocol: satsuma.1\r\n\r\n";
  EXPECT_TRUE(check_websocket_response(good, "satsuma.1", key));
  EXPECT_EQ(check_websocket_response(good, "satsuma.2", key).error(), Error(websocket_bad_response));
  EXPECT_EQ(check_websocket_response(good, "satsuma.1", "AAAAAAAAAAAAAAAAAAAAAA==").error(), Error(websocket_bad_response));
  EXPECT_EQ(check_websocket_response("HTTP/1.1 503 Busy\r\n\r\n", "satsuma.1", key).error(), Error(websocket_refused));
  EXPECT_EQ(check_websocket_response("SSH-2.0\r\n\r\n", "satsuma.1", key).error(), Error(websocket_bad_response));
}

TEST(WebSocketClientFrames, MessagesAreReadWholeInPiecesAndInFragments) {
  WebSocketReader reader;
  for (const std::size_t size : {0U, 125U, 126U, 65535U, 65536U}) {
    for (const std::uint8_t byte : server_frame(0x82, size)) reader.append({&byte, 1});
    const auto message = reader.next();
    ASSERT_TRUE(message && *message) << size;
    EXPECT_EQ((*message)->payload.size(), size);
    EXPECT_EQ((*message)->opcode, WebSocketOpcode::binary);
  }
  reader.append(server_frame(0x01, 3, 'a'));
  reader.append(server_frame(0x89, 2, 'p')); // a ping in between (s.5.4)
  reader.append(server_frame(0x80, 2, 'b'));
  EXPECT_EQ((*reader.next())->opcode, WebSocketOpcode::ping);
  EXPECT_EQ(as_text((*reader.next())->payload), "aaabb");
  EXPECT_FALSE(*reader.next());
}

TEST(WebSocketClientFrames, WhatBreaksTheRulesIsRefused) {
  EXPECT_EQ(refusal(server_frame(0xc2, 1)), websocket_protocol_error.name) << "an extension that nobody agreed to";
  EXPECT_EQ(refusal({0x82, 0x81, 0, 0, 0, 0, 1}), websocket_protocol_error.name) << "masked by a server";
  EXPECT_EQ(refusal({0x82, 126, 0, 5, 1, 2, 3, 4, 5}), websocket_protocol_error.name) << "a length longer than needed";
  EXPECT_EQ(refusal(server_frame(0x09, 1)), websocket_protocol_error.name) << "a fragmented ping";
  EXPECT_EQ(refusal(server_frame(0x80, 1)), websocket_protocol_error.name) << "a continuation of nothing";
  EXPECT_EQ(refusal(server_frame(0x83, 1)), websocket_protocol_error.name) << "an unknown opcode";
  Bytes twice = server_frame(0x02, 1);
  const Bytes second = server_frame(0x82, 1);
  twice.insert(twice.end(), second.begin(), second.end());
  EXPECT_EQ(refusal(twice), websocket_protocol_error.name) << "a message within a message";
  EXPECT_EQ(refusal(server_frame(0x82, max_websocket_message + 1)), websocket_too_large.name);
}

TEST(WebSocketClientFrames, OursAreMasked) {
  SystemRandom random;
  Bytes out;
  write_websocket_frame(WebSocketOpcode::text, as_bytes("hello"), random, out);
  ASSERT_EQ(out.size(), 2U + 4 + 5);
  EXPECT_EQ(out[0], 0x81);
  EXPECT_EQ(out[1], 0x85);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(out[6 + i] ^ out[2 + i % 4], "hello"[i]);
}

} // namespace
} // namespace satsuma::io
