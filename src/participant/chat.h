#pragma once

// What members write to each other (docs/protocol.md s.5); packages/core/src/chat.ts is the page's.

#include <deque>
#include <map>
#include <optional>
#include <optional>
#include <string>
#include <utility>

#include "base/time.h"
#include "signaling/control_messages.h"

namespace satsuma::participant {

/// What one wrote in the last minute, and what of the others' has been seen. The server keeps no message for whom it cannot reach at the moment, so it is sent
/// again when a connection has come back, one's own or another's: once for all that come back together, and not if somebody came in since, for whom it was not meant.
class Chat {
 public:
  static constexpr Duration sent_again_for = std::chrono::seconds(60);
  static constexpr std::size_t max_sent_again = 32;
  /// Of one message: who comes and goes all the time does not make everybody send for ever.
  static constexpr std::size_t max_copies = 4;
  /// Numbers that are remembered of each member.
  static constexpr std::size_t max_seen = 256;

  /// A second after the last connection came back, and so long after the first at most.
  static constexpr Duration again_after = std::chrono::seconds(1);
  static constexpr Duration again_at_last = std::chrono::seconds(4);

  /// With its number, to be sent; add() when it was.
  signaling::MemberChat next(std::string text) const { return {next_, std::move(text)}; }
  void add(TimePoint now, signaling::MemberChat message);
  /// A connection came back.
  void handle_back(TimePoint now);
  std::optional<TimePoint> next_deadline() const { return again_at_; }
  /// At next_deadline(), and nothing before it: `send` is called with each message. When it says no, that and the rest are for a second later.
  template <class Send>
  void send_again(TimePoint now, const Send& send) {
    if (!again_at_ || now < *again_at_) return;
    again_at_.reset();
    std::erase_if(written_, [&](const Written& one) { return now - one.at >= sent_again_for || one.copies >= max_copies; });
    for (Written& one : written_) {
      if (!send(one.message)) return handle_back(now);
      ++one.copies;
    }
  }
  /// Somebody came in, or we did as somebody new.
  void forget_written() {
    written_.clear();
    again_at_.reset();
  }

  /// False: it has come before.
  bool is_new(const IncarnationId& who, std::uint64_t number);
  template <class Gone>
  void forget(const Gone& gone) {
    std::erase_if(seen_, [&](const auto& one) { return gone(one.first); });
  }

 private:
  struct Written {
    signaling::MemberChat message;
    TimePoint at;
    std::size_t copies = 0;
  };
  std::uint64_t next_ = 0;
  std::deque<Written> written_;
  std::optional<TimePoint> again_at_;
  TimePoint back_since_{}; ///< the first that waits for it
  std::map<IncarnationId, std::deque<std::uint64_t>> seen_; ///< the latest last
};

} // namespace satsuma::participant
