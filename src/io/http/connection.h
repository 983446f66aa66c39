#pragma once

#include <netinet/tcp.h>

#include <list>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/span_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "base/secret.h"
#include "base/token_bucket.h"
#include "ice/stream_framing.h"
#include "io/clock.h"
#include "io/http/stream.h"
#include "io/http_server.h"
#include "io/static_files.h"
#include "io/turn_bridge.h"
#include "turn/framing.h"

namespace satsuma::io::internal {

namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;

using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

inline TransportAddress to_transport_address(const asio::ip::address& address, std::uint16_t port) {
  return TransportAddress::v6((address.is_v4() ? asio::ip::make_address_v6(asio::ip::v4_mapped, address.to_v4()) : address.to_v6()).to_bytes(), port);
}

inline bool is_loopback(const asio::ip::address& address) {
  if (address.is_loopback()) return true;
  return address.is_v6() && address.to_v6().is_v4_mapped() && asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
}

/// A Host field is put into our own header fields, so nothing strange may be in it.
inline bool is_plain_host(std::string_view host) {
  return !host.empty() && host.size() <= 255 && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':' || c == '[' || c == ']' || c == '_';
  });
}

inline bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y)); });
}

inline bool lists(std::string_view field, std::string_view wanted) {
  while (!field.empty()) {
    const std::size_t comma = field.find(',');
    std::string_view item = field.substr(0, comma);
    field = comma == std::string_view::npos ? std::string_view() : field.substr(comma + 1);
    while (item.starts_with(' ') || item.starts_with('\t')) item.remove_prefix(1);
    while (item.ends_with(' ') || item.ends_with('\t')) item.remove_suffix(1);
    if (item == wanted) return true;
  }
  return false;
}

class Connection;

} // namespace satsuma::io::internal

namespace satsuma::io {

struct HttpServer::Implementation {
  Implementation(HttpOptions given, HttpServer::Handler& owner)
      : options(std::move(given)), handler(owner), work(io.get_executor()), acceptor(io.get_executor()), deadline(io.get_executor()), stop_timer(io.get_executor()), signals(io) {}

  std::optional<std::string> open();
  void accept();
  void begin_stop();
  void forget(internal::Connection& connection);
  internal::Connection* web_socket(ConnectionId id);
  /// Makes room for so many more bytes in the send queues: see HttpLimits::send_queues.
  void make_room_to_send(std::size_t size);
  /// ... in the receive buffers.
  void make_room_to_receive();

  HttpOptions options;
  HttpServer::Handler& handler;
  HttpStatistics statistics;
  StaticFiles files;
  internal::Ssl<SSL_CTX> tls;
  turn::Server* turn = nullptr;
  std::uint16_t port = 0;
  ConnectionId next_id = 1;
  std::size_t queued_bytes = 0;   ///< of all connections
  std::size_t receive_bytes = 0;  ///< capacity of their buffers
  bool stopping = false;

  internal::asio::io_context io{1};
  internal::asio::executor_work_guard<internal::Executor> work;
  internal::Acceptor acceptor;
  internal::Timer deadline;
  internal::Timer stop_timer;
  internal::asio::signal_set signals;
  std::unordered_map<ConnectionId, std::shared_ptr<internal::Connection>> connections;
  struct Address {
    std::size_t connections = 0;
    TokenBucket fresh;
  };
  using Addresses = std::map<std::array<std::uint8_t, 16>, Address>;
  /// Made if there is none.
  Addresses::iterator address(const internal::asio::ip::address& peer, TimePoint now);
  Addresses per_address; ///< those with a connection, and those whose bucket is not full yet
};

} // namespace satsuma::io

namespace satsuma::io::internal {

using Request = http::request<http::empty_body>;
using Response = http::response<http::span_body<const char>>;

/// One TCP connection. Its life: [TLS handshake] → request ↔ response ... → (WebSocket → closing) → finished, or → TURN → finished.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(HttpServer::Implementation& server, ConnectionId id, Socket socket, asio::ip::address peer)
      : server_(server), id_(id), peer_(std::move(peer)), stream_(std::in_place, std::move(socket)), timer_(server.io.get_executor()) {}

