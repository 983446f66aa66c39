#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "commands.h"
#include "dtls/connection.h"
#include "event_loop.h"
#include "io/random.h"
#include "media_stream.h"
#include "io/udp_socket.h"
#include "io/websocket_client.h"
#include "participant/participant.h"
#include "room_link.h"

namespace satsuma::client {

/// Where the server is, resolved once for all clients of a process.
struct Server {
  io::WebSocketClient::Target target;
  std::optional<io::TlsClient> tls;
};
/// A sentence for a person otherwise. `pin`: the server's certificate fingerprint, "AB:CD:…", or empty.
std::expected<Server, std::string> find_server(const RoomLink& link, bool insecure, const std::string& pin);

/// What of the options and the link does not go together, as a sentence.
std::optional<std::string> transport_problem(const ConnectOptions& options, const RoomLink& link);

/// A participant with its sockets. Events go to its listener, from within the loop.
class NativeClient {
 public:
  struct Listener {
    virtual ~Listener() = default;
    virtual void on_session(NativeClient&, TimePoint, const call::SessionOutput&) {}
    virtual void on_media(NativeClient&, TimePoint, participant::Leg, bool /*connected*/) {}
    virtual void on_key_frame_wanted(NativeClient&, TimePoint, signaling::Source, std::size_t /*layer*/) {}
    /// Valid during the call.
    virtual void on_frame(NativeClient&, TimePoint, const participant::Frame&) {}
    /// A member wrote it to all.
    virtual void on_written(NativeClient&, TimePoint, const participant::Written&) {}
    virtual void on_problem(NativeClient&, TimePoint, const std::string& /*sentence*/) {}
    /// It has left, or cannot go on; nothing comes after. It may be destroyed when the loop's turn is over.
    virtual void on_end(NativeClient&, TimePoint, const std::string& /*why*/) {}
  };

  /// All references outlive it. `buffers`: a socket whose receive buffers it shares.
  NativeClient(EventLoop& loop, const Server& server, const dtls::Context& context, const io::UdpSocket* buffers, Listener& listener)
      : loop_(loop), server_(server), context_(context), buffers_(buffers), listener_(listener) {}
  NativeClient(const NativeClient&) = delete;
  ~NativeClient();

  /// Connects. A sentence otherwise.
  std::expected<void, std::string> start(TimePoint now, participant::ParticipantConfig config);
  /// Encrypts and sends. Not while we are not in and connected; media_needs_key_frame: one before it was dropped.
  Result<void> send_frame(TimePoint now, signaling::Source source, ByteView frame, std::uint32_t timestamp, bool key_frame, std::optional<std::uint8_t> level = std::nullopt,
                  std::size_t layer = 0);
  /// Writes to all who are in.
  Result<void> write(TimePoint now, std::string text);
  void leave(TimePoint now);

  participant::Participant& participant() { return *participant_; }
  bool ended() const { return ended_; }
  /// When the datagram arrived that on_frame() is called for.
  TimePoint arrived() const { return arrived_; }
  std::size_t number = 0; ///< for the owner
  const io::UdpSocket& socket(participant::Leg leg) const { return *sockets_[static_cast<std::size_t>(leg)]; }

 private:
  void connect(TimePoint now);
  void disconnect();
  void on_websocket();
  void on_datagrams(participant::Leg leg);
  void take(TimePoint now, participant::Leg leg, const TransportAddress& remote, MutableByteView datagram, participant::Route route, TimePoint arrived);
  void send_in_stream(TimePoint now, participant::Leg leg, const NetworkPath& path, ByteView datagram);
  void pump(TimePoint now);
  void set_timer();
  void flush(participant::Leg leg);
  void bury(std::unique_ptr<MediaStream> stream);
  void end(TimePoint now, const std::string& why);

  EventLoop& loop_;
  const Server& server_;
  const dtls::Context& context_;
  const io::UdpSocket* buffers_;
  Listener& listener_;
  io::SystemRandom random_;
  std::unique_ptr<participant::Participant> participant_;
  std::unique_ptr<io::WebSocketClient> socket_;
  std::vector<std::unique_ptr<io::WebSocketClient>> dead_; ///< until the turn is over
  std::array<std::optional<io::UdpSocket>, 2> sockets_;
  struct Stream {
    std::unique_ptr<MediaStream> stream;
    TimePoint asked{};   ///< when something was first to go there
    std::optional<TimePoint> connected_at; ///< when it was last tried
  };
  std::map<NetworkPath, Stream> streams_; ///< by ICE's paths over TCP and TLS: at most ice::max_pairs for each leg, and those of servers that it knew before
  std::vector<std::unique_ptr<MediaStream>> dead_streams_; ///< until the loop's next turn: the caller may stand in one of their functions
  bool prefers_udp_ = true;
  bool adapts_ = false;
  std::optional<EventLoop::TimerId> timer_, connect_timer_, restart_timer_, burial_timer_;
  std::vector<io::Datagram> batch_;
  TimePoint arrived_{};
  Duration retry_ = std::chrono::milliseconds(500);
  bool was_open_ = false;
  bool leaving_ = false;
  bool ended_ = false;
};

} // namespace satsuma::client
