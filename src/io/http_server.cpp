// All of Asio and Beast is in this file: it takes as long to compile as everything else together.

#include "io/http_server.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <list>
#include <map>
#include <unordered_map>

#include <boost/asio/async_result.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
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

#include "base/token_bucket.h"
#include "ice/stream_framing.h"
#include "io/clock.h"
#include "io/static_files.h"
#include "io/turn_bridge.h"
#include "turn/framing.h"

namespace satsuma::io {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using boost::system::error_code;
using asio::ip::tcp;

// The concrete executor instead of any_io_executor: no indirection at run time, less to compile.
using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<tcp, Executor>;
using Acceptor = asio::basic_socket_acceptor<tcp, Executor>;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

constexpr std::size_t message_begin = 64; // room while a message is waited for, which an idle WebSocket does
constexpr std::size_t gather_size = 16 * 1024; // a TLS record holds no more

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <class T>
using Ssl = std::unique_ptr<T, SslFree>;

/// A TCP connection with or without TLS, as the stream that Beast runs on. OpenSSL works on the descriptor itself and we wait for
/// readiness: no buffers besides OpenSSL's own, which it releases when idle. One type for both, so Beast is compiled once.
class Stream {
 public:
  using executor_type = Executor;

  explicit Stream(Socket socket) : socket_(std::move(socket)) {}

  executor_type get_executor() noexcept { return socket_.get_executor(); }
  Socket& socket() { return socket_; }
  bool encrypted() const { return ssl_ != nullptr; }

  bool start_tls(SSL_CTX* context) {
    ssl_.reset(SSL_new(context));
    return ssl_ && SSL_set_fd(ssl_.get(), socket_.native_handle()) == 1;
  }

