#include "native_client.h"

#include <algorithm>

#include "address.h"
#include "host.h"
#include "media_socket.h"
#include "io/clock.h"

namespace satsuma::client {

using participant::Leg;

namespace {
/// UDP is given so long before a TCP connection is opened, and both so long before one inside TLS: where they work they are the better ways.
constexpr Duration udp_first = std::chrono::milliseconds(250);
constexpr Duration tls_last = std::chrono::seconds(1);
constexpr Duration stream_retry = std::chrono::seconds(1);
constexpr std::size_t max_known_streams = 32;

std::string unreachable(const std::string& host, const Error& reason) {
  const auto because = [&]() -> std::string {
    if (reason == Error(io::stream_connect_failed)) return "nothing answers at " + host;
    if (reason == Error(io::stream_tls_failed)) return "what answers at " + host + " does not speak TLS (does the link begin with http://?)";
    if (reason == Error(io::websocket_refused)) return "what answers at " + host + " does not let us in (is it full, or another program?)";
    if (reason == Error(io::websocket_bad_response)) return "what answers at " + host + " is not Satsuma";
    if (reason == Error(io::stream_lost)) return host + " hung up";
    return host + ", " + std::string(reason.name());
  };
  return "The server cannot be reached: " + because() + ". Trying again.";
}
} // namespace

std::expected<Server, std::string> find_server(const RoomLink& link, bool insecure, const std::string& pin) {
  auto host = find_host(link.server, insecure, pin);
  if (!host) return std::unexpected(host.error());
  return Server{{host->address, link.server.authority(), link.server.host, "/ws", "satsuma.1"}, std::move(host->tls)};
}

std::optional<std::string> transport_problem(const ConnectOptions& options, const RoomLink& link) {
  if (!options.media_via.empty() && !parse_address(options.media_via)) return "--media-via: \"" + options.media_via + "\" is not ADDRESS:PORT.";
  if (options.transport == participant::MediaTransport::tls && !link.server.tls) return "--transport tls: media goes inside the page's TLS, and this link begins with http://.";
  if (options.transport == participant::MediaTransport::tls && !options.media_via.empty()) return "--transport tls goes to the page's port, and so not with --media-via.";
  return std::nullopt;
}

NativeClient::~NativeClient() {
  if (timer_) loop_.cancel(*timer_);
  if (connect_timer_) loop_.cancel(*connect_timer_);
  if (restart_timer_) loop_.cancel(*restart_timer_);
  if (burial_timer_) loop_.cancel(*burial_timer_);
  disconnect();
  for (auto& socket : sockets_)
    if (socket) loop_.forget(socket->descriptor());
}

std::expected<void, std::string> NativeClient::start(TimePoint now, participant::ParticipantConfig config) {
  for (std::size_t leg = 0; leg < 2; ++leg) {
    auto socket = open_media_socket(buffers_);
    if (!socket) return std::unexpected(socket.error());
    sockets_[leg] = std::move(*socket);
    loop_.watch(sockets_[leg]->descriptor(), [this, leg] { on_datagrams(static_cast<Leg>(leg)); });
  }
  adapts_ = config.adapt;
  prefers_udp_ = config.transport == participant::MediaTransport::automatic;
  auto made = participant::Participant::create(std::move(config), now, io::unix_now(), context_, random_);
  if (!made) {
    if (made.error() == Error(call::identity_bad_name)) return std::unexpected("The name is longer than 64 bytes, or has characters that are invisible.");
    if (made.error() == Error(mls::mls_suite_unavailable)) {
      return std::unexpected("This room encrypts with ML-KEM, which the OpenSSL of this machine does not have; 3.5 or later is needed. A browser can enter.");
    }
    return std::unexpected("The participant could not be made (" + std::string(made.error().name()) + ").");
  }
  participant_ = std::move(*made);
  connect(now);
  return {};
}

void NativeClient::connect(TimePoint now) {
  connect_timer_.reset();
  if (ended_) return;
  dead_.clear();
  was_open_ = false;
  auto socket = io::WebSocketClient::connect(server_.target, server_.tls ? &*server_.tls : nullptr, random_);
  if (!socket) {
    listener_.on_problem(*this, now, unreachable(server_.target.host, socket.error()));
    connect_timer_ = loop_.at(now + retry_, [this](TimePoint at) { connect(at); });
    retry_ = std::min(2 * retry_, Duration(std::chrono::seconds(5)));
    return;
  }
  socket_ = std::move(*socket);
  loop_.watch(socket_->descriptor(), [this] { on_websocket(); });
  loop_.want_write(socket_->descriptor(), socket_->wants_write());
}

void NativeClient::disconnect() {
  if (!socket_) return;
  loop_.forget(socket_->descriptor());
  dead_.push_back(std::move(socket_)); // the caller may stand in one of its functions
}

void NativeClient::on_websocket() {
  const TimePoint now = io::monotonic_now();
  socket_->handle_ready();
  while (socket_) {
    auto output = socket_->poll_output();
    if (!output) break;
    if (std::holds_alternative<io::WebSocketClient::Open>(*output)) {
      was_open_ = true;
      retry_ = std::chrono::milliseconds(500);
      participant_->handle_connected(now);
    } else if (const auto* message = std::get_if<io::WebSocketClient::Message>(&*output)) {
      if (message->text) participant_->handle_text(now, as_text(message->payload));
      else participant_->handle_binary(now, message->payload);
    } else {
      const auto& closed = std::get<io::WebSocketClient::Closed>(*output);
      disconnect();
      if (was_open_) participant_->handle_disconnected(now);
      if (leaving_ || closed.code == 1000) return end(now, "left");
      if (closed.reason == Error(io::stream_wrong_certificate))
        return end(now, "The server's certificate cannot be trusted. For one that the server made itself give --pin with the fingerprint that it printed (or --insecure, for a try).");
      if (closed.code == 4409) return end(now, "A newer connection took over.");
      if (closed.code == 4400) return end(now, "The server refused the protocol.");
      listener_.on_problem(*this, now, was_open_ ? "The connection to the server was lost. Trying again." : unreachable(server_.target.host, closed.reason));
      if (!connect_timer_) connect_timer_ = loop_.at(now + retry_, [this](TimePoint at) { connect(at); });
      retry_ = std::min(2 * retry_, Duration(std::chrono::seconds(5)));
    }
    pump(now);
    if (ended_) return;
  }
  pump(now);
}

void NativeClient::on_datagrams(Leg leg) {
  const TimePoint now = io::monotonic_now();
  io::UdpSocket& socket = *sockets_[static_cast<std::size_t>(leg)];
  for (int batch = 0; batch < 4; ++batch) {
    const auto received = socket.receive();
    if (!received || received->empty()) break;
    for (const io::UdpSocket::Received& datagram : *received) {
      take(now, leg, datagram.remote, datagram.bytes, participant::Route::udp, datagram.arrived);
      if (ended_) return;
    }
    if (received->size() < io::receive_batch_size) break;
  }
  pump(now);
}

void NativeClient::take(TimePoint now, Leg leg, const TransportAddress& remote, MutableByteView datagram, participant::Route route, TimePoint arrived) {
  arrived_ = arrived;
  participant_->handle_packet(now, leg, remote, datagram, route, arrived);
  // Frames are taken one by one: the next packet may end another.
  while (auto output = participant_->poll_output(now)) {
    if (const auto* frame = std::get_if<participant::Frame>(&*output)) listener_.on_frame(*this, now, *frame);
    else if (const auto* state = std::get_if<participant::MediaState>(&*output)) listener_.on_media(*this, now, state->leg, state->connected);
    else if (const auto* wanted = std::get_if<participant::KeyFrameWanted>(&*output)) listener_.on_key_frame_wanted(*this, now, wanted->source, wanted->layer);
    else if (const auto* text = std::get_if<participant::SendText>(&*output); text && socket_) socket_->send(true, as_bytes(text->text));
    else if (const auto* binary = std::get_if<call::SendBinary>(&*output); binary && socket_) socket_->send(false, binary->frame);
  }
}

void NativeClient::bury(std::unique_ptr<MediaStream> stream) {
  if (!stream) return;
  dead_streams_.push_back(std::move(stream));
  if (!burial_timer_) burial_timer_ = loop_.at(io::monotonic_now(), [this](TimePoint) {
    burial_timer_.reset();
    dead_streams_.clear();
  });
}

void NativeClient::send_in_stream(TimePoint now, Leg leg, const NetworkPath& path, ByteView datagram) {
  const auto known = streams_.find(path);
  if (known == streams_.end() && streams_.size() >= max_known_streams) {
    for (auto it = streams_.begin(); it != streams_.end();) {
      const bool open = it->second.stream && !it->second.stream->closed();
      if (!open) bury(std::move(it->second.stream));
      it = open ? std::next(it) : streams_.erase(it);
    }
  }
  if (known == streams_.end() && streams_.size() >= max_known_streams) return;
  Stream& stream = streams_[path];
  if (stream.asked == TimePoint{}) stream.asked = now;
  const participant::Route route = participant::route_of(path);
  if (prefers_udp_ && now - stream.asked < (route == participant::Route::tls ? tls_last : udp_first)) return;
  if (!stream.stream || stream.stream->closed()) {
    if (stream.connected_at && now - *stream.connected_at < stream_retry) return;
    stream.connected_at = now;
    bury(std::move(stream.stream));
    const auto on_datagram = [this, leg, route, remote = path.remote](MutableByteView bytes) {
      if (ended_) return;
      const TimePoint at = io::monotonic_now();
      take(at, leg, remote, bytes, route, at);
      pump(at);
    };
    const auto on_closed = [this, leg, path] {
      // Media went that way: other pairs are tried at once, and this one anew.
      if (ended_ || leaving_ || restart_timer_ || participant_->path(leg) != path) return;
      restart_timer_ = loop_.at(io::monotonic_now(), [this](TimePoint at) {
        restart_timer_.reset();
        if (ended_ || leaving_) return;
        participant_->restart_media(at);
        pump(at);
      });
    };
    if (route == participant::Route::tls) {
      const auto& turn = participant_->turn_server();
      if (!turn || !server_.tls) return;
      MediaStream::TurnServer through{server_.target.address, &*server_.tls, server_.target.name, {turn->username, turn->credential.clone()}};
      stream.stream = MediaStream::connect_through(loop_, std::move(through), path.remote, random_, on_datagram, on_closed);
    } else {
      stream.stream = MediaStream::connect(loop_, path.remote, on_datagram, on_closed);
    }
    if (!stream.stream) return;
  }
  stream.stream->send(datagram);
}

Result<void> NativeClient::send_frame(TimePoint now, signaling::Source source, ByteView frame, std::uint32_t timestamp, bool key_frame, std::optional<std::uint8_t> level,
                              std::size_t layer) {
  if (ended_) return participant::media_not_connected;
  const auto sent = participant_->send_frame(now, source, frame, timestamp, key_frame, level, layer);
  flush(Leg::publish);
  if (adapts_) set_timer(); // part of it may have to leave a little later
  return sent;
}

Result<void> NativeClient::write(TimePoint now, std::string text) {
  if (ended_) return participant::participant_not_in;
  SATSUMA_TRY_VOID(participant_->write(now, std::move(text)));
  pump(now);
  return {};
}

void NativeClient::leave(TimePoint now) {
  if (ended_ || leaving_) return;
  leaving_ = true;
  participant_->leave(now);
  pump(now);
}

void NativeClient::flush(Leg leg) {
  participant::SendQueue* const queue = participant_->queue(leg);
  if (queue == nullptr || queue->empty()) return;
  batch_.clear();
  for (const participant::OutgoingDatagram& datagram : queue->datagrams()) {
    if (datagram.path.is_stream()) send_in_stream(io::monotonic_now(), leg, datagram.path, datagram.bytes);
    else batch_.push_back({datagram.path.remote, datagram.bytes});
  }
  if (!batch_.empty()) sockets_[static_cast<std::size_t>(leg)]->send(batch_);
  queue->clear();
}

void NativeClient::pump(TimePoint now) {
  if (ended_) return;
  while (auto output = participant_->poll_output(now)) {
    if (const auto* binary = std::get_if<call::SendBinary>(&*output)) {
      if (socket_) socket_->send(false, binary->frame);
    } else if (const auto* text = std::get_if<participant::SendText>(&*output)) {
      if (socket_) socket_->send(true, as_bytes(text->text));
    } else if (const auto* reconnect = std::get_if<call::Reconnect>(&*output)) {
      if (socket_) {
        disconnect();
        participant_->handle_disconnected(now);
      }
      if (connect_timer_) loop_.cancel(*connect_timer_);
      connect_timer_ = loop_.at(now + std::max(reconnect->delay, Duration(std::chrono::milliseconds(50))), [this](TimePoint at) { connect(at); });
    } else if (std::holds_alternative<call::Close>(*output)) {
      flush(Leg::publish);
      flush(Leg::subscribe);
      if (socket_) socket_->close();
      disconnect();
      return end(now, leaving_ ? "left" : "The session is over.");
    } else if (const auto* event = std::get_if<participant::SessionEvent>(&*output)) {
      listener_.on_session(*this, now, event->event);
    } else if (const auto* state = std::get_if<participant::MediaState>(&*output)) {
      listener_.on_media(*this, now, state->leg, state->connected);
    } else if (const auto* wanted = std::get_if<participant::KeyFrameWanted>(&*output)) {
      listener_.on_key_frame_wanted(*this, now, wanted->source, wanted->layer);
    } else if (const auto* refused = std::get_if<participant::Refused>(&*output)) {
      listener_.on_problem(*this, now, refused->message);
    } else if (const auto* written = std::get_if<participant::Written>(&*output)) {
      listener_.on_written(*this, now, *written);
    } else if (const auto* frame = std::get_if<participant::Frame>(&*output)) {
      listener_.on_frame(*this, now, *frame);
    }
    if (ended_) return;
  }
  flush(Leg::publish);
  flush(Leg::subscribe);
  if (socket_) loop_.want_write(socket_->descriptor(), socket_->wants_write());
  set_timer();
}

void NativeClient::set_timer() {
  const auto deadline = participant_->next_deadline();
  if (deadline && timer_ && timer_->first == *deadline) return;
  if (timer_) loop_.cancel(*timer_);
  timer_.reset();
  if (deadline) {
    timer_ = loop_.at(*deadline, [this](TimePoint at) {
      timer_.reset();
      participant_->handle_timeout(at);
      pump(at);
    });
  }
}

void NativeClient::end(TimePoint now, const std::string& why) {
  if (ended_) return;
  ended_ = true;
  if (timer_) loop_.cancel(*timer_);
  if (connect_timer_) loop_.cancel(*connect_timer_);
  timer_.reset();
  connect_timer_.reset();
  if (restart_timer_) loop_.cancel(*restart_timer_);
  restart_timer_.reset();
  for (auto& [path, stream] : streams_) bury(std::move(stream.stream));
  streams_.clear();
  disconnect();
  for (auto& socket : sockets_)
    if (socket) loop_.forget(socket->descriptor());
  listener_.on_end(*this, now, why);
}

} // namespace satsuma::client
