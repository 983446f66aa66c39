#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/secret.h"
#include "base/time.h"
#include "base/transport_address.h"
#include "turn/framing.h"
#include "turn/message.h"

/// A TURN server (RFC 8656) whose only peers are this program's own media addresses: what browsers speak where a network lets nothing pass but TLS.
namespace satsuma::turn {

inline constexpr ErrorCode turn_too_strange{"turn_too_strange", ErrorKind::peer};
inline constexpr ErrorCode turn_idle{"turn_idle", ErrorKind::peer};

struct Limits {
  std::size_t allocations = 1024;
  std::size_t allocations_per_session = 16;             ///< two connections of a page, anew with each restart of ICE, while the old ones end
  std::size_t allocations_per_address = 256;            ///< a /64 counts as one IPv6 address
  std::size_t peers = 16;                               ///< permissions of an allocation, and its channels: as many as we have media addresses, twice
  std::size_t failures = 16;                            ///< messages of a connection that lead to nothing; beyond, it ends
  Duration default_lifetime = std::chrono::minutes(10); ///< RFC 8656 s.3.2
  Duration max_lifetime = std::chrono::minutes(60);
  Duration permission = std::chrono::minutes(5);        ///< RFC 8656 s.9
  Duration channel = std::chrono::minutes(10);          ///< RFC 8656 s.12
  Duration without_allocation = std::chrono::seconds(10);
  Duration nonce = std::chrono::minutes(60);            ///< RFC 8489 s.9.2.4 leaves it to us
  Duration credentials = std::chrono::hours(12);
};

struct Counters {
  std::uint64_t allocated = 0;
  std::uint64_t unauthorized = 0;      ///< 401 to a request that had credentials, 441
  std::uint64_t refused_by_limit = 0;  ///< an allocation: 486 and 508
  std::uint64_t forbidden_peers = 0;   ///< 403: an address that is not ours
  std::uint64_t datagrams_in = 0;      ///< from clients, to our media
  std::uint64_t datagrams_out = 0;
  std::uint64_t dropped = 0;           ///< from clients, without a permission or a channel
  std::uint64_t ended_strange = 0;     ///< connections, by their failures or a stream that is no TURN
  std::uint64_t ended_idle = 0;        ///< without an allocation for too long
};

class ServerConnection;

/// What all connections share: the secret that credentials come from, our media addresses, and the counts that the bounds are about.
class Server {
 public:
  static constexpr std::string_view realm = "satsuma";

  /// `own`: where our media is received, the only peers there are. `random` outlives this.
  Server(std::vector<TransportAddress> own, RandomSource& random, const Limits& limits = {});
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// For a session, whose name has at most 64 characters and no colon. They may begin an allocation for Limits::credentials; one that is there goes on with
  /// them for as long as it is refreshed, since a browser cannot change them.
  Credentials credentials(TimePoint now, std::string_view session) const;

  std::size_t allocations() const { return allocations_; }
  const Counters& counters() const { return counters_; }
  const Limits& limits() const { return limits_; }

 private:
  friend class ServerConnection;
  using AddressKey = std::array<std::uint8_t, 16>;

  SecretBytes password_of(std::string_view username) const;
  bool is_own(const TransportAddress& address) const;
  bool is_own_ip(const TransportAddress& address) const;
  /// One of our addresses of that family with a port that says nothing; nothing if we have none.
  std::optional<TransportAddress> relayed_address(AddressFamily family);

