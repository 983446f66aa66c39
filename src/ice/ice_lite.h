#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/transport_address.h"
#include "base/random.h"
#include "base/time.h"
#include "stun/message.h"

namespace satsuma::ice {

inline constexpr ErrorCode ice_wrong_username{"ice_wrong_username", ErrorKind::peer};
inline constexpr ErrorCode ice_not_a_check{"ice_not_a_check", ErrorKind::peer};
inline constexpr ErrorCode ice_no_remote_yet{"ice_no_remote_yet", ErrorKind::peer};
inline constexpr ErrorCode ice_bad_credentials{"ice_bad_credentials", ErrorKind::peer};
inline constexpr ErrorCode ice_output_full{"ice_output_full", ErrorKind::peer};

/// RFC 7675 s.5.1: consent to send ends after 30 seconds.
inline constexpr Duration consent_timeout = std::chrono::seconds(30);
/// Of several pairs that the peer nominates at once, a lower priority wins only after the present pair's last
/// nomination is this old: a peer with aggressive nomination (RFC 5245 s.8.1.1.2) would make it change with every check.
inline constexpr Duration nomination_hold = std::chrono::seconds(1);
/// Pairs remembered as valid. A peer with more interfaces than this loses the one heard of longest ago.
inline constexpr std::size_t max_pairs = 16;
/// How often a peer is asked whether it is still there because somebody said that it is not.
inline constexpr Duration confirm_interval = std::chrono::seconds(5);
/// Answers waiting for poll_output().
inline constexpr std::size_t max_pending_answers = 8;

/// RFC 8445 s.5.3, RFC 8839 s.5.4: 4 to 256 characters for the fragment, 22 to 256 for the password.
struct Credentials {
  std::string ufrag;
  std::string password;

  /// 48 and 144 random bits. The fragment also says which of a server's transports a check is for.
  static Credentials generate(RandomSource& random);
  /// With a fragment whose first character says `part`, below max_parts: which of a server's threads a check is for.
  static Credentials generate(RandomSource& random, std::size_t part);
};
inline constexpr std::size_t max_parts = 64;

/// What generate() was given; empty when it is no fragment.
std::optional<std::size_t> part_of(std::string_view ufrag);

/// Whether they are long enough and of ICE's characters only.
bool are_credentials(const Credentials& credentials);

/// Of a STUN datagram, not verified, the username fragment of its receiver: the part of USERNAME before the colon. With it
/// a server finds the transport a check from a new address belongs to.
std::optional<std::string_view> receiver_ufrag(ByteView datagram);

/// The lite agent (RFC 8445 s.2.5) of one component: it never sends a check, it answers those that are authenticated,
/// and lets the controlling peer choose the pair.
///
///   no remote ── set_remote_ufrag ──▶ checking ── check with USE-CANDIDATE ──▶ selected
///                                        ▲                                        │
///                                        └──────── no check for 30 s ─────────────┘
///
/// Peers need not name a pair again that they have chosen. So a check that comes to the same socket with the same priority from another address is taken for
/// the chosen pair behind a translator that forgot it: no peer has two pairs of one priority to one candidate. And once a pair was chosen and none is left,
/// any that is checked will do.
///
/// restart() accepts the new credentials from then on, and the old ones until a pair is selected with the new.
class IceLite {
 public:
  struct Send {
    NetworkPath path;
    ByteView datagram; ///< valid until the next call of handle_stun()
  };
  /// The first pair, or another than before.
  struct Selected {
    NetworkPath path;
  };
  /// Nothing may be sent any more, until a pair is selected again.
  struct ConsentExpired {};
  using Output = std::variant<Send, Selected, ConsentExpired>;

  explicit IceLite(Credentials local);

  /// Checks are not answered before this: without it they could not be told from somebody else's, and the peer repeats them soon.
  /// ice_bad_credentials when it does not have 4 to 256 ICE characters.
  Result<void> set_remote_ufrag(std::string_view ufrag);
  /// RFC 8445 s.9, after which the peer's new fragment is to be set as well; the selected pair stays in use meanwhile.
  Result<void> restart(Credentials local, std::string_view remote_ufrag);

