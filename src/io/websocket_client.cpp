#include "io/websocket_client.h"

#include <algorithm>

namespace satsuma::io {

Result<std::unique_ptr<WebSocketClient>> WebSocketClient::connect(Target target, const TlsClient* tls, RandomSource& random) {
  SATSUMA_TRY(ClientStream stream, ClientStream::connect(target.address, tls, target.name));
  return std::unique_ptr<WebSocketClient>(new WebSocketClient(std::move(target), std::move(stream), random));
}

WebSocketClient::WebSocketClient(Target target, ClientStream stream, RandomSource& random)
    : target_(std::move(target)), random_(random), stream_(std::move(stream)), key_(websocket_key(random)) {}

void WebSocketClient::finish(Error reason, std::uint16_t code) {
  if (closed_) return;
  state_ = State::closed;
  closed_ = Closed{reason, code};
  outgoing_.clear();
}

void WebSocketClient::handle_ready() {
  if (closed_) return;
  const auto ready = stream_.advance();
  if (!ready) return finish(ready.error());
  if (!*ready) return;
  if (state_ == State::connecting) {
    const std::string request = websocket_request(target_.host, target_.path, target_.subprotocol, key_);
    outgoing_.assign(request.begin(), request.end());
    state_ = State::upgrading;
  }
  flush();
  read();
  flush();
}

void WebSocketClient::flush() {
  std::size_t done = 0;
  while (!closed_ && done < outgoing_.size()) {
    const auto put = stream_.write(ByteView(outgoing_).subspan(done));
    if (!put) return finish(put.error());
    if (*put == 0) break;
    done += *put;
  }
  outgoing_.erase(outgoing_.begin(), outgoing_.begin() + static_cast<std::ptrdiff_t>(std::min(done, outgoing_.size())));
}

void WebSocketClient::read() {
  std::array<std::uint8_t, 16 * 1024> bytes;
  // So that one busy connection leaves the others their turn; the descriptor stays readable.
  for (int turns = 0; turns < 16 && !closed_; ++turns) {
    const auto got = stream_.read(bytes);
    if (!got) return finish(got.error());
    if (*got == 0) return;
    ByteView rest = ByteView(bytes).first(*got);
    if (state_ == State::upgrading) {
      response_.append(as_text(rest));
      const std::size_t end = response_.find("\r\n\r\n");
      if (end == std::string::npos) {
        if (response_.size() > max_websocket_response) return finish(websocket_bad_response);
        continue;
      }
      const std::size_t behind = response_.size() - (end + 4);
      if (const auto checked = check_websocket_response(std::string_view(response_).substr(0, end + 4), target_.subprotocol, key_); !checked)
        return finish(checked.error());
      state_ = State::open;
      announce_open_ = true;
      rest = rest.last(behind);
      response_.clear();
    }
    reader_.append(rest);
    if (stream_.holds_back()) --turns;
  }
}

std::optional<WebSocketClient::Output> WebSocketClient::poll_output() {
  if (announce_open_) {
    announce_open_ = false;
    return Open{};
  }
  // What arrived before the end is read to its end.
  while (state_ == State::open || (closed_ && !told_closed_)) {
    auto message = reader_.next();
    if (!message) {
      finish(message.error(), 1002);
      break;
    }
    if (!*message) break;
    switch ((*message)->opcode) {
      case WebSocketOpcode::text:
      case WebSocketOpcode::binary: return Message{(*message)->opcode == WebSocketOpcode::text, std::move((*message)->payload)};
      case WebSocketOpcode::ping:
        write_websocket_frame(WebSocketOpcode::pong, (*message)->payload, random_, outgoing_);
        flush();
        break;
      case WebSocketOpcode::close: {
        const Bytes& payload = (*message)->payload;
        const std::uint16_t code = payload.size() >= 2 ? static_cast<std::uint16_t>(payload[0] << 8 | payload[1]) : std::uint16_t{1005};
        if (!closed_) {
          write_websocket_frame(WebSocketOpcode::close, ByteView(payload).first(std::min<std::size_t>(payload.size(), 2)), random_, outgoing_);
          flush();
        }
        closed_.reset();
        finish(stream_lost, code);
        break;
      }
      case WebSocketOpcode::pong:
      case WebSocketOpcode::continuation: break;
    }
  }
  if (closed_ && !told_closed_) {
    told_closed_ = true;
    return *closed_;
  }
  return std::nullopt;
}

void WebSocketClient::send(bool text, ByteView payload) {
  if (state_ != State::open) return;
  if (outgoing_.size() + payload.size() > max_websocket_send_queue) return finish(websocket_send_queue_full);
  write_websocket_frame(text ? WebSocketOpcode::text : WebSocketOpcode::binary, payload, random_, outgoing_);
  flush();
}

void WebSocketClient::close() {
  if (state_ != State::open) return finish(stream_lost, 1000);
  const std::uint8_t code[2] = {1000 >> 8, 1000 & 0xff};
  write_websocket_frame(WebSocketOpcode::close, code, random_, outgoing_);
  flush();
  if (!closed_) finish(stream_lost, 1000);
}

} // namespace satsuma::io