  /// Calls handler(error_code) when the client's handshake is done.
  template <class CompletionHandler>
  void async_handshake(CompletionHandler handler) {
    ERR_clear_error();
    const int result = SSL_accept(ssl_.get());
    if (result == 1) return asio::post(get_executor(), [handler = std::move(handler)]() mutable { handler(error_code()); });
    const int reason = SSL_get_error(ssl_.get(), result);
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) {
      return socket_.async_wait(reason == SSL_ERROR_WANT_READ ? Socket::wait_read : Socket::wait_write,
                                [this, handler = std::move(handler)](error_code error) mutable {
                                  if (error) return handler(error);
                                  // Closed while this waited its turn: the descriptor's number may be another connection's by now.
                                  if (!socket_.is_open()) return handler(asio::error::bad_descriptor);
                                  async_handshake(std::move(handler));
                                });
    }
    ERR_clear_error();
    asio::post(get_executor(), [handler = std::move(handler)]() mutable { handler(asio::error::no_protocol_option); });
  }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    asio::mutable_buffer target;
    for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
      target = asio::mutable_buffer(*it);
      if (target.size() != 0) break;
    }
    return asio::async_compose<Token, void(error_code, std::size_t)>(
        Transfer{this, [target](Stream& stream) { return stream.read(target.data(), target.size()); }}, token, socket_);
  }

  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return asio::async_compose<Token, void(error_code, std::size_t)>(Transfer{this, [buffers](Stream& stream) { return stream.write_gathered(buffers); }}, token,
                                                                     socket_);
  }

  void close() {
    error_code ignored;
    socket_.close(ignored);
  }

  /// Says goodbye in TLS and TCP; does not wait for the other side.
  void shut_down() {
    if (!socket_.is_open()) return;
    if (ssl_ && SSL_is_init_finished(ssl_.get())) {
      SSL_shutdown(ssl_.get());
      ERR_clear_error();
    }
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
  }

 private:
  enum class Wait : std::uint8_t { none, read, write };
  struct Step {
    Wait wait = Wait::none;
    error_code error;
    std::size_t size = 0;

    static Step done(std::size_t size) { return {Wait::none, {}, size}; }
    static Step later(Wait wait) { return {wait, {}, 0}; }
    static Step failed(error_code error) { return {Wait::none, error, 0}; }
  };

  /// Tries, waits for readiness if it must, tries again. What is done at the first try completes through the executor: Asio's rule.
  template <class Try>
  struct Transfer {
    Stream* stream;
    Try attempt;
    bool first = true;
    bool finished = false;
    Step step{};

    template <class Self>
    void operator()(Self& self, error_code error = {}, std::size_t = 0) {
      if (finished) return self.complete(step.error, step.size);
      if (error) return self.complete(error, 0);
      step = attempt(*stream);
      switch (step.wait) {
        case Wait::none:
          if (!first) return self.complete(step.error, step.size);
          finished = true;
          asio::post(stream->get_executor(), std::move(self));
          return;
        case Wait::read:
        case Wait::write: {
          first = false;
          Socket& socket = stream->socket_;
          socket.async_wait(step.wait == Wait::read ? Socket::wait_read : Socket::wait_write, std::move(self));
          return;
        }
      }
    }
  };
  template <class Try>
  Transfer(Stream*, Try) -> Transfer<Try>;

  Step read(void* data, std::size_t size) {
    if (size == 0) return {};
    if (!socket_.is_open()) return Step::failed(asio::error::bad_descriptor);
    if (!ssl_) {
      const ssize_t got = ::recv(socket_.native_handle(), data, size, 0);
      if (got > 0) return Step::done(static_cast<std::size_t>(got));
      if (got == 0) return Step::failed(asio::error::eof);
      return from_errno(Wait::read);
    }
    ERR_clear_error();
    const int got = SSL_read(ssl_.get(), data, static_cast<int>(std::min<std::size_t>(size, 1 << 30)));
    if (got > 0) return Step::done(static_cast<std::size_t>(got));
    return from_ssl(got);
  }

  Step write(const void* data, std::size_t size) {
    if (size == 0) return {};
    if (!socket_.is_open()) return Step::failed(asio::error::bad_descriptor);
    if (!ssl_) {
      const ssize_t sent = ::send(socket_.native_handle(), data, size, MSG_NOSIGNAL);
      if (sent >= 0) return Step::done(static_cast<std::size_t>(sent));
      return from_errno(Wait::write);
    }
    ERR_clear_error();
    const int sent = SSL_write(ssl_.get(), data, static_cast<int>(std::min<std::size_t>(size, 1 << 30)));
    if (sent > 0) return Step::done(static_cast<std::size_t>(sent));
    return from_ssl(sent);
  }

  /// Small pieces (a frame's header and its payload) go as one segment and one TLS record. Repeated with the same buffers it
  /// gives OpenSSL the same bytes, as SSL_write demands after WANT_WRITE.
  template <class Buffers>
  Step write_gathered(const Buffers& buffers) {
    std::array<std::uint8_t, gather_size> flat;
    std::size_t size = 0;
    for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
      const asio::const_buffer piece(*it);
      if (size == 0 && piece.size() >= flat.size()) return write(piece.data(), piece.size());
      const std::size_t part = std::min(piece.size(), flat.size() - size);
      if (part != 0) std::copy_n(static_cast<const std::uint8_t*>(piece.data()), part, flat.begin() + static_cast<std::ptrdiff_t>(size));
      size += part;
      if (size == flat.size()) break;
    }
    return write(flat.data(), size);
  }

  static Step from_errno(Wait wait) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return Step::later(wait);
    return Step::failed(error_code(errno, boost::system::system_category()));
  }

  Step from_ssl(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ: return Step::later(Wait::read);
      case SSL_ERROR_WANT_WRITE: return Step::later(Wait::write);
      case SSL_ERROR_ZERO_RETURN: return Step::failed(asio::error::eof);
      default: ERR_clear_error(); return Step::failed(asio::error::connection_reset);
    }
  }

  // What websocket::stream asks of a stream that is not Asio's own.
  friend void beast_close_socket(Stream& stream) { stream.close(); }
  template <class TeardownHandler>
  friend void async_teardown(beast::role_type, Stream& stream, TeardownHandler&& handler) {
    stream.shut_down();
    asio::post(stream.get_executor(), [handler = std::forward<TeardownHandler>(handler)]() mutable { handler(error_code()); });
  }

  Socket socket_;
  Ssl<SSL> ssl_; // after socket_: it is freed first
};

TransportAddress to_transport_address(const asio::ip::address& address, std::uint16_t port) {
  return TransportAddress::v6((address.is_v4() ? asio::ip::make_address_v6(asio::ip::v4_mapped, address.to_v4()) : address.to_v6()).to_bytes(), port);
}

bool is_loopback(const asio::ip::address& address) {
  if (address.is_loopback()) return true;
  return address.is_v6() && address.to_v6().is_v4_mapped() && asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
}

/// A Host field is put into our own header fields, so nothing strange may be in it.
bool is_plain_host(std::string_view host) {
  return !host.empty() && host.size() <= 255 && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':' || c == '[' || c == ']' || c == '_';
  });
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y)); });
}

