#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "base/token_bucket.h"
#include "base/transport_address.h"
#include "ice/stream_framing.h"
#include "io/udp_socket.h"

namespace satsuma::io {

inline constexpr ErrorCode stream_listen_failed{"stream_listen_failed", ErrorKind::environment};
inline constexpr ErrorCode stream_refused{"stream_refused", ErrorKind::peer};

struct MediaStreamLimits {
  std::size_t connections = 4096;
  std::size_t connections_per_address = 512;           ///< a /64 counts as one IPv6 address
  std::size_t new_connection_burst = 512;              ///< from one address; then so many a second:
  std::size_t new_connections_per_second = 52;
  Duration first_check = std::chrono::seconds(10);     ///< for a check that authenticates; until then nothing but checks may come
  std::size_t strange_checks = 64;                     ///< that do not authenticate, before one that does
  Duration silence = std::chrono::seconds(30);         ///< without anything from the peer, whose consent has ended by then (RFC 7675)
  std::size_t kernel_buffer = 256U << 10;              ///< of each direction
  /// What may wait in the kernel beyond the path's window. A reader that is slower loses what comes then, as it would over UDP.
  std::size_t unsent = 24U << 10;
};

/// The TCP connections of one media thread: datagrams framed by ice::StreamFrameReader, for networks that carry no UDP. Not for two threads at once.
///
/// Each connection is a path of its own, {remote, number}, whose number is never that of a UDP socket, nor of an earlier connection. Memory for each is at
/// most a datagram each way, beside the kernel's buffers.
class MediaStreams {
 public:
  /// Numbers from here on are connections.
  static constexpr std::uint32_t first_number = NetworkPath::first_stream;
  /// What epoll gives for listener i; a connection's own number stands for itself.
  static constexpr std::uint64_t listener_tag = std::uint64_t{1} << 32;

  struct Counters {
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;          ///< beyond a limit
    std::uint64_t closed_strange = 0;   ///< no checks, bad framing, or none that authenticated in time
    std::uint64_t closed_silent = 0;
    std::uint64_t dropped_slow = 0;     ///< datagrams for a reader that was too slow
  };

  explicit MediaStreams(MediaStreamLimits limits) : limits_(limits) {}
  MediaStreams(MediaStreams&&) noexcept;
  MediaStreams& operator=(MediaStreams&&) = delete;
  ~MediaStreams();

  /// Binds and listens; returns the bound address. Before watch().
  Result<TransportAddress> listen(const TransportAddress& local);
  /// From now on everything is watched by `epoll`, level-triggered. False when the kernel has no room.
  bool watch(int epoll);

  /// Takes the connections that wait at a listener.
  void accept(TimePoint now, std::size_t listener);
  /// Takes over a connection, of which `begun` has been read already, and always the descriptor. Its number, or stream_refused. `counted`: whose address it
  /// is for the bounds, where that is not `remote`.
  Result<std::uint32_t> adopt(TimePoint now, int descriptor, const TransportAddress& remote, ByteView begun, const TransportAddress& counted);
  Result<std::uint32_t> adopt(TimePoint now, int descriptor, const TransportAddress& remote, ByteView begun) { return adopt(now, descriptor, remote, begun, remote); }

  /// Reads what is there and gives each datagram, writable, to `take(path, datagram)`, if `knows(path)` or if it may be a check. `take` may send.
  template <class Take, class Knows>
  void receive(TimePoint now, std::uint32_t number, Take take, Knows knows) {
    Stream* stream = find(number);
    if (stream == nullptr) return;
    const std::optional<MutableByteView> got = read(number, *stream);
    if (!got) return;
    MutableByteView input = *got;
    while (true) {
      const auto frame = stream->reader.next(input);
      if (!frame) return close(number, counters_.closed_strange);
      if (!*frame) return;
      stream->heard = now;
      const NetworkPath path{stream->remote, number};
      stream->known = knows(path); // no longer, once its owner has left
      // Whoever has not shown that it belongs here may ask to, and nothing else.
      if (!stream->known && ((**frame)[0] > 3 || ++stream->strange > limits_.strange_checks)) return close(number, counters_.closed_strange);
      take(path, **frame);
      stream = find(number);
      if (stream == nullptr) return; // what came of it was sent, and its end found so
      stream->known = knows(path);
    }
  }
  /// The kernel takes bytes again.
  void handle_writable(std::uint32_t number);

  /// Datagrams for one connection. What the kernel does not take is dropped, but for the rest of a datagram of which it has taken a part.
  UdpSocket::Sent send(std::uint32_t number, std::span<const Datagram> datagrams);

  /// Closes what is silent or has not become known.
  void handle_timeout(TimePoint now);
  std::optional<TimePoint> next_deadline() const;

  /// Paths that have ended since the last call, of those that were known.
  std::vector<NetworkPath> take_closed();

  bool has_listeners() const { return !listeners_.empty(); }
  std::size_t size() const { return streams_.size(); }
  const Counters& counters() const { return counters_; }

 private:
  struct Remote {
    std::size_t connections = 0;
    TokenBucket fresh;
  };
  struct Stream {
    int descriptor = -1;
    TransportAddress remote;
    TransportAddress counted;
    ice::StreamFrameReader reader;
    Bytes begun; ///< read by who accepted it
    Bytes rest;  ///< of a datagram of which the kernel has a part
    TimePoint opened{};
    TimePoint heard{};
    std::size_t strange = 0;
    bool known = false;
  };
  static constexpr std::size_t read_size = 64U << 10;

  Stream* find(std::uint32_t number);
  /// What is there, in a buffer that all share; nothing when nothing is, or when the connection ended with it.
  std::optional<MutableByteView> read(std::uint32_t number, Stream& stream);
  bool watch_writing(std::uint32_t number, const Stream& stream, bool on);
  void watch_listeners(bool on);
  /// Closes the connection that has been without a right to be here for longest.
  bool make_room();
  void close(std::uint32_t number, std::uint64_t& counter);
  void close(std::uint32_t number);

  MediaStreamLimits limits_;
  Counters counters_;
  int epoll_ = -1;
  std::vector<int> listeners_;
  bool listening_ = true; ///< not while descriptors have run out
  std::unordered_map<std::uint32_t, std::unique_ptr<Stream>> streams_;
  std::map<std::array<std::uint8_t, 16>, Remote> per_address_;
  std::uint32_t next_number_ = first_number;
  std::optional<TimePoint> next_sweep_;
  std::vector<NetworkPath> closed_;
  std::vector<std::uint8_t> buffer_;
};

} // namespace satsuma::io