  ConnectionId id() const { return id_; }
  const asio::ip::address& peer() const { return peer_; }
  bool is_web_socket() const { return opened_ && !finished_; }

  void start() {
    if (!server_.tls && !server_.options.media_streams) return read_request(server_.options.limits.request_head);
    arm(server_.options.limits.tls_handshake);
    await_first_byte();
  }

  void send(bool text, Bytes bytes) {
    if (!opened_ || closing_ || finished_) return;
    const HttpLimits& limits = server_.options.limits;
    if (bytes.size() > limits.send_queue - queued_bytes_) return close_slow();
    server_.make_room_to_send(bytes.size());
    if (closing_ || finished_) return;
    count_queued(queued_bytes_ + bytes.size());
    queue_.emplace_back(text, std::move(bytes));
    if (queue_.size() == 1) write_next();
  }

  /// The peer does not read. What waits is of no use any more; the close frame is tried, the timer ends it.
  void close_slow() {
    if (closing_) return finish();
    if (queue_.size() > 1) {
      queue_.erase(std::next(queue_.begin()), queue_.end());
      count_queued(queue_.front().bytes.size());
    }
    ++server_.statistics.closed_too_large;
    close(static_cast<std::uint16_t>(CloseCode::too_large), "you read too slowly; connect again");
  }

  std::size_t queued_bytes() const { return queued_bytes_; }
  /// When the message began that is not complete.
  std::optional<TimePoint> message_since() const { return finished_ ? std::nullopt : message_since_; }

  void close(std::uint16_t code, std::string_view reason) {
    if (!opened_ || closing_ || finished_) return;
    closing_ = true;
    close_reason_.code = code;
    close_reason_.reason.assign(reason.data(), std::min<std::size_t>(reason.size(), 120)); // a control frame holds 125 bytes
    arm(server_.options.limits.close_handshake);
    if (queue_.empty()) send_close();
  }

  void set_ready() { ready_ = true; }

  /// Ends at once, without a word to the peer.
  void abort() { finish(); }

 private:
  struct Outgoing {
    Outgoing(bool is_text, Bytes content) : text(is_text), bytes(std::move(content)) {}
    Outgoing(const Outgoing&) = delete;
    ~Outgoing() {
      if (text) wipe(bytes); // TURN's password comes as text
    }
    bool text;
    Bytes bytes;
  };

  // --- the timer: one at a time, for whatever is being waited for ---

  void arm(Duration duration) {
    timer_.expires_after(duration);
    timer_.async_wait([weak = weak_from_this()](error_code error) {
      if (error) return;
      const auto self = weak.lock();
      // expires_after() may come too late to cancel a wait that has already expired.
      if (self && self->timer_.expiry() <= std::chrono::steady_clock::now()) self->on_timer();
    });
  }

  void on_timer() {
    if (bridge_) return turn_timer();
    if (!opened_ || closing_) return finish();
    const HttpLimits& limits = server_.options.limits;
    const TimePoint now = monotonic_now();
    const bool unfinished = message_since_ && now - *message_since_ > limits.message;
    if (unfinished || now - heard_ > limits.silence) {
      ++server_.statistics.closed_silent;
      return close(static_cast<std::uint16_t>(CloseCode::silent), unfinished ? "your message did not come to its end" : "nothing was heard from you");
    }
    arm(limits.ping);
    if (pinging_) return;
    pinging_ = true;
    ws_->async_ping({}, [self = shared_from_this()](error_code) { self->pinging_ = false; });
  }

  void finish() {
    if (finished_) return;
    finished_ = true;
    timer_.cancel();
    count_queued(0);
    server_.receive_bytes -= std::exchange(receive_bytes_, 0);
    for (const auto& [inner, watched] : turn_peers_) watched->release(); // its descriptor is the bridge's
    turn_peers_.clear();
    if (ws_) {
      ws_->next_layer().close();
    } else if (stream_) {
      stream_->shut_down();
      stream_->close();
    }
    asio::post(server_.io, [self = shared_from_this()] {
      if (self->opened_) {
        --self->server_.statistics.web_sockets;
        self->server_.handler.on_close(self->id_);
      }
      self->server_.forget(*self);
    });
  }

