#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/transport_address.h"
#include "event_loop.h"
#include "ice/stream_framing.h"

namespace satsuma::client {

/// One TCP connection to a passive candidate of the server's (RFC 6544), which carries datagrams as a UDP path would: what finds no room is dropped whole.
class MediaStream {
 public:
  /// What waits for a slow network at most; more would only be old when it arrives.
  static constexpr std::size_t max_waiting = 128U << 10;

  using Datagram = std::function<void(MutableByteView)>;
  using Closed = std::function<void()>;

  /// Begins to connect; null if that fails at once. The functions are called from within the loop; neither may destroy the object.
  static std::unique_ptr<MediaStream> connect(EventLoop& loop, const TransportAddress& remote, Datagram on_datagram, Closed on_closed);
  MediaStream(const MediaStream&) = delete;
  ~MediaStream();

  /// Until it is connected only the latest is kept: they are checks, which are repeated.
  void send(ByteView datagram);
  bool closed() const { return closed_; }

 private:
  MediaStream(EventLoop& loop, int descriptor, Datagram on_datagram, Closed on_closed);
  void on_ready();
  void flush();
  void close();

  EventLoop& loop_;
  int descriptor_ = -1;
  Datagram on_datagram_;
  Closed on_closed_;
  ice::StreamFrameReader reader_;
  bool connected_ = false, closed_ = false;
  Bytes waiting_;
  std::size_t written_ = 0; ///< of waiting_
};

} // namespace satsuma::client
