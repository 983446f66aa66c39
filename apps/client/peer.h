#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "base/time.h"

namespace satsuma::client {

/// A forwarding unit that is not ours, as far as `satsuma load --janus` and its like need it: an exchange of an offer and an answer for each connection, by
/// whatever signaling it has. ICE, DTLS, SRTP and RTP towards it are ours. Nothing blocks: what a call comes to is told later, from within the loop, as a value
/// or as a sentence for a person.
class Peer {
 public:
  template <class T>
  using Done = std::function<void(TimePoint now, std::expected<T, std::string>)>;

  struct Published {
    std::string publication; ///< what it is subscribed to by
    std::string answer;      ///< SDP
  };
  struct Offered {
    std::string subscription; ///< what it is answered by
    std::string offer;        ///< SDP
  };

  virtual ~Peer() = default;
  /// "Janus": for sentences.
  virtual std::string name() const = 0;
  /// Comes first; the room is there then.
  virtual void open(TimePoint now, Done<void> done) = 0;
  /// A connection that sends what `offer` (SDP) says.
  virtual void publish(TimePoint now, const std::string& offer, Done<Published> done) = 0;
  /// A connection that receives all of these.
  virtual void subscribe(TimePoint now, const std::vector<std::string>& publications, Done<Offered> done) = 0;
  virtual void answer(TimePoint now, const std::string& subscription, const std::string& sdp, Done<void> done) = 0;
  /// Comes last: all connections end, and the room too if open() made it.
  virtual void close(TimePoint now, std::function<void()> done) = 0;

  /// It ended a connection by itself; it is gone as a whole. May be left empty.
  std::function<void(TimePoint now, const std::string& sentence)> on_problem, on_end;
};

} // namespace satsuma::client
