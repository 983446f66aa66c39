#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "base/transport_address.h"
#include "ice/stream_framing.h"
#include "turn/server.h"

namespace satsuma::io {

/// One client's TURN connection, between what does its TLS and the media loops. Each of our addresses that the client speaks to is a pair of local sockets, of
/// which one end is the bridge's and the other becomes a MediaLoop's as if it were a TCP connection from the relayed address, with ICE over TCP's framing.
///
/// It reads and writes these sockets and never waits; who owns it watches its ends of the pairs (take_opened()).
class TurnBridge {
 public:
  /// What the client is sent beyond this is dropped, if it is media: a path that is slower has to show it soon. As MediaStreamLimits::unsent.
  static constexpr std::size_t max_waiting_media = 24U << 10;
  /// With so much waiting, here and with who writes it, nothing more is to be read of the client, whose requests have answers.
  static constexpr std::size_t max_waiting = 64U << 10;

  /// `server` outlives this.
  TurnBridge(TimePoint now, turn::Server& server, const TransportAddress& client) : connection_(now, server, client) {}
  TurnBridge(const TurnBridge&) = delete;
  TurnBridge& operator=(const TurnBridge&) = delete;
  ~TurnBridge();

  /// A pair that was made: `outer` is the caller's, to be given to a media loop together with the check that it began with.
  struct Opened {
    int inner = -1;
    int outer = -1;
    TransportAddress relayed; ///< whom the media loop sees
    Bytes begun;
  };
  /// What came from the client. An error: the connection is of no use any more.
  Result<void> handle_client(TimePoint now, MutableByteView bytes);
  std::vector<Opened> take_opened();
  /// Our media has sent something. False: it has closed its end, and `inner` is to be watched no longer and closed with close_peer().
  bool handle_readable(TimePoint now, int inner);
  void close_peer(int inner);
  /// turn_idle as turn::ServerConnection has it.
  Result<void> handle_timeout(TimePoint now) { return connection_.handle_timeout(now); }
  TimePoint next_deadline() const { return connection_.next_deadline(); }

  /// What is to be written to the client; the caller takes it all, and gives the memory that it had before.
  std::size_t waiting() const { return waiting_.size(); }
  void take_waiting(Bytes& out);

  const TransportAddress& client() const { return connection_.client(); }
  std::uint64_t dropped_slow() const { return dropped_slow_; }

 private:
  struct Peer {
    TransportAddress address;
    int inner = -1;
    ice::StreamFrameReader reader;
    Bytes rest; ///< of a datagram of which the socket has a part
  };
  void to_peer(const turn::ServerConnection::ToPeer& datagram);
  static void write(Peer& peer, ByteView datagram);

  turn::ServerConnection connection_;
  std::vector<Peer> peers_; ///< as many as turn::Limits::peers at most
  std::vector<Opened> opened_;
  Bytes waiting_;
  std::uint64_t dropped_slow_ = 0;
};

} // namespace satsuma::io
