#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "base/transport_address.h"

namespace satsuma::turn {
class Server;
}

namespace satsuma::io {

/// Names a WebSocket from its opening to its close; never used twice in a process.
using ConnectionId = std::uint64_t;

/// Close codes of docs/protocol.md, beside those of RFC 6455 s.7.4.1.
enum class CloseCode : std::uint16_t {
  normal = 1000,
  going_away = 1001,
  internal_error = 1011,
  restarting = 1012,
  protocol_error = 4400,
  silent = 4408,
  replaced = 4409,
  gone = 4410,
  too_large = 4413,
  too_fast = 4429,
};

/// Every bound of the server on what strangers may make it hold or wait for.
struct HttpLimits {
  std::size_t frame_before_ready = 4 * 1024;       ///< a WebSocket message until set_ready()
  std::size_t frame_after_ready = 384 * 1024;      ///< ... and after it
  std::size_t send_queue = 1536 * 1024;            ///< bytes that wait for a slow reader, the largest ratchet tree and commit among them; beyond: close 4413
  std::size_t send_queues = 256 * 1024 * 1024;     ///< ... of all together; beyond: whoever has most of it is closed
  std::size_t receive_buffers = 64 * 1024 * 1024;  ///< messages that are not complete, of all together; beyond: the one begun first is closed
  std::size_t messages_per_second = 200;           ///< from one WebSocket, in the long run; beyond: close 4429
  std::size_t message_burst = 1000;
  std::size_t request_header = 8 * 1024;           ///< the head of an HTTP request; bodies are never read
  std::size_t connections = 4096;                  ///< TCP connections at a time
  std::size_t connections_per_address = 512;       ///< ... from one address (a /64 counts as one IPv6 address)
  /// New connections from one address, each of which may ask for a TLS handshake (a few hundred microseconds of this thread): a browser opens
  /// six for the page, so the burst is a room behind one router that enters at once. A proxy is one address: raise both.
  std::size_t new_connections_per_second = 20;
  std::size_t new_connection_burst = 200;
  std::size_t remembered_addresses = 16 * 1024;    ///< for these; beyond, those without a connection are forgotten, some 100 bytes each
  std::size_t static_file = 32 * 1024 * 1024;      ///< files larger than this are not served
  std::size_t static_total = 128 * 1024 * 1024;
  Duration tls_handshake = std::chrono::seconds(10);
  Duration request_head = std::chrono::seconds(10);  ///< from the first wait for a request to its last header byte
  Duration keep_alive = std::chrono::seconds(30);    ///< between two requests of a connection
  Duration response = std::chrono::seconds(60);      ///< for a client to take a whole response
  Duration ping = std::chrono::seconds(20);          ///< a WebSocket is pinged this often
  Duration silence = std::chrono::seconds(50);       ///< without anything from it, pongs included: closed
  Duration message = std::chrono::seconds(60);       ///< from a WebSocket message's first byte to its last; looked at with each ping
  Duration close_handshake = std::chrono::seconds(3);
};

enum class MetricsFor {
  nobody,       ///< /metrics is not there
  this_machine, ///< loopback peers without a proxy's headers
  everyone,
};

struct HttpOptions {
  std::string address = "127.0.0.1"; ///< numeric, IPv4 or IPv6
  std::uint16_t port = 8080;         ///< 0: any free one, see HttpServer::port()
  std::string web_folder;            ///< the built page; empty: none
  std::string subprotocol = "satsuma.1";
  /// PEM text of the certificate chain and its key. Both empty: plain HTTP.
  std::string certificate_pem;
  std::string key_pem;
  /// Further origins ("https://meet.example.org") whose pages may open a WebSocket, beside the server's own.
  std::vector<std::string> allowed_origins;
  MetricsFor metrics = MetricsFor::this_machine;
  bool media_streams = false;        ///< Handler::on_media_stream() takes connections that begin as media over TCP does
  bool handle_signals = false;       ///< SIGINT and SIGTERM call Handler::on_stop and then stop()
  HttpLimits limits;
};

struct HttpStatistics {
  std::uint64_t connections = 0;          ///< TCP, now
  std::uint64_t web_sockets = 0;          ///< now
  std::uint64_t accepted = 0;             ///< since the start, as the following ones
  std::uint64_t refused = 0;              ///< by a connection limit
  std::uint64_t refused_too_fast = 0;     ///< of these by the rate of new ones
  std::uint64_t requests = 0;
  std::uint64_t media_streams = 0;        ///< given to the handler
  std::uint64_t turn_connections = 0;     ///< that began as TURN
  std::uint64_t turn_dropped_slow = 0;    ///< datagrams for a client over TURN that was too slow
  std::uint64_t messages_in = 0;
  std::uint64_t messages_out = 0;
  std::uint64_t closed_too_large = 0;     ///< frames or queues beyond their bound
  std::uint64_t closed_silent = 0;
};

/// Serves the page and the WebSocket at /ws: HTTP/1.1 with or without TLS. One thread, the one that calls run(),
/// does everything, the handler's calls included; so what the handler owns needs no lock.
///
/// Text and binary messages go up and down whole and in order. A message larger than its bound, a slow reader
/// and a silent peer are closed here. Beast and Asio do not show through.
class HttpServer {
 public:
  /// What the server tells its owner, always from within run().
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void on_open(ConnectionId id) = 0;
    virtual void on_text(ConnectionId id, std::string_view text) = 0;
    virtual void on_binary(ConnectionId id, ByteView bytes) = 0;
    /// The peer sent a message larger than its bound: the last chance to send an error; the server closes with 4413.
    virtual void on_oversized(ConnectionId id) { static_cast<void>(id); }
    /// Once for each on_open, whoever closed. The id is void afterwards.
    virtual void on_close(ConnectionId id) = 0;
    /// A connection that began as ICE over TCP does (ice::may_begin_stream), its first datagram complete in `begun`. The descriptor is the handler's.
    virtual void on_media_stream(int descriptor, const TransportAddress& remote, Bytes begun);
    /// The same for a client that comes by TURN: one end of a local pair of sockets, from `relayed`, of a client that is at `client`.
    virtual void on_relayed_stream(int descriptor, const TransportAddress& relayed, const TransportAddress& client, Bytes begun);
    /// The time given to set_deadline() has come; the deadline is unset by then.
    virtual void on_deadline(TimePoint now) = 0;
    /// The stop begins (signal or stop()): time to let go of what should be closed in order.
    virtual void on_stop() {}
    /// The program's part of /metrics, in Prometheus' text format.
    virtual std::string metrics() { return {}; }
  };

