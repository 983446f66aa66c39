#pragma once

// What members write to each other (docs/protocol.md s.5); packages/core/src/chat.ts is the page's.

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"
#include "signaling/control_messages.h"

namespace satsuma::participant {

/// What one wrote in the last minute, and what of the others' has been seen. The server keeps no message for whom it cannot reach at the moment, so it is sent
/// again when a connection comes back, one's own or another's: unless somebody came in since, for whom it was not meant.
class Chat {
 public:
  static constexpr Duration sent_again_for = std::chrono::seconds(60);
  static constexpr std::size_t max_sent_again = 32;
  /// Of one message: who comes and goes all the time does not make everybody send for ever.
  static constexpr std::size_t max_copies = 4;
  /// Numbers that are remembered of each member.
  static constexpr std::size_t max_seen = 256;

  signaling::MemberChat write(TimePoint now, std::string text);
  std::vector<signaling::MemberChat> to_send_again(TimePoint now);
  /// Somebody came in, or we did as somebody new.
  void forget_written() { written_.clear(); }

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
  std::map<IncarnationId, std::deque<std::uint64_t>> seen_; ///< the latest last
};

} // namespace satsuma::participant