  // --- what it speaks ---

  void await_first_byte() {
    stream_->socket().async_wait(Socket::wait_read, [self = shared_from_this()](error_code error) {
      if (error || self->finished_) return self->finish();
      self->choose_protocol();
    });
  }

  void choose_protocol() {
    std::uint8_t first = 0;
    const ssize_t got = ::recv(stream_->socket().native_handle(), &first, 1, MSG_PEEK);
    // A wait may end for what happened to the socket that had this number before.
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return await_first_byte();
    if (got <= 0) return finish();
    if (server_.options.media_streams && ice::may_begin_stream(first)) return read_check();
    if (!server_.tls) return read_request(server_.options.limits.request_head);
    constexpr std::uint8_t tls_handshake_record = 0x16; // RFC 8446 s.5.1
    if (first != tls_handshake_record) {
      redirect_ = true; // somebody typed http://: the answer leads to https://
      return read_request(server_.options.limits.request_head);
    }
    if (!stream_->start_tls(server_.tls.get())) return finish();
    stream_->async_handshake([self = shared_from_this()](error_code error) {
      if (error || self->finished_) return self->finish();
      if (self->server_.turn != nullptr) return self->choose_inside_tls();
      self->read_request(self->server_.options.limits.request_head);
    });
  }

  void choose_inside_tls() {
    arm(server_.options.limits.request_head);
    stream_->async_read_some(buffer_.prepare(first_read_size), [self = shared_from_this()](error_code error, std::size_t size) {
      if (error || self->finished_) return self->finish();
      self->buffer_.commit(size);
      if (!turn::may_begin_turn(*static_cast<const std::uint8_t*>(self->buffer_.data().data()))) return self->read_request(self->server_.options.limits.request_head);
      self->start_turn();
    });
  }

  // --- TURN ---

