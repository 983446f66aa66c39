#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "delivery/delivery_service.h"
#include "io/http_server.h"
#include "media_shard.h"
#include "shard_placement.h"
#include "room_trace_file.h"
#include "signaling/control_messages.h"
#include "turn/server.h"

namespace satsuma::server {

/// Brings the parts together: WebSockets, the delivery service, the media shards. All on the HTTP server's thread; the shards
/// are reached by posting to them, and post back.
///
/// Binary frames go to the delivery service. Text frames are media control, allowed once the delivery service has joined the
/// connection to an incarnation. Media outlives the WebSocket: what the shard says meanwhile is kept for the next one.
class MeetingServer final : public io::HttpServer::Handler {
 public:
  /// `service` outlives this object; `slots_epoch` makes the sequence of `slots` rise across restarts of the program.
  MeetingServer(delivery::DeliveryService& service, std::uint64_t slots_epoch, std::size_t spread_from = ShardPlacement::default_spread_from)
      : service_(service), slots_epoch_(slots_epoch), placement_(spread_from) {}
#ifdef SATSUMA_TEST_HOOKS
  /// It outlives this; null for none.
  void set_room_trace(RoomTraceFile* trace) { room_trace_ = trace; }
#endif

  /// Before anything else. Both outlive the last call.
  void attach(io::HttpServer& http) { http_ = &http; }
  void add_shard(std::unique_ptr<MediaShard> shard);
  /// Whose credentials participants get; it outlives this. Before anything else, or never.
  void set_turn(turn::Server& turn) { turn_ = &turn; }
  /// Ends the media threads.
  void end_media() {
    for (const auto& shard : shards_) shard->loop().stop(); // they speak with each other
    shards_.clear();
  }
  /// What the delivery service said while it was loaded, and its first deadline.
  void begin() { pump(); }

  void on_open(io::ConnectionId id) override;
  void on_text(io::ConnectionId id, std::string_view text) override;
  void on_binary(io::ConnectionId id, ByteView bytes) override;
  void on_oversized(io::ConnectionId id) override;
  void on_close(io::ConnectionId id) override;
  void on_media_stream(int descriptor, const TransportAddress& remote, Bytes begun) override;
  void on_relayed_stream(int descriptor, const TransportAddress& relayed, const TransportAddress& client, Bytes begun) override;
  void on_deadline(TimePoint now) override;
  void on_stop() override;
  std::string metrics() override;

 private:
  struct Connection {
    bool joined = false;
    IncarnationId incarnation;
    double control_tokens = control_burst; ///< see take_control_token()
    TimePoint control_tokens_at{};
    std::optional<TimePoint> renew_turn; ///< when its credentials are half used up; nothing: it has none
  };
  /// An incarnation that is in some roster, or present, or both.
  struct Participant {
    std::string room; ///< whose it is: what is said of it in other rooms does not count
    std::size_t shard = 0; ///< while it is in_media
    io::ConnectionId connection = 0; ///< 0: its WebSocket is away
    bool member = false;
    std::uint64_t followed = 0; ///< its engine processed the log below
    bool in_media = false; ///< the shard knows it
    bool departed = false;
    std::string last_slots; ///< the text frame
  };

  /// Requests with an SDP cost the media thread some 100 µs each: so many a second from one connection, and so many at once.
  static constexpr double control_per_second = 10;
  static constexpr double control_burst = 60;

  void pump();
  /// Somebody came or went: some time after the last such, the heap's free pages go back to the system. What entering takes for a moment lies between what
  /// stays, and would be the process's for good.
  void note_change();
  void handle(const delivery::Send& send);
  void handle(const delivery::Close& close);
  void handle(const delivery::Joined& joined);
  void handle(const delivery::EpochBegan& epoch);
  void handle(const delivery::Followed& followed);
  void handle(const delivery::MemberAdded& added);
  void handle(const delivery::MemberRemoved& removed);
  void handle(const delivery::Departed& departed);
  void handle_media(sfu::Output output);
  void handle_control(io::ConnectionId id, const IncarnationId& who, MediaShard& shard, signaling::ClientControl message);

  /// Made if there is none. Null when it belongs to another room: key packages are public, so anybody can bring one to a second room.
  Participant* participant(const std::string& room, const IncarnationId& who);
  /// The same without making one.
  Participant* find_participant(const std::string& room, const IncarnationId& who);
  void drop_if_over(const IncarnationId& who);
  /// Calls `f` with each media thread that has people of the room.
  template <class F>
  void for_each_shard_of(const std::string& room, F&& f);
  /// Tells them of each other.
  void introduce_shards_of(const std::string& room);
  void measure_shards();
  void send_turn_credentials(io::ConnectionId id, Connection& connection);
  bool take_control_token(Connection& connection);
  void send_control(io::ConnectionId id, const signaling::ServerControl& message);
  /// For a request: answers it. Without an id: tells the reason and closes.
  void refuse(io::ConnectionId id, std::optional<std::uint32_t> request, std::string_view code, std::string message, io::CloseCode close = io::CloseCode::protocol_error);
  /// False: the shard is stuck, which is counted and logged.
  bool post(MediaShard& shard, io::MediaLoop::Command command);
  void answer_from_media(io::ConnectionId id, std::optional<std::uint32_t> request, const Result<void>& result);

  delivery::DeliveryService& service_;
#ifdef SATSUMA_TEST_HOOKS
  RoomTraceFile* room_trace_ = nullptr;
#endif
  const std::uint64_t slots_epoch_;
  io::HttpServer* http_ = nullptr;
  turn::Server* turn_ = nullptr;
  std::vector<std::unique_ptr<MediaShard>> shards_;
  ShardPlacement placement_;
  std::unordered_map<std::string, std::uint64_t> epochs_; ///< of rooms with people in media: the latest one's entry
  std::vector<double> busy_;                               ///< by shard, see ShardPlacement::place
  std::vector<Duration> processor_time_;
  TimePoint measured_at_{};
  std::unordered_map<io::ConnectionId, Connection> connections_;
  std::unordered_map<IncarnationId, Participant> participants_;
  std::optional<TimePoint> deadline_;
  static constexpr Duration trim_after = std::chrono::seconds(20), trim_at_most_after = std::chrono::seconds(60);
  std::optional<TimePoint> changed_at_; ///< first since the last trim
  std::optional<TimePoint> trim_at_;
  std::uint64_t media_disconnections_ = 0;
  std::uint64_t control_errors_ = 0;
  std::uint64_t media_commands_lost_ = 0;
  std::uint64_t store_failures_told_at_ = 1; ///< the next count that stands in the log; twice the last one
};

} // namespace satsuma::server