  /// The peer's password (RFC 8445 s.5.3) and what transaction ids are drawn from, which outlives the agent: with them require_answers() works.
  void set_remote_password(std::string_view password, RandomSource& random);
  /// From now on media moves to another pair only when the peer has answered a check of ours there. A lite agent need not check, but a peer that
  /// knows the credentials could write a victim's address as its own, nominate it, and have us send the whole meeting there until consent ends.
  void require_answers() { answers_required_ = true; }

  /// One STUN datagram. Requests that are authenticated are answered through poll_output(); everything else is an error,
  /// gets no answer and changes nothing, so that the agent is no reflector.
  Result<void> handle_stun(TimePoint now, const NetworkPath& path, ByteView datagram);
  /// Something that only the peer can have made (SRTP under its keys) came this way: it is checked at once whether the peer is there, rather than when
  /// its next check comes. Does nothing before require_answers().
  void handle_moved(TimePoint now, const NetworkPath& path);
  /// Something that anybody could have made says that the peer has gone. So it is asked, on the selected pair, at most every confirm_interval: when neither an answer nor
  /// a check of its own comes, the pair is dropped as if consent had expired. Does nothing before require_answers().
  void confirm(TimePoint now);
  /// A TCP connection ended: its pair is no longer valid, and when it was the selected one nothing may be sent until another is selected.
  void handle_path_closed(const NetworkPath& path);
  void handle_timeout(TimePoint now);
  std::optional<Output> poll_output();
  std::optional<TimePoint> next_deadline() const;

  const Credentials& local() const { return local_.credentials; }
  /// An authenticated check came this way within the consent time. Only then may DTLS be looked at.
  bool validated(const NetworkPath& path) const;
  /// Where to send. Empty before nomination and after consent expired.
  const std::optional<NetworkPath>& selected() const { return selected_; }

 private:
  struct Pair {
    NetworkPath path;
    std::uint32_t priority = 0;
    TimePoint last_check{};
    std::optional<TimePoint> last_nomination;
  };
  /// A check of ours that waits for its answer.
  struct Check {
    NetworkPath path;
    stun::TransactionId transaction{};
    TimePoint sent_at{};
    unsigned sent = 0;
    std::optional<TimePoint> confirms_since; ///< of confirm(): begun then
  };
  struct Generation {
    Credentials credentials;
    std::string remote_ufrag; ///< empty: not known yet
  };
  struct Answer {
    NetworkPath path;
    std::size_t size = 0;
    std::array<std::uint8_t, 256> bytes{};
  };

  const Generation* generation_of(std::string_view username) const;
  Pair& pair_of(const NetworkPath& path);
  const Pair* find(const NetworkPath& path) const;
  void nominate(TimePoint now, Pair& pair);
  /// Whether a check that names no pair is to be taken for one that does.
  bool follows_selected(const Pair& pair) const;
  void drop_selected_unless_known();
  void select(const NetworkPath& path);
  void check(TimePoint now, const NetworkPath& path);
  void send_check(TimePoint now);
  /// Where the next datagram is to be written; null when there are too many.
  Answer* next_answer();
  Result<void> handle_answer(const NetworkPath& path, const stun::Message& message);

  Generation local_;
  std::optional<Generation> previous_;
  std::vector<Pair> pairs_;
  std::optional<NetworkPath> selected_;
  std::string remote_password_;
  RandomSource* random_ = nullptr;
  bool answers_required_ = false;
  std::uint32_t selected_priority_ = 0; ///< of the selected pair's checks, or of the last there was; 0: there was none
  std::optional<Check> check_;
  std::optional<TimePoint> confirmed_at_; ///< when confirm() last asked
  bool announce_selected_ = false;
  bool announce_expired_ = false;
  std::vector<Answer> answers_; ///< as many as ever waited at once, which is one where each is polled before the next check comes
  std::size_t answers_begin_ = 0;
  std::size_t answers_end_ = 0;
};

} // namespace satsuma::ice
