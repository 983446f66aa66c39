#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/secret.h"
#include "base/time.h"
#include "call/stream_secrets.h"
#include "sframe/shell.h"
#include "sframe/sframe.h"

/// Media keys from MLS epochs: docs/protocol.md, section 4 (RFC 9605 s.5.2).
namespace satsuma::call {

/// A key that may come: the sender is ahead of us. Hold the frame for a moment.
inline constexpr ErrorCode frame_key_not_yet{"frame_key_not_yet", ErrorKind::peer};
/// An epoch whose overlap is over.
inline constexpr ErrorCode frame_key_expired{"frame_key_expired", ErrorKind::peer};
/// The leaf is empty in that epoch, or it is our own.
inline constexpr ErrorCode frame_bad_sender{"frame_bad_sender", ErrorKind::peer};
/// Of another leaf than the line's. Nothing was opened: hold it until the line may be another's.
inline constexpr ErrorCode frame_wrong_line{"frame_wrong_line", ErrorKind::peer};
inline constexpr ErrorCode frame_no_key{"frame_no_key", ErrorKind::caller};
inline constexpr ErrorCode frame_bad_context{"frame_bad_context", ErrorKind::caller};

inline constexpr std::uint32_t max_leaf_in_key_id = 0xfff; ///< 12 bits

/// RFC 9605 s.5.2: context, sender and the low bits of the epoch. With eight of those, four epochs a second fit the overlap twice over before
/// a number comes again, and the whole stays within the three bytes that it took with four.
struct KeyId {
  /// Says of one frame that a digest follows it in the plaintext; stream, keys and counter are those of the key id without it.
  static constexpr std::uint64_t digest_flag = std::uint64_t{1} << 23;

  std::uint32_t context = 0;
  std::uint32_t leaf = 0;
  std::uint8_t epoch_mod_256 = 0;
  bool carries_digest = false; ///< frames of sound only

  std::uint64_t value() const { return (carries_digest ? digest_flag : 0) | std::uint64_t{context} << 20 | std::uint64_t{leaf} << 8 | epoch_mod_256; }
  /// Nothing for values that no sender of ours makes.
  static std::optional<KeyId> from(std::uint64_t value);
  friend bool operator==(const KeyId&, const KeyId&) = default;
};

/// What frames arrive on: its own m-line, or slot.
struct Line {
  /// A leaf that no frame can name.
  static constexpr std::uint32_t nobody = max_leaf_in_key_id + 1;

  /// `seed`: as for the allowance.
  explicit Line(ByteView seed) : allowance(seed) {}

  sframe::ForgeryAllowance allowance;
  /// Whose frames alone are opened: else a member could use up another's counters by frames on a line of its own. None: everybody's.
  std::optional<std::uint32_t> leaf;
};

struct EpochKeysOptions {
  /// How long frames of an epoch that is over can still be read: reordering, and senders that have not heard of the new one.
  Duration overlap = std::chrono::seconds(10);
  /// How long to go on sending in the old epoch, so that the others have the new one when its first frame arrives. A newcomer
  /// waits for it, and receivers hold frames whose key is on the way (for 1 s in the browser): so it is short.
  Duration sender_delay = std::chrono::milliseconds(150);
};

/// The secrets of the present epoch and the few before it. MLS itself cannot derive for an epoch that is over, so they are kept here,
/// and destroyed on time.
class EpochKeys {
 public:
  /// Kept until the overlap is over, or there are more than these: ten changes a second for more than the 6 s that anybody takes to follow. An
  /// epoch nobody was heard in is a secret for each member.
  static constexpr std::size_t max_previous_epochs = 64;

  struct Epoch {
    std::uint64_t era = 0;
    std::uint64_t epoch = 0;
    std::uint32_t own_leaf = 0;
    std::vector<std::uint32_t> leaves; ///< in order
    SecretBytes secret; ///< sframe_epoch_secret
  };
  struct EpochName {
    std::uint64_t era = 0;
    std::uint64_t epoch = 0;
    friend bool operator==(const EpochName&, const EpochName&) = default;
    friend auto operator<=>(const EpochName&, const EpochName&) = default;
  };
  struct Received {
    MutableByteView plaintext;
    std::uint32_t leaf = 0;
    StreamContext context = StreamContext::microphone;
    EpochName epoch;
    std::optional<bool> key_frame; ///< of shells that tell
    std::uint64_t counter = 0;
    sframe::FrameHash hash{};
    bool carries_digest = false; ///< the plaintext is that of a carrier (call/sender_digest.h)
  };
  /// The frame that was protected last.
  struct Sent {
    EpochName epoch;
    StreamContext context{};
    std::uint64_t counter = 0;
    sframe::FrameHash hash{};
  };
  /// What became of the frames that arrived. A frame that is held and tried again counts each time.
  struct Counts {
    std::uint64_t opened = 0;
    std::uint64_t replayed = 0; ///< seen before or beyond the window: dropped without a word
    std::uint64_t early = 0;    ///< frame_key_not_yet
    std::uint64_t expired = 0;
    std::uint64_t misplaced = 0; ///< frame_wrong_line
    std::uint64_t passed_over = 0; ///< far from all others after many forged ones: sframe_passed_over
    std::uint64_t refused = 0;  ///< malformed, forged, from nobody, or with a counter that nobody reaches
  };

  explicit EpochKeys(sframe::CipherSuite suite = sframe::CipherSuite::chacha20_poly1305_sha256_128, EpochKeysOptions options = {});

  /// A new epoch was entered. `at_once`: it excludes somebody, so sending in the old one must end now.
  void enter(TimePoint now, Epoch epoch, bool at_once);
  /// Nothing can be sent until the next enter; what the others send can still be read.
  void stop_sending();
  /// Forgets every key; nothing can be sent until the next enter.
  void clear();

  /// Destroys what has expired, moves the sender when its time has come. True when the sender moved.
  bool handle_timeout(TimePoint now);
  std::optional<TimePoint> next_deadline() const;
  const Counts& counts() const { return counts_; }
  const Sent& last_sent() const { return last_sent_; }
  /// The epoch in which frames are sent.
  std::optional<EpochName> sending() const;

  /// `out` has sframe::max_protected_size() bytes and does not overlap. frame_no_key when in no group: then nothing may be sent.
  /// `carries_digest`: a frame of sound, and says so.
  Result<MutableByteView> protect(TimePoint now, StreamContext context, sframe::Shell shell, ByteView frame, MutableByteView out, bool carries_digest = false);
  /// `out` has frame.size() bytes and does not overlap. Errors above, or those of sframe.
  Result<Received> unprotect(TimePoint now, Line& line, sframe::ShellKind shell, ByteView frame, MutableByteView out);

 private:
  struct Held {
    EpochName name;
    std::uint32_t own_leaf = 0;
    StreamSecrets secrets;
    sframe::Receiver receiver;
    TimePoint sent_from{};            ///< when the others can have it
    std::optional<TimePoint> expires; ///< none: the present one
  };
  struct Stream {
    std::optional<EpochName> keyed;
    sframe::Sender sender;
  };

  Held* sending_epoch();
  void send_in(const Held& held);
  std::optional<TimePoint> move_at() const;
  Error missing_key(KeyId id) const;
  Result<Received> open(Line& line, sframe::ShellKind shell, ByteView frame, MutableByteView out);

  sframe::CipherSuite suite_;
  EpochKeysOptions options_;
  std::deque<Held> held_; ///< newest first
  std::optional<EpochName> sending_;
  std::array<Stream, stream_contexts> streams_;
  Counts counts_;
  Sent last_sent_;
};

} // namespace satsuma::call
