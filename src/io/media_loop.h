#pragma once

#include <time.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/time.h"
#include "io/media_streams.h"
#include "io/shard_link.h"
#include "io/udp_socket.h"
#include "sfu/sfu.h"

namespace satsuma::io {

inline constexpr ErrorCode media_loop_failed{"media_loop_failed", ErrorKind::environment};
inline constexpr ErrorCode media_loop_busy{"media_loop_busy", ErrorKind::environment};
inline constexpr ErrorCode media_loop_stopped{"media_loop_stopped", ErrorKind::caller};

/// Commands that wait for the media thread. It takes them within a millisecond, so this many mean that it is stuck.
inline constexpr std::size_t max_waiting_commands = 16 * 1024;
/// Connections handed over that wait for the media thread.
inline constexpr std::size_t max_waiting_streams = 1024;
/// Events that wait for take_events(). When they are so many the rest stays in the Sfu.
inline constexpr std::size_t max_waiting_events = 16 * 1024;

/// One shard: a thread that owns an sfu::Sfu and its UDP sockets, and does nothing but media. Other threads talk to it by post(), and it to them
/// by events, for which event_descriptor() becomes readable.
///
///   auto socket = UdpSocket::open(address);                        // for each announced address; the index is NetworkPath::socket
///   auto loop = MediaLoop::start(std::move(sockets), sfu::Sfu(config, context, random));
///   loop->post([=](TimePoint now, sfu::Sfu& sfu) { ...; asio::post(control, ...); });
class MediaLoop {
 public:
  /// Runs on the media thread; `now` is the time of this turn. It must be short and must not throw.
  using Command = std::function<void(TimePoint now, sfu::Sfu& sfu)>;

  struct Counters {
    std::uint64_t datagrams_in = 0;
    std::uint64_t datagrams_out = 0;
    std::uint64_t datagrams_dropped = 0; ///< not taken by the kernel
    std::uint64_t send_calls = 0;
    std::uint64_t receive_failures = 0;
    std::uint64_t shard_messages_dropped = 0; ///< another shard's queue was full
    Duration processor_time{};                ///< of the thread
    std::uint64_t streams = 0; ///< TCP connections now
    MediaStreams::Counters of_streams;
  };

  /// media_loop_failed when the kernel has no descriptors left.
  static Result<std::unique_ptr<MediaLoop>> start(std::vector<UdpSocket> sockets, sfu::Sfu sfu, MediaStreams streams = MediaStreams({}));
  MediaLoop(const MediaLoop&) = delete;
  /// Makes the two, whose Sfus have these Config::parts, hand each other what a room in both needs. Before a room is in both, and while both run; each
  /// must have been stopped before either is destroyed.
  static void connect(MediaLoop& a, std::size_t part_a, MediaLoop& b, std::size_t part_b);
  /// Ends the thread; commands that wait are dropped.
  ~MediaLoop();

  /// From any thread. In the order of the calls of one thread. media_loop_busy, media_loop_stopped.
  Result<void> post(Command command);
  /// From any thread: a TCP connection that somebody else accepted, of which `begun` has been read. The descriptor is the loop's from here on, and closed
  /// when it is refused; `counted` as for MediaStreams. media_loop_busy, media_loop_stopped.
  Result<void> adopt(int descriptor, const TransportAddress& remote, Bytes begun, const TransportAddress& counted);
  Result<void> adopt(int descriptor, const TransportAddress& remote, Bytes begun) { return adopt(descriptor, remote, std::move(begun), remote); }
  /// From any thread: what the Sfu's poll_output() gave since the last call, in order.
  std::vector<sfu::Output> take_events();
  /// Readable while events wait; take_events() resets it. For an event loop to watch; not to be read or closed.
  int event_descriptor() const { return events_ready_; }
  /// From any thread.
  Counters counters() const;
  /// Ends the thread and returns when it has ended. Not from a command.
  void stop();

  /// The sockets' addresses, by NetworkPath::socket.
  const std::vector<TransportAddress>& local_addresses() const { return local_addresses_; }

 private:
  MediaLoop(std::vector<UdpSocket> sockets, sfu::Sfu sfu, MediaStreams streams);
  bool prepare();
  void run();
  void receive(std::size_t socket);
  void receive_stream(std::uint32_t number);
  void adopt_waiting(TimePoint now);
  void count_streams();
  void run_commands(TimePoint now);
  void flush();
  void publish_events();
  void send_to_shards();
  void receive_from_shards();
  Duration processor_time() const;
  void arm_timer(TimePoint now);

  std::vector<UdpSocket> sockets_;
  std::vector<TransportAddress> local_addresses_;
  sfu::Sfu sfu_;
  MediaStreams streams_;
  std::vector<Datagram> outgoing_;
  std::vector<sfu::IncomingDatagram> run_;
  std::vector<Command> running_;
  /// Another shard, with the queues to it and from it. Used by the media thread alone.
  struct Neighbour {
    std::size_t part = 0;
    std::shared_ptr<ShardLink> to, from;
    std::shared_ptr<ShardBell> bell; ///< the other's
  };
  std::vector<Neighbour> neighbours_;
  std::shared_ptr<ShardBell> bell_;
  std::optional<TimePoint> armed_for_;
  bool work_left_ = false; ///< a turn ended at one of its bounds
  bool events_full_ = false;

  int epoll_ = -1;
  int timer_ = -1;
  int wake_ = -1;
  int events_ready_ = -1;

  std::atomic<bool> stopping_ = false;
  std::mutex commands_mutex_;
  std::vector<Command> commands_;
  struct Adopted {
    int descriptor = -1;
    TransportAddress remote;
    Bytes begun;
    TransportAddress counted;
  };
  std::vector<Adopted> adopted_; ///< under commands_mutex_
  std::mutex events_mutex_;
  std::vector<sfu::Output> events_;

  std::atomic<std::uint64_t> datagrams_in_ = 0, datagrams_out_ = 0, datagrams_dropped_ = 0, send_calls_ = 0, receive_failures_ = 0, shard_messages_dropped_ = 0;
  std::atomic<std::uint64_t> streams_open_ = 0, streams_accepted_ = 0, streams_refused_ = 0, streams_strange_ = 0, streams_silent_ = 0, streams_slow_ = 0;
  std::thread thread_;
  clockid_t clock_{}; ///< of the thread's processor time
};

} // namespace satsuma::io