  std::vector<TransportAddress> own_;
  RandomSource& random_;
  Limits limits_;
  SecretBytes secret_;
  Counters counters_;
  std::size_t allocations_ = 0;
  std::map<std::string, std::size_t> per_session_;
  std::map<AddressKey, std::size_t> per_address_;
  std::uint16_t next_port_ = 0;
};

/// One client's TCP connection, and its allocation.
///
///   without allocation ── Allocate, authenticated ──▶ allocated ── Refresh with lifetime 0, or lifetime over ──▶ ended
///        └── 10 s ──▶ ended
///
/// Feed what is read:                                       Feed what our media sends to the relayed address:
///   while (event = next(now, input)) ...                     wrap(now, peer, datagram, out) → to be written
class ServerConnection {
 public:
  /// `server` outlives this.
  ServerConnection(TimePoint now, Server& server, const TransportAddress& client);
  ServerConnection(const ServerConnection&) = delete;
  ServerConnection& operator=(const ServerConnection&) = delete;
  ~ServerConnection();

  /// To be written to the client.
  struct Reply {
    ByteView bytes;
  };
  /// Comes from relayed() for one of our own addresses.
  struct ToPeer {
    TransportAddress peer;
    ByteView datagram;
  };
  struct Event {
    std::optional<Reply> reply;
    std::optional<ToPeer> to_peer;
  };

  /// What the beginning of `input` leads to, which is taken off; nothing when it has been used up. Views are valid until the next call. After an error the
  /// connection is of no use: turn_bad_framing, turn_malformed, turn_too_strange.
  Result<std::optional<Event>> next(TimePoint now, MutableByteView& input);
  /// The datagram as the client expects it, written into `out`; nothing when it has no permission for `peer`, or when there is no room.
  std::optional<ByteView> wrap(TimePoint now, const TransportAddress& peer, ByteView datagram, MutableByteView out);

  /// turn_idle: it has been without an allocation for too long, or its allocation is over.
  Result<void> handle_timeout(TimePoint now);
  TimePoint next_deadline() const;

  bool allocated() const { return allocation_.has_value(); }
  /// Where the client is for its peers. Only while allocated().
  const TransportAddress& relayed() const {
    SATSUMA_CHECK(allocation_.has_value());
    return allocation_->relayed;
  }
  const TransportAddress& client() const { return client_; }

 private:
  struct Permission {
    TransportAddress peer; ///< its port is no part of it
    TimePoint until{};
  };
  struct Channel {
    std::uint16_t number = 0;
    TransportAddress peer;
    TimePoint until{};
  };
  struct Allocation {
    std::string username;
    std::string session;
    TransportAddress relayed;
    TimePoint until{};
    std::vector<Permission> permissions; ///< at most Limits::peers, as are the channels
    std::vector<Channel> channels;
  };

  Result<std::optional<Event>> next_event(TimePoint now, MutableByteView& input);
  std::optional<Event> handle_message(TimePoint now, const Message& message);
  std::optional<Event> handle_send(TimePoint now, const Message& message);
  std::optional<Event> handle_channel_data(TimePoint now, MutableByteView frame);
  Event handle_allocate(TimePoint now, const Message& message, std::string_view session);
  Event handle_refresh(TimePoint now, const Message& message);
  Event handle_create_permission(TimePoint now, const Message& message);
  Event handle_channel_bind(TimePoint now, const Message& message);
  /// 0 if it may be a peer, otherwise the code that says why not.
  std::uint16_t refusal_of(const TransportAddress& peer, bool whole) const;
  bool permit(TimePoint now, const TransportAddress& peer);
  bool permitted(TimePoint now, const TransportAddress& peer) const;
  Duration lifetime_of(const Message& message) const;
  void new_nonce(TimePoint now);
  void end_allocation();

  Event refuse(const Message& message, std::uint16_t code);
  Event challenge(TimePoint now, const Message& message, std::uint16_t code);
  Event succeed(const Message& message);

  Server& server_;
  const TransportAddress client_;
  FrameReader reader_;
  std::optional<Allocation> allocation_;
  bool over_ = false; ///< it had an allocation
  TimePoint without_since_;
  std::string nonce_;
  TimePoint nonce_until_{};
  std::size_t failures_ = 0;
  std::optional<LongTermKey> key_; ///< of the request that is being answered, once it is authentic
  std::array<std::uint8_t, 512> answer_{};
};

} // namespace satsuma::turn