bool lists(std::string_view field, std::string_view wanted) {
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

std::expected<Ssl<SSL_CTX>, std::string> make_tls_context(const std::string& certificate_pem, const std::string& key_pem) {
  const std::string failed = "The TLS certificate and key cannot be used: ";
  Ssl<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
  Ssl<BIO> chain(BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
  Ssl<BIO> key_text(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  if (!context || !chain || !key_text) return std::unexpected(failed + "out of memory.");
  Ssl<X509> certificate(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
  if (!certificate || SSL_CTX_use_certificate(context.get(), certificate.get()) != 1) return std::unexpected(failed + "no certificate in PEM form was found.");
  while (X509* next = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)) {
    if (SSL_CTX_add0_chain_cert(context.get(), next) != 1) {
      X509_free(next);
      return std::unexpected(failed + "the chain is not usable.");
    }
  }
  ERR_clear_error(); // the end of the chain is reported as an error
  Ssl<EVP_PKEY> key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 || SSL_CTX_check_private_key(context.get()) != 1) {
    return std::unexpected(failed + "the private key is missing, or belongs to another certificate.");
  }
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context.get(), "ECDHE+AESGCM:ECDHE+CHACHA20");
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Browsers ask for TURN without a name; RFC 7443 has one for those that do. Which it is, the first byte inside says.
  static constexpr unsigned char protocols[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1', 9, 's', 't', 'u', 'n', '.', 't', 'u', 'r', 'n'};
  SSL_CTX_set_alpn_select_cb(
      context.get(),
      [](SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned int in_size, void*) {
        // RFC 7301 s.3.2. A client that offers only others is answered without ALPN rather than refused.
        unsigned char* selected = nullptr;
        if (SSL_select_next_proto(&selected, out_size, protocols, sizeof protocols, in, in_size) != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
        *out = selected;
        return SSL_TLSEXT_ERR_OK;
      },
      nullptr);
  return context;
}

class Connection;

} // namespace

struct HttpServer::Implementation {
  Implementation(HttpOptions given, HttpServer::Handler& owner)
      : options(std::move(given)), handler(owner), work(io.get_executor()), acceptor(io.get_executor()), deadline(io.get_executor()), stop_timer(io.get_executor()), signals(io) {}

  std::optional<std::string> open();
  void accept();
  void begin_stop();
  void forget(Connection& connection);
  Connection* web_socket(ConnectionId id);
  /// Makes room for so many more bytes in the send queues: see HttpLimits::send_queues.
  void make_room_to_send(std::size_t size);
  /// ... in the receive buffers.
  void make_room_to_receive();

  HttpOptions options;
  HttpServer::Handler& handler;
  HttpStatistics statistics;
  StaticFiles files;
  Ssl<SSL_CTX> tls;
  turn::Server* turn = nullptr;
  std::uint16_t port = 0;
  ConnectionId next_id = 1;
  std::size_t queued_bytes = 0;   ///< of all connections
  std::size_t receive_bytes = 0;  ///< capacity of their buffers
  bool stopping = false;

  asio::io_context io{1};
  asio::executor_work_guard<Executor> work;
  Acceptor acceptor;
  Timer deadline;
  Timer stop_timer;
  asio::signal_set signals;
  std::unordered_map<ConnectionId, std::shared_ptr<Connection>> connections;
  struct Address {
    std::size_t connections = 0;
    TokenBucket fresh;
  };
  using Addresses = std::map<std::array<std::uint8_t, 16>, Address>;
  /// Made if there is none.
  Addresses::iterator address(const asio::ip::address& peer, TimePoint now);
  Addresses per_address; ///< those with a connection, and those whose bucket is not full yet
};

namespace {

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
    queue_.push_back({text, std::move(bytes)});
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
    if (!server_.options.metrics_for_everyone && (proxied || !is_loopback(peer_))) return respond_text(http::status::not_found, "There is nothing here.\n");
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

} // namespace

std::optional<std::string> HttpServer::Implementation::open() {
  const HttpLimits& limits = options.limits;
  if (!options.web_folder.empty()) {
    auto loaded = StaticFiles::load(options.web_folder, limits.static_file, limits.static_total);
    if (!loaded) return loaded.error();
    files = std::move(*loaded);
  }
  if (!options.certificate_pem.empty()) {
    auto context = make_tls_context(options.certificate_pem, options.key_pem);
    if (!context) return context.error();
    tls = std::move(*context);
  }
  error_code error;
  const auto address = asio::ip::make_address(options.address, error);
  if (error) return "The address to listen on, \"" + options.address + "\", is not an IP address. Use for example --listen 127.0.0.1:8080 or --listen [::]:8443.";
  const tcp::endpoint endpoint(address, options.port);
  const std::string place = (address.is_v6() ? "[" + options.address + "]" : options.address) + ":" + std::to_string(options.port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error); // a restart must not wait for TIME_WAIT
  if (!error && address.is_v6() && address.is_unspecified()) acceptor.set_option(asio::ip::v6_only(false), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error == asio::error::address_in_use) {
    const std::string other = std::to_string(options.port == 65535 ? 8081 : options.port + 1);
    return place + " is in use by another program. Stop it, or choose another port: --listen " + (address.is_v6() ? "[" + options.address + "]" : options.address) + ":" + other;
  }
  if (error == asio::error::access_denied) {
    return "The system does not allow this user to listen on " + place + " (ports below 1024 need a privilege). Choose a higher port: --listen " +
           (address.is_v6() ? "[" + options.address + "]" : options.address) + ":8443";
  }
  if (error) return "Listening on " + place + " failed: " + error.message() + ". Is this an address of this machine? Choose one with --listen ADDRESS:PORT.";
  port = acceptor.local_endpoint(error).port();
  std::signal(SIGPIPE, SIG_IGN); // OpenSSL writes to descriptors whose other end may be gone
  if (options.handle_signals) {
    signals.add(SIGINT);
    signals.add(SIGTERM);
    const auto on_signal = [this](error_code failed, int) {
      if (failed) return;
      begin_stop();
      signals.async_wait([this](error_code second, int) {
        if (!second) io.stop(); // asked twice: at once
      });
    };
    signals.async_wait(on_signal);
  }
  accept();
  return std::nullopt;
}

void HttpServer::Implementation::accept() {
  acceptor.async_accept([this](error_code error, Socket socket) {
    if (stopping || error == asio::error::operation_aborted) return;
    if (error) {
      // Out of descriptors, most likely: a pause instead of a busy loop.
      auto pause = std::make_shared<Timer>(io.get_executor());
      pause->expires_after(std::chrono::milliseconds(100));
      pause->async_wait([this, pause](error_code) {
        if (!stopping) accept();
      });
      return;
    }
    error_code ignored;
    const auto peer = socket.remote_endpoint(ignored).address();
    const TimePoint now = monotonic_now();
    Address& from_there = address(peer, now)->second;
    const bool too_fast = !from_there.fresh.take(now, 1);
    if (ignored || too_fast || connections.size() >= options.limits.connections || from_there.connections >= options.limits.connections_per_address) {
      ++statistics.refused;
      if (too_fast) ++statistics.refused_too_fast;
      static constexpr std::string_view busy = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n";
      if (!tls) static_cast<void>(::send(socket.native_handle(), busy.data(), busy.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
      socket.close(ignored);
    } else {
      ++from_there.connections;
      ++statistics.accepted;
      socket.non_blocking(true, ignored);
      socket.native_non_blocking(true, ignored);
      socket.set_option(tcp::no_delay(true), ignored);
      const ConnectionId id = next_id++;
      auto connection = std::make_shared<Connection>(*this, id, std::move(socket), peer);
      connections.emplace(id, connection);
      statistics.connections = connections.size();
      connection->start();
    }
    accept();
  });
}

auto HttpServer::Implementation::address(const asio::ip::address& peer, TimePoint now) -> Addresses::iterator {
  const HttpLimits& limits = options.limits;
  if (per_address.size() >= limits.remembered_addresses + connections.size()) {
    std::erase_if(per_address, [now](auto& one) { return one.second.connections == 0 && one.second.fresh.full(now); });
    // Were only a few forgotten, this would be done again at the next accept.
    if (per_address.size() >= limits.remembered_addresses / 2 + connections.size()) {
      std::erase_if(per_address, [](const auto& one) { return one.second.connections == 0; });
    }
  }
  const Address fresh{0, TokenBucket(static_cast<double>(limits.new_connections_per_second), static_cast<double>(limits.new_connection_burst))};
  return per_address.try_emplace(to_transport_address(peer, 0).household(), fresh).first;
}

void HttpServer::Implementation::forget(Connection& connection) {
  const auto from_there = per_address.find(to_transport_address(connection.peer(), 0).household());
  if (from_there != per_address.end()) --from_there->second.connections;
  connections.erase(connection.id());
  statistics.connections = connections.size();
  if (stopping && connections.empty()) io.stop();
}

Connection* HttpServer::Implementation::web_socket(ConnectionId id) {
  const auto found = connections.find(id);
  return found != connections.end() && found->second->is_web_socket() ? found->second.get() : nullptr;
}

void HttpServer::Implementation::make_room_to_send(std::size_t size) {
  while (queued_bytes + size > options.limits.send_queues) {
    Connection* most = nullptr;
    for (const auto& [id, connection] : connections)
      if (most == nullptr || connection->queued_bytes() > most->queued_bytes()) most = connection.get();
    if (most == nullptr || most->queued_bytes() == 0) return;
    most->close_slow(); // at the second time it ends
  }
}

void HttpServer::Implementation::make_room_to_receive() {
  while (receive_bytes > options.limits.receive_buffers) {
    Connection* first = nullptr;
    for (const auto& [id, connection] : connections)
      if (connection->message_since() && (first == nullptr || *connection->message_since() < *first->message_since())) first = connection.get();
    if (first == nullptr) return;
    ++statistics.closed_too_large;
    first->abort();
  }
}

void HttpServer::Implementation::begin_stop() {
  if (stopping) return;
  stopping = true;
  error_code ignored;
  acceptor.close(ignored);
  handler.on_stop();
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [id, connection] : connections) all.push_back(connection);
  for (const auto& connection : all) {
    if (connection->is_web_socket()) {
      connection->close(static_cast<std::uint16_t>(CloseCode::restarting), "the server restarts; connect again");
    } else {
      connection->abort();
    }
  }
  if (connections.empty()) return io.stop();
  stop_timer.expires_after(options.limits.close_handshake + std::chrono::seconds(1));
  stop_timer.async_wait([this](error_code error) {
    if (!error) io.stop();
  });
}

void HttpServer::Handler::on_media_stream(int descriptor, const TransportAddress&, Bytes) { ::close(descriptor); }
void HttpServer::Handler::on_relayed_stream(int descriptor, const TransportAddress&, const TransportAddress&, Bytes) { ::close(descriptor); }

HttpServer::HttpServer(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
HttpServer::~HttpServer() = default;

std::expected<std::unique_ptr<HttpServer>, std::string> HttpServer::create(HttpOptions options, Handler& handler) {
  try {
    auto implementation = std::make_unique<Implementation>(std::move(options), handler);
    if (auto problem = implementation->open()) return std::unexpected(std::move(*problem));
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(implementation)));
  } catch (const std::exception& problem) {
    return std::unexpected(std::string("The HTTP server cannot start: ") + problem.what() + ".");
  }
}

std::uint16_t HttpServer::port() const { return implementation_->port; }
bool HttpServer::has_tls() const { return implementation_->tls != nullptr; }
void HttpServer::set_turn(turn::Server& turn) { implementation_->turn = &turn; }
bool HttpServer::has_page() const { return implementation_->files.has_page(); }
void HttpServer::run() { implementation_->io.run(); }
void HttpServer::stop() {
  asio::post(implementation_->io, [this] { implementation_->begin_stop(); });
}
void HttpServer::post(std::function<void()> work) { asio::post(implementation_->io, std::move(work)); }

void HttpServer::watch(int descriptor, std::function<void()> ready) {
  struct Watch {
    Descriptor descriptor;
    std::function<void()> ready;
    static void wait(std::shared_ptr<Watch> self) {
      Descriptor& watched = self->descriptor;
      watched.async_wait(Descriptor::wait_read, [self = std::move(self)](error_code error) mutable {
        if (error) return;
        self->ready();
        wait(std::move(self));
      });
    }
  };
  const int duplicate = ::dup(descriptor);
  SATSUMA_CHECK(duplicate >= 0);
  Watch::wait(std::make_shared<Watch>(Descriptor(implementation_->io.get_executor(), duplicate), std::move(ready)));
}

void HttpServer::send_text(ConnectionId id, std::string text) {
  if (Connection* connection = implementation_->web_socket(id)) connection->send(true, to_bytes(as_bytes(text)));
}
void HttpServer::send_binary(ConnectionId id, Bytes bytes) {
  if (Connection* connection = implementation_->web_socket(id)) connection->send(false, std::move(bytes));
}
void HttpServer::close(ConnectionId id, CloseCode code, std::string_view reason) {
  if (Connection* connection = implementation_->web_socket(id)) connection->close(static_cast<std::uint16_t>(code), reason);
}
void HttpServer::set_ready(ConnectionId id) {
  if (Connection* connection = implementation_->web_socket(id)) connection->set_ready();
}

void HttpServer::set_deadline(std::optional<TimePoint> deadline) {
  Timer& timer = implementation_->deadline;
  timer.cancel();
  if (!deadline) return;
  const Duration ahead = std::max(Duration::zero(), *deadline - monotonic_now());
  timer.expires_after(ahead);
  timer.async_wait([this](error_code error) {
    if (!error) implementation_->handler.on_deadline(monotonic_now());
  });
}

HttpStatistics HttpServer::statistics() const { return implementation_->statistics; }

} // namespace satsuma::io
