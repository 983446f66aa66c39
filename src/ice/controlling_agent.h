#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "base/transport_address.h"
#include "ice/ice_lite.h"
#include "stun/message.h"

namespace satsuma::ice {

inline constexpr ErrorCode ice_unknown_response{"ice_unknown_response", ErrorKind::peer};
inline constexpr ErrorCode ice_no_pairs{"ice_no_pairs", ErrorKind::caller};

/// A check that is not answered is followed by another after this long, then twice as long, and so on. RFC 8445 s.14.3 has 500 ms for networks that its
/// many pairs would fill; a client of a server has few, and a call should start soon.
inline constexpr Duration first_check_interval = std::chrono::milliseconds(100);
inline constexpr Duration max_check_interval = std::chrono::milliseconds(1600);
/// RFC 7675 s.5.1: so long after an answer on the selected pair, spread by a fifth, it is asked again; then as above until the next answer.
inline constexpr Duration consent_interval = std::chrono::seconds(5);
/// Checks of a pair that may still be answered.
inline constexpr std::size_t max_outstanding_checks = 8;

/// The controlling agent of one component (RFC 8445) that has host candidates only, as towards a server. It checks all pairs at once, nominates the first
/// that works (s.8.1.1), and keeps the peer's consent fresh (RFC 7675). It answers checks too, for a peer that is not lite.
///
///   idle ── set_remote ──▶ checking ── a nominating check is answered ──▶ selected
///                             ▲                                              │
///                             └──────── no answer for 30 s ──────────────────┘
class ControllingAgent {
 public:
  struct Send {
    NetworkPath path;
    ByteView datagram; ///< valid until the next handle_ call
  };
  /// The first pair, or another than before.
  struct Selected {
    NetworkPath path;
  };
  /// Nothing may be sent any more until a pair is selected again; the checks go on.
  struct ConsentExpired {};
  using Output = std::variant<Send, Selected, ConsentExpired>;

  /// `random` outlives the agent.
  ControllingAgent(Credentials local, RandomSource& random);

  /// Begins to check `pairs`, best first; those beyond max_pairs are left out. Again with new credentials on both sides it is an ICE
  /// restart (RFC 8445 s.9): the selected pair stays in use until another is. ice_bad_credentials, ice_no_pairs.
  Result<void> set_remote(TimePoint now, Credentials remote, std::span<const NetworkPath> pairs);
  /// Takes effect for the checks after the next set_remote.
  Result<void> set_local(Credentials local);

  /// One STUN datagram. What is not an authenticated answer to one of our checks, or an authenticated check, is an error and changes nothing.
  Result<void> handle_stun(TimePoint now, const NetworkPath& path, ByteView datagram);
  void handle_timeout(TimePoint now);
  std::optional<Output> poll_output();
  std::optional<TimePoint> next_deadline() const;

  const Credentials& local() const { return local_; }
  const std::optional<NetworkPath>& selected() const { return selected_; }
  /// The pair's check was answered. Only from such a path may anything else be taken.
  bool validated(const NetworkPath& path) const;

 private:
  struct Outstanding {
    stun::TransactionId transaction{};
    bool nominating = false;
  };
  struct Pair {
    NetworkPath path;
    bool valid = false;
    bool nominate = false; ///< its next checks carry USE-CANDIDATE
    std::array<Outstanding, max_outstanding_checks> outstanding{};
    std::size_t checks = 0;
    std::optional<TimePoint> next_check;
    Duration interval = first_check_interval;
  };
  struct Queued {
    NetworkPath path;
    std::size_t size = 0;
    std::array<std::uint8_t, stun::max_written_size> bytes;
  };

  Pair* find(const NetworkPath& path);
  void check(TimePoint now, Pair& pair);
  Queued* queue(const NetworkPath& path);
  Result<void> handle_response(TimePoint now, const NetworkPath& path, const stun::Message& message);
  Result<void> handle_request(const NetworkPath& path, const stun::Message& message);

  Credentials local_;
  Credentials remote_;
  RandomSource& random_;
  std::uint64_t tie_breaker_;
  std::vector<Pair> pairs_;
  std::optional<NetworkPath> selected_;
  std::optional<TimePoint> consent_until_;
  bool announce_selected_ = false;
  bool announce_expired_ = false;
  std::vector<Queued> queued_; ///< at most max_pairs + max_pending_answers
  std::size_t polled_ = 0;
};

} // namespace satsuma::ice
