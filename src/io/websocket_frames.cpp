#include "io/websocket_frames.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

namespace satsuma::io {

namespace {

std::string base64(ByteView bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes.data(), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// s.1.3: SHA-1 here proves that the other end speaks WebSocket, and nothing else.
std::string accept_of(std::string_view key) {
  const std::string input = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  SATSUMA_CHECK(EVP_Digest(input.data(), input.size(), digest.data(), &size, EVP_sha1(), nullptr) == 1);
  return base64(ByteView(digest).first(size));
}

} // namespace

std::string websocket_key(RandomSource& random) {
  std::array<std::uint8_t, 16> bytes;
  random.fill(bytes);
  return base64(bytes);
}

std::string websocket_request(std::string_view host, std::string_view path, std::string_view subprotocol, std::string_view key) {
  std::string out("GET ");
  out.append(path).append(" HTTP/1.1\r\nHost: ").append(host);
  out.append("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ").append(key);
  out.append("\r\nSec-WebSocket-Protocol: ").append(subprotocol).append("\r\n\r\n");
  return out;
}

Result<void> check_websocket_response(std::string_view header, std::string_view subprotocol, std::string_view key) {
  if (!header.starts_with("HTTP/1.1 ") || header.size() < 13) return websocket_bad_response;
  if (header.substr(9, 4) != "101 ") return websocket_refused;
  bool upgrade = false, accepted = false, protocol = false;
  std::size_t at = header.find("\r\n");
  while (at != std::string_view::npos && at + 2 < header.size()) {
    const std::size_t end = header.find("\r\n", at + 2);
    const std::string_view line = header.substr(at + 2, end == std::string_view::npos ? end : end - at - 2);
    at = end;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
    if (same_ignoring_case(name, "upgrade")) upgrade = same_ignoring_case(value, "websocket");
    if (same_ignoring_case(name, "sec-websocket-accept")) accepted = value == accept_of(key);
    if (same_ignoring_case(name, "sec-websocket-protocol")) protocol = value == subprotocol;
    if (same_ignoring_case(name, "sec-websocket-extensions")) return websocket_bad_response; // none was asked for
  }
  if (!upgrade || !accepted || !protocol) return websocket_bad_response;
  return {};
}

void write_websocket_frame(WebSocketOpcode opcode, ByteView payload, RandomSource& random, Bytes& out) {
  out.push_back(static_cast<std::uint8_t>(0x80U | static_cast<unsigned>(opcode)));
  const std::size_t size = payload.size();
  if (size < 126) {
    out.push_back(static_cast<std::uint8_t>(0x80U | size));
  } else if (size < 65536) {
    out.insert(out.end(), {0x80 | 126, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
  } else {
    out.push_back(0x80 | 127);
    for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(std::uint64_t{size} >> shift));
  }
  std::array<std::uint8_t, 4> mask;
  random.fill(mask);
  out.insert(out.end(), mask.begin(), mask.end());
  for (std::size_t i = 0; i < size; ++i) out.push_back(payload[i] ^ mask[i % 4]);
}

Result<std::optional<WebSocketReader::Message>> WebSocketReader::next() {
  while (true) {
    if (taken_ > 0 && taken_ == buffer_.size()) {
      buffer_.clear();
      taken_ = 0;
    } else if (taken_ > 64 * 1024) {
      buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(taken_));
      taken_ = 0;
    }
    ByteReader in(ByteView(buffer_).subspan(taken_));
    const auto first = in.u8();
    const auto second = in.u8();
    if (!first || !second) return std::optional<Message>();
    const bool last = (*first & 0x80) != 0;
    const auto opcode = static_cast<WebSocketOpcode>(*first & 0x0f);
    // No extension was agreed, and a server does not mask (s.5.1, s.5.2).
    if ((*first & 0x70) != 0 || (*second & 0x80) != 0) return websocket_protocol_error;
    std::uint64_t size = *second & 0x7f;
    if (size == 126) {
      const auto longer = in.u16();
      if (!longer) return std::optional<Message>();
      if (*longer < 126) return websocket_protocol_error;
      size = *longer;
    } else if (size == 127) {
      const auto longer = in.u64();
      if (!longer) return std::optional<Message>();
      if (*longer < 65536) return websocket_protocol_error;
      size = *longer;
    }
    const bool control = (static_cast<unsigned>(opcode) & 8U) != 0;
    if (size + (fragments_ && !control ? fragments_->payload.size() : 0) > max_websocket_message) return websocket_too_large;
    const auto payload = in.bytes(static_cast<std::size_t>(size));
    if (!payload) return std::optional<Message>();
    taken_ = buffer_.size() - in.remaining();
    switch (opcode) {
      case WebSocketOpcode::close:
      case WebSocketOpcode::ping:
      case WebSocketOpcode::pong:
        if (!last || size > 125) return websocket_protocol_error;
        return std::optional(Message{opcode, to_bytes(*payload)});
      case WebSocketOpcode::text:
      case WebSocketOpcode::binary:
        if (fragments_) return websocket_protocol_error;
        if (last) return std::optional(Message{opcode, to_bytes(*payload)});
        fragments_ = Message{opcode, to_bytes(*payload)};
        continue;
      case WebSocketOpcode::continuation: {
        if (!fragments_) return websocket_protocol_error;
        fragments_->payload.insert(fragments_->payload.end(), payload->begin(), payload->end());
        if (!last) continue;
        std::optional<Message> whole = std::move(fragments_);
        fragments_.reset();
        return whole;
      }
    }
    return websocket_protocol_error;
  }
}

} // namespace satsuma::io
