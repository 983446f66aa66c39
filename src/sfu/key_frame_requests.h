#pragma once

#include <optional>

#include "base/time.h"

namespace satsuma::sfu {

/// When the publisher of a stream is asked for a key frame: at once; anew until one has come, since a request may be lost, or come while the publisher does not
/// listen; and no crowd of wishes makes it send one key frame after another.
///
/// Browsers do not listen for 300 ms after a request that they have heard, whatever became of it.
class KeyFrameRequests {
 public:
  /// `interval`: between a request that was answered and the next.
  explicit KeyFrameRequests(Duration interval) : interval_(interval) {}

  /// Somebody needs one. `urgent`: sees nothing yet. Then only a short while must have passed since the last one was answered.
  void want(bool urgent) {
    wanted_ = true;
    urgent_ = urgent_ || urgent;
  }
  /// Nobody does any more.
  void forget() {
    wanted_ = urgent_ = false;
    unanswered_ = 0;
  }
  /// One has come, and whoever waited has it.
  void handle_key_frame(TimePoint now);
  /// The way to the publisher was cut until now: what was asked did not arrive.
  void handle_outage();

  /// Somebody's wish has not been passed on yet.
  bool wanted() const { return wanted_; }
  bool urgent() const { return urgent_; }
  /// True when a request is to be sent now; counts as sent. `silent`: nothing has come from the publisher lately.
  bool poll(TimePoint now, bool silent);

 private:
  TimePoint due(bool silent) const;
  /// How long the answer may take.
  Duration patience() const;

  Duration interval_;
  bool wanted_ = false, urgent_ = false;
  unsigned unanswered_ = 0;               ///< requests since the last key frame
  std::optional<TimePoint> asked_at_;     ///< the latest
  TimePoint first_asked_at_{};            ///< of those that are unanswered
  bool asked_in_silence_ = false;         ///< the same
  std::optional<TimePoint> heard_at_;     ///< when the one was sent that was answered last
  std::optional<Duration> answer_;        ///< how long answers take: the longest, which is forgotten by and by
};

} // namespace satsuma::sfu
