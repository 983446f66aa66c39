#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>

#include "event_loop.h"
#include "http_client.h"
#include "janus_messages.h"
#include "peer.h"

namespace satsuma::client {

/// Janus' VideoRoom by its HTTP interface: one session, in it a handle for each connection. What Janus answers later comes by one long poll.
class Janus final : public Peer {
 public:
  struct Options {
    Url url;               ///< of its HTTP interface: http://HOST:8088/janus
    Host host;
    std::string room;      ///< as JSON: a number, or a string in quotes
    std::string admin_key; ///< for making the room, where Janus wants one
    unsigned publishers = 1; ///< that a room we make has to take
  };
  /// The loop outlives it.
  Janus(EventLoop& loop, Options options);
  ~Janus() override;

  std::string name() const override { return "Janus"; }
  void open(TimePoint now, Done<void> done) override;
  void publish(TimePoint now, const std::string& offer, Done<Published> done) override;
  void subscribe(TimePoint now, const std::vector<std::string>& publications, Done<Offered> done) override;
  void answer(TimePoint now, const std::string& subscription, const std::string& sdp, Done<void> done) override;
  void close(TimePoint now, std::function<void()> done) override;

 private:
  using Answered = Done<JanusMessage>;
  struct Waiting {
    std::string what; ///< was asked
    Answered done;
    EventLoop::TimerId deadline;
  };

  std::string session_path() const;
  /// One request. `event`: the answer proper comes by the long poll.
  void ask(TimePoint now, const std::string& path, nlohmann::json message, bool event, Answered done);
  void message(TimePoint now, std::uint64_t handle, nlohmann::json body, nlohmann::json jsep, bool event, Answered done);
  void attach(TimePoint now, Done<std::uint64_t> done);
  void join(TimePoint now, std::uint64_t handle, nlohmann::json streams, unsigned attempts, Done<Offered> done);
  void make_room(TimePoint now, Done<void> done);
  void take(TimePoint now, JanusMessage message);
  void finish(TimePoint now, const std::string& transaction, std::expected<JanusMessage, std::string> outcome);
  void poll(TimePoint now);
  void keep_alive(TimePoint now);
  void end(TimePoint now, const std::string& sentence);
  std::string told(const JanusMessage::Problem& problem) const;

  EventLoop& loop_;
  Options options_;
  HttpClient http_;
  std::uint64_t session_ = 0, manager_ = 0; ///< the handle that made the room
  std::uint64_t transactions_ = 0;
  std::map<std::string, Waiting> waiting_; ///< by transaction
  std::optional<EventLoop::TimerId> keep_alive_timer_, poll_timer_;
  bool made_room_ = false, closing_ = false;
};

} // namespace satsuma::client
