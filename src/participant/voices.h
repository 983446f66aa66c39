#pragma once

// Whose microphones we ask for where more are on than the server sends (docs/protocol.md s.6, "Who speaks"); packages/core/src/voices.ts is the page's.

#include <set>
#include <vector>

#include "base/time.h"
#include "signaling/control_messages.h"

namespace satsuma::participant {

/// Who said that they speak, and who is heard. Bounded by the roster: forget() those who leave it.
class Voices {
 public:
  /// Who speaks on says so every ten seconds, and what comes a moment later is late.
  static constexpr Duration fresh = std::chrono::seconds(12);
  /// Said no more by then: they have fallen silent.
  static constexpr Duration kept = std::chrono::seconds(30);
  /// Nobody honest says it more often than every three seconds.
  static constexpr Duration least_interval = std::chrono::seconds(2);
  /// Pauses between words.
  static constexpr Duration heard_for = std::chrono::milliseconds(1500);

  void handle_said(TimePoint now, const IncarnationId& who);
  void handle_heard(TimePoint now, const IncarnationId& who);
  template <class Gone>
  void forget(const Gone& gone) {
    std::erase_if(said_, [&](const Voice& voice) { return gone(voice.who); });
    std::erase_if(heard_, [&](const Voice& voice) { return gone(voice.who); });
  }
  /// Of those in `on`, the most wanted first, at most max_asked_voices: who said so lately, the latest first, who is heard, then who said so longer ago.
  std::vector<IncarnationId> wanted(TimePoint now, const std::set<IncarnationId>& on);

 private:
  struct Voice {
    IncarnationId who;
    TimePoint at;
  };
  std::vector<Voice> said_;  ///< the latest first
  std::vector<Voice> heard_; ///< who began first, first; `at`: heard last
};

} // namespace satsuma::participant
