#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "base/transport_address.h"

namespace satsuma::io {

inline constexpr ErrorCode udp_open_failed{"udp_open_failed", ErrorKind::environment};
inline constexpr ErrorCode udp_bind_failed{"udp_bind_failed", ErrorKind::environment};
inline constexpr ErrorCode udp_receive_failed{"udp_receive_failed", ErrorKind::environment};

/// Messages of one recvmmsg: datagrams, or runs of them that the kernel put together.
inline constexpr std::size_t receive_batch_size = 64;
/// Longer datagrams are dropped: media fits a path's MTU.
inline constexpr std::size_t max_datagram_size = 2048;
/// Datagrams of one UDP_SEGMENT message, and messages of one sendmmsg. Beyond 8 segments little is gained, and a burst of more hurts the receiver's queue.
inline constexpr std::size_t max_segments = 16;
inline constexpr std::size_t send_batch_size = 64;

/// One datagram to send.
struct Datagram {
  TransportAddress remote;
  ByteView bytes;
};

/// A bound UDP socket, not blocking. It receives and sends many datagrams with one call into the kernel. Not for two threads at once.
class UdpSocket {
 public:
  struct Options {
    /// The kernel grants what its limits allow.
    std::size_t buffer_bytes = 4U << 20;
    /// UDP_SEGMENT. Where the kernel or the interface refuses, it is given up at the first refusal.
    bool segmentation = true;
    /// Sockets of one thread may share what they receive into (four megabytes, of which what is used takes memory): then spans are valid until the next
    /// receive() of any of them.
    const UdpSocket* buffers_of = nullptr;
  };
  struct Received {
    TransportAddress remote;
    MutableByteView bytes; ///< valid until the next receive()
    /// When the kernel had it, by the clock of monotonic_now(): how long this process took to look at it says nothing about the path.
    TimePoint arrived;
  };
  struct Sent {
    std::size_t datagrams = 0;
    std::size_t dropped = 0; ///< the kernel's buffer was full, or it refused the destination
    std::size_t calls = 0;
  };

  /// Port 0 takes a free one: see local(). "::" takes IPv4 as well. With a wildcard address the kernel chooses an answer's source address, which on a host
  /// with several is not always the one the peer wrote to: open a socket for each address that is announced.
  static Result<UdpSocket> open(const TransportAddress& local, const Options& options);
  static Result<UdpSocket> open(const TransportAddress& local) { return open(local, Options()); }
  UdpSocket(UdpSocket&&) noexcept;
  UdpSocket& operator=(UdpSocket&&) noexcept;
  ~UdpSocket();

  const TransportAddress& local() const { return local_; }
  int descriptor() const { return descriptor_; }
  bool segmentation() const { return segmentation_; }

  /// The datagrams of up to receive_batch_size messages; empty when none waits. What one sender sent in a row may come as one message (UDP_GRO), and is
  /// taken apart here.
  Result<std::span<const Received>> receive();
  /// Neighbours with the same destination and size (the last may be shorter) go as one message. Nothing waits: what the kernel does not take is dropped,
  /// since media that comes late is of no use.
  Sent send(std::span<const Datagram> datagrams);

 private:
  struct Buffers;
  UdpSocket() = default;

  int descriptor_ = -1;
  TransportAddress local_;
  bool is_v6_ = false;
  bool segmentation_ = true;
  std::shared_ptr<Buffers> buffers_;
};

} // namespace satsuma::io