  void start_turn() {
    const auto remote = remote_address();
    if (!remote) return finish();
    ++server_.statistics.turn_connections;
    const int socket = stream_->socket().native_handle();
    const int unsent = TurnBridge::max_waiting_media;
    const auto silence = static_cast<unsigned>(std::chrono::duration_cast<std::chrono::milliseconds>(server_.options.limits.keep_alive).count());
    // Each is an improvement, as for MediaStreams.
    static_cast<void>(::setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent));
    static_cast<void>(::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence, sizeof silence));
    bridge_ = std::make_unique<TurnBridge>(monotonic_now(), *server_.turn, *remote);
    turn_timer();
    if (!finished_) take_turn_input();
  }

  void turn_timer() {
    if (!bridge_->handle_timeout(monotonic_now())) return finish();
    turn_deadline();
  }

  void turn_deadline() {
    const Duration left = bridge_->next_deadline() - monotonic_now();
    arm(std::max<Duration>(left, std::chrono::milliseconds(10))); // the last answer leaves before its connection ends
  }

  void take_turn_input() {
    const auto data = buffer_.data();
    const bool useful = bridge_->handle_client(monotonic_now(), {static_cast<std::uint8_t*>(data.data()), data.size()}).has_value();
    buffer_.consume(data.size());
    write_turn();
    if (!useful) return finish();
    turn_deadline(); // a Refresh moves it, also to now
    for (TurnBridge::Opened& opened : bridge_->take_opened()) {
      auto watched = std::make_unique<Descriptor>(server_.io.get_executor(), opened.inner);
      watch_turn_peer(opened.inner, *watched);
      turn_peers_.emplace(opened.inner, std::move(watched));
      server_.handler.on_relayed_stream(opened.outer, opened.relayed, bridge_->client(), std::move(opened.begun));
    }
    read_turn();
  }

  void read_turn() {
    // Who does not read its answers is not asked for more.
    if (turn_reading_ || finished_ || turn_writing_.size() + bridge_->waiting() > TurnBridge::max_waiting) return;
    turn_reading_ = true;
    stream_->async_read_some(buffer_.prepare(turn_read_size), [self = shared_from_this()](error_code error, std::size_t size) {
      self->turn_reading_ = false;
      if (error || self->finished_) return self->finish();
      self->buffer_.commit(size);
      self->take_turn_input();
    });
  }

  void watch_turn_peer(int inner, Descriptor& watched) {
    watched.async_wait(Descriptor::wait_read, [self = shared_from_this(), inner](error_code error) {
      if (error || self->finished_) return;
      const auto found = self->turn_peers_.find(inner);
      if (found == self->turn_peers_.end()) return;
      const std::uint64_t dropped = self->bridge_->dropped_slow();
      if (!self->bridge_->handle_readable(monotonic_now(), inner)) {
        found->second->release(); // before the number can be another's
        self->turn_peers_.erase(found);
        self->bridge_->close_peer(inner);
        return;
      }
      self->server_.statistics.turn_dropped_slow += self->bridge_->dropped_slow() - dropped;
      self->watch_turn_peer(inner, *found->second);
      self->write_turn();
    });
  }

  void write_turn() {
    if (finished_ || !turn_writing_.empty() || bridge_->waiting() == 0) return;
    bridge_->take_waiting(turn_writing_);
    turn_written_ = 0;
    write_turn_on();
  }

  void write_turn_on() {
    stream_->async_write_some(asio::buffer(turn_writing_.data() + turn_written_, turn_writing_.size() - turn_written_),
                              [self = shared_from_this()](error_code error, std::size_t size) {
                                if (error || self->finished_) return self->finish();
                                self->turn_written_ += size;
                                if (self->turn_written_ < self->turn_writing_.size()) return self->write_turn_on();
                                self->turn_writing_.clear();
                                self->write_turn();
                                self->read_turn();
                              });
  }

  // --- media over TCP: once the first check is here, somebody else's ---

  void read_check() {
    std::array<std::uint8_t, max_first_check> bytes;
    const std::size_t missing = begun_.size() < ice::stream_frame_header ? ice::stream_frame_header - begun_.size()
                                                                         : ice::stream_frame_header + check_size() - begun_.size();
    const ssize_t got = ::recv(stream_->socket().native_handle(), bytes.data(), missing, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) return finish();
    if (got > 0) begun_.insert(begun_.end(), bytes.begin(), bytes.begin() + got);
    if (begun_.size() >= ice::stream_frame_header && begun_.size() == ice::stream_frame_header + check_size()) return hand_over();
    stream_->socket().async_wait(Socket::wait_read, [self = shared_from_this()](error_code error) {
      if (error || self->finished_) return self->finish();
      self->read_check();
    });
  }

  std::size_t check_size() const { return static_cast<std::size_t>((begun_[0] << 8) | begun_[1]); }

  std::optional<TransportAddress> remote_address() {
    error_code error;
    const auto remote = stream_->socket().remote_endpoint(error);
    if (error) return std::nullopt;
    return to_transport_address(remote.address(), remote.port());
  }

  void hand_over() {
    error_code error;
    const auto remote = remote_address();
    if (!remote) return finish();
    const int descriptor = stream_->socket().release(error);
    if (error) return finish();
    ++server_.statistics.media_streams;
    // Whoever takes it has a rate of its own for it.
    if (const auto from_there = server_.per_address.find(to_transport_address(peer_, 0).household()); from_there != server_.per_address.end()) from_there->second.fresh.give_back(1);
    server_.handler.on_media_stream(descriptor, *remote, std::move(begun_));
    finish();
  }

  // --- HTTP ---

  void read_request(Duration patience) {
    arm(patience);
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(server_.options.limits.request_header));
    parser_->body_limit(0);
    http::async_read_header(*stream_, buffer_, *parser_, [self = shared_from_this()](error_code error, std::size_t) {
      if (self->finished_) return;
      self->on_request(error);
    });
  }

  void on_request(error_code error) {
    arm(server_.options.limits.response);
    if (error == http::error::header_limit) return refuse(http::status::request_header_fields_too_large, "The head of the request is too large.\n");
    if (error == http::error::body_limit) return refuse(http::status::payload_too_large, "This server takes no request bodies.\n");
    if (error.category() == make_error_code(http::error::bad_method).category() && error != http::error::end_of_stream && error != http::error::partial_message) {
      return refuse(http::status::bad_request, "The request is not HTTP/1.1 as this server understands it.\n");
    }
    if (error) return finish();
    ++server_.statistics.requests;
    Request request = parser_->release();
    keep_alive_ = request.keep_alive() && !server_.stopping;
    head_only_ = request.method() == http::verb::head;
    const bool has_body = request.count(http::field::transfer_encoding) != 0 || (request.count(http::field::content_length) != 0 && request[http::field::content_length] != "0");
    if (has_body) return refuse(http::status::payload_too_large, "This server takes no request bodies.\n");
    host_ = std::string(request[http::field::host]);
    if (!is_plain_host(host_)) return refuse(http::status::bad_request, "The Host field is missing or strange.\n");
    if (redirect_) return redirect(request);
    if (websocket::is_upgrade(request)) return open_web_socket(std::move(request));
    if (request.method() != http::verb::get && request.method() != http::verb::head) {
      response_ = {};
      response_.set(http::field::allow, "GET, HEAD");
      return respond_text(http::status::method_not_allowed, "Only GET and HEAD.\n");
    }
    route(request);
  }

  void route(const Request& request) {
    response_ = {};
    std::string_view path(request.target().data(), request.target().size());
    path = path.substr(0, path.find_first_of("?#"));
    if (path == "/healthz") return respond_text(http::status::ok, server_.stopping ? "stopping\n" : "ok\n");
    if (path == "/metrics") return metrics(request);
    if (path == "/ws") {
      response_.set(http::field::upgrade, "websocket");
      return respond_text(http::status::upgrade_required, "This is the place for a WebSocket with the subprotocol " + server_.options.subprotocol + ".\n");
    }
    const StaticFiles::File* file = server_.files.find(path);
    if (file == nullptr) {
      if (!server_.files.has_page() && (path == "/" || path.starts_with("/r/"))) {
        return respond_text(http::status::service_unavailable, "The server runs, but the web page has not been built. Build it (./run does) and start the server with --web FOLDER.\n");
      }
      return respond_text(http::status::not_found, "There is nothing here.\n");
    }
    const auto accepted = request[http::field::accept_encoding];
    const bool brotli = !file->brotli.empty() && accepts_brotli({accepted.data(), accepted.size()});
    const std::string tag = '"' + file->etag + (brotli ? "-br\"" : "\"");
    response_.set(http::field::etag, tag);
    response_.set(http::field::cache_control, file->immutable ? "public, max-age=31536000, immutable" : "no-cache");
    if (!file->brotli.empty()) response_.set(http::field::vary, "Accept-Encoding");
    const auto known = request[http::field::if_none_match];
    if (lists({known.data(), known.size()}, tag) || lists({known.data(), known.size()}, "W/" + tag)) {
      response_.result(http::status::not_modified);
      return respond({}, {});
    }
    if (brotli) response_.set(http::field::content_encoding, "br");
    response_.result(http::status::ok);
    respond(brotli ? file->brotli : file->content, file->mime);
  }

  void metrics(const Request& request) {
    const bool proxied = request.count(http::field::forwarded) != 0 || request.count("X-Forwarded-For") != 0 || request.count(http::field::via) != 0;
    const MetricsFor allowed = server_.options.metrics;
    const bool own = !proxied && is_loopback(peer_);
    if (allowed == MetricsFor::nobody || (allowed == MetricsFor::this_machine && !own)) return respond_text(http::status::not_found, "There is nothing here.\n");
    const HttpStatistics& s = server_.statistics;
    std::string text;
    const auto add = [&text](std::string_view name, std::string_view type, std::string_view help, std::uint64_t value) {
      text.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
      text.append(name).append(" ").append(std::to_string(value)).append("\n");
    };
    add("satsuma_http_connections", "gauge", "TCP connections now", s.connections);
    add("satsuma_websockets", "gauge", "WebSockets now", s.web_sockets);
    add("satsuma_http_accepted_total", "counter", "TCP connections taken", s.accepted);
    add("satsuma_http_refused_total", "counter", "TCP connections refused by a limit", s.refused);
    add("satsuma_http_refused_too_fast_total", "counter", "of these for too many new ones from one address", s.refused_too_fast);
    add("satsuma_http_requests_total", "counter", "HTTP requests", s.requests);
    add("satsuma_websocket_messages_in_total", "counter", "WebSocket messages received", s.messages_in);
    add("satsuma_websocket_messages_out_total", "counter", "WebSocket messages sent", s.messages_out);
    add("satsuma_websocket_closed_too_large_total", "counter", "WebSockets closed for a message or a queue beyond its bound", s.closed_too_large);
    add("satsuma_websocket_closed_silent_total", "counter", "WebSockets closed for silence", s.closed_silent);
    text += server_.handler.metrics();
    response_.set(http::field::cache_control, "no-store");
    response_.result(http::status::ok);
    text_ = std::move(text);
    respond(text_, "text/plain; version=0.0.4; charset=utf-8");
  }

  void redirect(const Request& request) {
    response_ = {};
    std::string_view target(request.target().data(), request.target().size());
    if (!target.starts_with('/')) target = "/";
    response_.set(http::field::location, "https://" + host_ + std::string(target));
    keep_alive_ = false;
    respond_text(http::status::permanent_redirect, "This server speaks HTTPS.\n");
  }

  void refuse(http::status status, std::string_view sentence) {
    response_ = {};
    keep_alive_ = false;
    respond_text(status, std::string(sentence));
  }

  void respond_text(http::status status, std::string sentence) {
    response_.result(status);
    if (response_.count(http::field::cache_control) == 0) response_.set(http::field::cache_control, "no-store");
    text_ = std::move(sentence);
    respond(text_, "text/plain; charset=utf-8");
  }

  std::string content_security_policy() const {
    const bool named = is_plain_host(host_);
    // 'self' covers WebSockets in new browsers only, so the host stands there by name as well.
    const std::string sockets = named ? " wss://" + host_ + (server_.tls ? "" : " ws://" + host_) : std::string();
    return "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'" + sockets +
           "; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob: mediastream:; font-src 'self'; manifest-src 'self'; "
           "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";
  }

  /// `body` lives as long as the server's files or `text_`.
  void respond(std::string_view body, std::string_view mime) {
    response_.version(11);
    response_.keep_alive(keep_alive_);
    if (!mime.empty()) response_.set(http::field::content_type, beast::string_view(mime.data(), mime.size()));
    response_.set("Content-Security-Policy", content_security_policy());
    response_.set("Cross-Origin-Opener-Policy", "same-origin");
    response_.set("Cross-Origin-Embedder-Policy", "require-corp");
    response_.set("Cross-Origin-Resource-Policy", "same-origin");
    response_.set("X-Content-Type-Options", "nosniff");
    response_.set("X-Frame-Options", "DENY");
    response_.set("Referrer-Policy", "no-referrer");
    response_.set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), geolocation=(), payment=(), usb=()");
    // Not for localhost: browsers would apply it to every other program that serves there.
    const bool local = host_ == "localhost" || host_.starts_with("localhost:");
    if (stream_->encrypted() && !local) response_.set("Strict-Transport-Security", "max-age=31536000");
    if (response_.result() != http::status::not_modified) response_.content_length(body.size());
    response_.body() = head_only_ ? boost::beast::span<const char>() : boost::beast::span<const char>(body.data(), body.size());
    serializer_.emplace(response_);
    http::async_write(*stream_, *serializer_, [self = shared_from_this()](error_code error, std::size_t) {
      if (self->finished_) return;
      self->serializer_.reset();
      if (error || !self->keep_alive_) return self->linger();
      self->read_request(self->server_.options.limits.keep_alive);
    });
  }

  /// Waits shortly for the peer to close, so that unread input does not turn into a reset that destroys our answer.
  void linger() {
    stream_->shut_down();
    arm(std::chrono::seconds(1));
    stream_->socket().async_wait(Socket::wait_read, [self = shared_from_this()](error_code) { self->finish(); });
  }

  // --- WebSocket ---

  bool origin_allowed(const Request& request) const {
    // Programs other than browsers send none; browsers always do, and cannot be made to lie.
    if (request.count(http::field::origin) == 0) return true;
    const auto field = request[http::field::origin];
    const std::string_view origin(field.data(), field.size());
    // A plain server may stand behind a proxy that does TLS, so its pages may be https as well.
    for (const std::string_view scheme : {std::string_view("https://"), std::string_view("http://")}) {
      if (scheme == "http://" && server_.tls) continue;
      if (origin.starts_with(scheme) && equal_ignoring_case(origin.substr(scheme.size()), host_)) return true;
    }
    return std::ranges::any_of(server_.options.allowed_origins, [origin](const std::string& allowed) { return equal_ignoring_case(allowed, origin); });
  }

  void open_web_socket(Request request) {
    const auto target = request.target();
    if (std::string_view(target.data(), target.size()) != "/ws") return refuse(http::status::not_found, "WebSockets are at /ws.\n");
    if (!origin_allowed(request)) return refuse(http::status::forbidden, "Pages of another origin may not connect.\n");
    const auto offered = request[http::field::sec_websocket_protocol];
    const std::string& subprotocol = server_.options.subprotocol;
    if (!lists({offered.data(), offered.size()}, subprotocol)) return refuse(http::status::bad_request, "The subprotocol must be " + subprotocol + ".\n");
    if (server_.stopping) return refuse(http::status::service_unavailable, "The server is stopping.\n");

    ws_.emplace(std::move(*stream_));
    stream_.reset();
    buffer_.clear();
    buffer_.shrink_to_fit();
    parser_.reset();
    ws_->set_option(websocket::stream_base::timeout{websocket::stream_base::none(), websocket::stream_base::none(), false}); // our timer does it
    ws_->set_option(websocket::stream_base::decorator([subprotocol](websocket::response_type& response) { response.set(http::field::sec_websocket_protocol, subprotocol); }));
    ws_->read_message_max(0); // counted in on_read, which answers with our own close code
    ws_->auto_fragment(false);
    ws_->control_callback([this](websocket::frame_type, beast::string_view) { heard_ = monotonic_now(); });
    arm(server_.options.limits.request_head);
    ws_->async_accept(request, [self = shared_from_this()](error_code error) {
      if (error || self->finished_) return self->finish();
      self->opened_ = true;
      self->heard_ = monotonic_now();
      ++self->server_.statistics.web_sockets;
      self->arm(self->server_.options.limits.ping);
      self->server_.handler.on_open(self->id_);
      self->read_message();
    });
  }

  std::size_t frame_limit() const { return ready_ ? server_.options.limits.frame_after_ready : server_.options.limits.frame_before_ready; }

  void read_message() {
    if (closing_ || finished_) return;
    const std::size_t room = frame_limit() + 1 - buffer_.size();
    ws_->async_read_some(buffer_, buffer_.size() == 0 ? std::min(room, message_begin) : room, [self = shared_from_this()](error_code error, std::size_t) { self->on_read(error); });
  }

  void on_read(error_code error) {
    if (error) return finish();
    if (closing_ || finished_) return; // the closing operation reads on by itself
    heard_ = monotonic_now();
    if (buffer_.size() > frame_limit()) {
      ++server_.statistics.closed_too_large;
      server_.handler.on_oversized(id_);
      return close(static_cast<std::uint16_t>(CloseCode::too_large), "a message may have at most " + std::to_string(frame_limit()) + " bytes");
    }
    if (!ws_->is_message_done()) {
      if (!message_since_ && buffer_.size() > 0) message_since_ = heard_;
      count_received();
      server_.make_room_to_receive();
      if (finished_) return;
    } else {
      message_since_.reset();
      if (!take_token()) return close(static_cast<std::uint16_t>(CloseCode::too_fast), "too many messages");
      ++server_.statistics.messages_in;
      const auto* data = static_cast<const std::uint8_t*>(buffer_.data().data());
      if (ws_->got_text()) {
        server_.handler.on_text(id_, {reinterpret_cast<const char*>(data), buffer_.size()});
      } else {
        server_.handler.on_binary(id_, {data, buffer_.size()});
      }
      buffer_.consume(buffer_.size());
      buffer_.shrink_to_fit();
      if (!finished_) count_received();
    }
    read_message();
  }

  void count_queued(std::size_t bytes) {
    server_.queued_bytes += bytes - queued_bytes_;
    queued_bytes_ = bytes;
  }
  void count_received() {
    server_.receive_bytes += buffer_.capacity() - receive_bytes_;
    receive_bytes_ = buffer_.capacity();
  }

  bool take_token() {
    const TimePoint now = monotonic_now();
    const HttpLimits& limits = server_.options.limits;
    const double elapsed = std::chrono::duration<double>(now - tokens_at_).count();
    tokens_ = std::min<double>(static_cast<double>(limits.message_burst), tokens_ + elapsed * static_cast<double>(limits.messages_per_second));
    tokens_at_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

  void write_next() {
    const Outgoing& next = queue_.front();
    ws_->text(next.text);
    ws_->async_write(asio::buffer(next.bytes), [self = shared_from_this()](error_code error, std::size_t) { self->on_written(error); });
  }

  void on_written(error_code error) {
    if (error) return finish();
    if (finished_) return;
    ++server_.statistics.messages_out;
    count_queued(queued_bytes_ - queue_.front().bytes.size());
    queue_.pop_front();
    if (!queue_.empty()) return write_next();
    if (closing_) send_close();
  }

  void send_close() {
    ws_->async_close(close_reason_, [self = shared_from_this()](error_code) { self->finish(); });
  }

  HttpServer::Implementation& server_;
  const ConnectionId id_;
  const asio::ip::address peer_;
  std::optional<Stream> stream_; // until the upgrade; then inside ws_
  std::optional<websocket::stream<Stream>> ws_;
  Timer timer_;
  beast::flat_buffer buffer_;

  std::optional<http::request_parser<http::empty_body>> parser_;
  Response response_;
  std::optional<http::response_serializer<http::span_body<const char>>> serializer_;
  std::string text_;
  std::string host_;
  bool keep_alive_ = false;
  bool head_only_ = false;
  bool redirect_ = false;
  static constexpr std::size_t max_first_check = ice::stream_frame_header + 255; // ice::may_begin_stream()
  Bytes begun_;

  static constexpr std::size_t message_begin = 64;     // room while a message is waited for, which an idle WebSocket does
  static constexpr std::size_t first_read_size = 1024; // most requests
  static constexpr std::size_t turn_read_size = 8 * 1024;
  std::unique_ptr<TurnBridge> bridge_;
  std::map<int, std::unique_ptr<Descriptor>> turn_peers_; ///< by the bridge's descriptors, which are watched
  Bytes turn_writing_;
  std::size_t turn_written_ = 0;
  bool turn_reading_ = false;

  bool opened_ = false;
  bool ready_ = false;
  bool closing_ = false;
  bool finished_ = false;
  bool pinging_ = false;
  websocket::close_reason close_reason_;
  TimePoint heard_{};
  TimePoint tokens_at_ = monotonic_now();
  double tokens_ = static_cast<double>(server_.options.limits.message_burst);
  std::list<Outgoing> queue_; // the first one is being written
  std::size_t queued_bytes_ = 0;
  std::size_t receive_bytes_ = 0; // as counted in the server's
  std::optional<TimePoint> message_since_;
};

} // namespace satsuma::io::internal