  /// Binds and listens, reads the page into memory, reads the certificate. The error is a sentence for the person
  /// who started the program, saying what to do. `handler` outlives the server.
  static std::expected<std::unique_ptr<HttpServer>, std::string> create(HttpOptions options, Handler& handler);

  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  std::uint16_t port() const;
  bool has_page() const; ///< an index.html was found
  bool has_tls() const;
  /// From now on connections that begin as TURN inside TLS are `turn`'s, which outlives this. Before run().
  void set_turn(turn::Server& turn);

  /// Serves until stop(); then WebSockets are closed with 1012 and it returns within a few seconds.
  void run();

  // From any thread.
  void stop();
  /// Runs `work` on the server's thread, in the order of the calls.
  void post(std::function<void()> work);

  // From the handler's calls and from posted work. An id that is void is ignored.
  /// Calls `ready` whenever `descriptor` (which stays the caller's; a duplicate is watched) can be read, until the server ends. `ready` must
  /// take away what made it readable.
  void watch(int descriptor, std::function<void()> ready);
  void send_text(ConnectionId id, std::string_view text);
  void send_binary(ConnectionId id, Bytes bytes);
  /// Sends what is queued, then the close frame. Nothing more comes from this connection but on_close.
  void close(ConnectionId id, CloseCode code, std::string_view reason);
  /// The peer has made itself known: the larger bound of a message applies.
  void set_ready(ConnectionId id);
  /// Replaces the deadline; nothing unsets it.
  void set_deadline(std::optional<TimePoint> deadline);
  HttpStatistics statistics() const;

  struct Implementation;

 private:
  explicit HttpServer(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

} // namespace satsuma::io
