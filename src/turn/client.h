#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/random.h"
#include "base/secret.h"
#include "base/time.h"
#include "base/transport_address.h"
#include "turn/framing.h"
#include "turn/message.h"

namespace satsuma::turn {

inline constexpr ErrorCode turn_refused{"turn_refused", ErrorKind::peer};
inline constexpr ErrorCode turn_no_answer{"turn_no_answer", ErrorKind::peer};
inline constexpr ErrorCode turn_unauthenticated{"turn_unauthenticated", ErrorKind::peer};

/// The client's end of a TURN connection over a stream (RFC 8656), for one peer: datagrams go there and come from there through a channel.
///
///   allocating ── 401 with realm and nonce, then success ──▶ binding ── success ──▶ ready: allocation and channel are refreshed
///        └──────────── refused, or no answer ──────────────────┴───────────────────────┴──▶ an error, and of no use any more
///
/// Write what poll_output() says after each call; feed what is read: while (datagram = next(now, input)) ...
class ClientConnection {
 public:
  /// RFC 8489 s.6.2.2, Ti: a stream loses nothing, so nothing is repeated.
  static constexpr Duration answer_timeout = std::chrono::milliseconds(39'500);
  /// A channel's permission lasts five minutes (RFC 8656 s.9, s.12).
  static constexpr Duration rebind_interval = std::chrono::minutes(4);

  /// `random` outlives this. Begins with an Allocate for an address of `peer`'s family.
  ClientConnection(TimePoint now, Credentials credentials, const TransportAddress& peer, RandomSource& random);
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;

  /// The peer's next datagram of those in `input`, which is used up; nothing when there is none. Valid until the next call. After an error the connection is
  /// of no use: turn_refused (see refused_with()), turn_unauthenticated, turn_bad_framing, turn_malformed and what stun::AttributeReader says.
  Result<std::optional<MutableByteView>> next(TimePoint now, MutableByteView& input);
  /// A request for the stream, valid until the next call.
  std::optional<ByteView> poll_output();

  bool ready() const { return stage_ == Stage::ready; }
  /// A datagram for the peer as it goes into the stream, written into `out`: nothing before it is ready, or when there is no room.
  std::optional<ByteView> wrap(ByteView datagram, MutableByteView out) const;

  /// turn_no_answer.
  Result<void> handle_timeout(TimePoint now);
  TimePoint next_deadline() const;

  /// The server's error code, after turn_refused.
  std::uint16_t refused_with() const { return refused_with_; }

 private:
  enum class Stage : std::uint8_t { allocating, binding, ready };

  void ask(TimePoint now, Method method);
  Result<void> handle_answer(TimePoint now, const Message& message);
  Result<void> handle_success(TimePoint now, const Message& message);

  const Credentials credentials_;
  const TransportAddress peer_;
  RandomSource& random_;
  FrameReader reader_;
  Stage stage_ = Stage::allocating;
  std::string realm_, nonce_;
  std::optional<LongTermKey> key_;

  std::optional<Method> asked_; ///< one request at a time
  stun::TransactionId transaction_{};
  TimePoint answer_until_{};
  bool repeated_ = false; ///< the same, with a nonce that was to be fresh
  TimePoint refresh_at_{}, rebind_at_{};
  std::uint16_t refused_with_ = 0;

  std::array<std::uint8_t, stun::max_written_size> request_{};
  std::size_t request_size_ = 0;
  bool unsent_ = false;
};

} // namespace satsuma::turn
