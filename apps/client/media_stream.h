#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/transport_address.h"
#include "event_loop.h"
#include "ice/stream_framing.h"
#include "io/client_stream.h"
#include "turn/client.h"

namespace satsuma::client {

/// One TCP connection that carries datagrams as a UDP path would: what finds no room is dropped whole. Either to a passive candidate of the server's (RFC 6544), or
/// to the server's TURN inside TLS, which passes on to a candidate.
class MediaStream {
 public:
  /// What waits for a slow network at most; more would only be old when it arrives.
  static constexpr std::size_t max_waiting = 128U << 10;

  using Datagram = std::function<void(MutableByteView)>;
  using Closed = std::function<void()>;
  struct TurnServer {
    TransportAddress address;
    const io::TlsClient* tls = nullptr; ///< needed while it connects
    std::string name;                   ///< of the host, for its certificate
    turn::Credentials credentials;
  };

  /// Begins to connect; null if that fails at once. The functions are called from within the loop; neither may destroy the object.
  static std::unique_ptr<MediaStream> connect(EventLoop& loop, const TransportAddress& remote, Datagram on_datagram, Closed on_closed);
  /// The same by TURN. `random` outlives it.
  static std::unique_ptr<MediaStream> connect_through(EventLoop& loop, TurnServer server, const TransportAddress& remote, RandomSource& random, Datagram on_datagram,
                                                      Closed on_closed);
  MediaStream(const MediaStream&) = delete;
  ~MediaStream();

  /// Until it is connected only the latest is kept: they are checks, which are repeated.
  void send(ByteView datagram);
  bool closed() const { return closed_; }

 private:
  MediaStream(EventLoop& loop, io::ClientStream stream, Datagram on_datagram, Closed on_closed);
  bool ready() const { return connected_ && (!turn_ || turn_->ready()); }
  void on_ready();
  void on_timer(TimePoint now);
  void enqueue(ByteView datagram);
  void flush();
  /// The datagrams in `input`. False: it is of no use any more.
  bool take(MutableByteView input);
  void pump_turn();
  void close();

  EventLoop& loop_;
  std::optional<io::ClientStream> stream_; ///< until it is closed
  Datagram on_datagram_;
  Closed on_closed_;
  std::optional<turn::ClientConnection> turn_;
  std::optional<EventLoop::TimerId> timer_; ///< TURN's
  ice::StreamFrameReader reader_;           ///< without TURN
  bool connected_ = false, closed_ = false;
  Bytes first_; ///< the latest datagram from before it was ready
  Bytes waiting_;
  std::size_t written_ = 0; ///< of waiting_
};

} // namespace satsuma::client
