#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "base/secret.h"
#include "base/time.h"
#include "call/epoch_keys.h"
#include "crypto/signature.h"

/// Who sent it: docs/protocol.md, section 5 (digests), and docs/adr/sender-digests.md for the reasons.
///
/// Every member has the keys of all others' frames, so a frame proves only that some member made it. Therefore each sender tells now and then, and
/// signs, what it sent: for a run of frames one root over their hashes, and for each of them a few bits, its mark, under a key that nobody can know
/// before the run is over. Who received all frames of a run checks the root; who lost some checks the marks of those it has.
///
/// A digest goes as a message of its own, or where that would be too dear, with sound alone, inside a frame of sound. With that frame it may get lost: whoever misses it asks, and
/// gets it as a message.
namespace satsuma::call {

inline constexpr ErrorCode digest_malformed{"digest_malformed", ErrorKind::peer};

/// A digest is due a second after the one before, or as soon as it is one percent of what was sent since, if that takes longer; ten seconds after it in
/// any case. On the wire, the headers of both included. What was said again to who asked is paid from the same percent.
struct DigestOptions {
  Duration least_interval = std::chrono::seconds(1);
  /// Members check each other's signatures, so in large rooms they come less often: so much for each of them.
  Duration interval_per_member = std::chrono::milliseconds(20);
  Duration greatest_interval = std::chrono::seconds(10);
  std::size_t share = 100; ///< one part in this
  std::size_t signature_size = 64;
  /// Around a signed digest on its way to a receiver, the longer one: TCP/IPv4 with timestamps 52, TLS 22, WebSocket 4, and the server's
  /// frame 19 (type, sender, length).
  std::size_t message_overhead = 97;
  /// Beside a digest in a frame of sound: its size, and what the frame's key id is longer.
  std::size_t carried_overhead = 3;
  /// Around each packet of media: IPv4 20, UDP 8, RTP with its mid 20, SRTP's tag 16.
  std::size_t packet_overhead = 64;
  std::size_t packet_payload = 1150;
  /// For frames that a digest overtook.
  Duration settle = std::chrono::milliseconds(500);
  /// A stream that is received for this long without a digest that fits is not confirmed any more. More than greatest_interval, and than what EpochKeys
  /// keeps the keys of former epochs for: so long what was judged of them is remembered.
  Duration patience = std::chrono::seconds(15);
  /// Digests that a later one shows to be missing are asked for, and for each of them it waits so long: a sender that has answered two pays for them first.
  Duration answer_wait = std::chrono::seconds(7);
  /// One that nothing came after: more than greatest_interval, and early enough for an answer within `patience`.
  Duration ask_after = std::chrono::seconds(11);
  /// Not sooner again for the same stream; twice as long after each request without a digest that helped, up to most_ask_again.
  Duration ask_again = std::chrono::seconds(1);
  Duration most_ask_again = std::chrono::seconds(60);
  /// What a sender keeps for those who ask.
  Duration keep = std::chrono::seconds(15);
};

/// The same with what signatures of this kind are: their size, and a hundred times what a browser takes to check one for each member, so that all of a
/// room's take one percent of its time.
DigestOptions with_signatures(DigestOptions options, crypto::SignatureScheme scheme);

/// As it travels: what is signed, and the signature over it together with the group, the epoch and the signer's leaf.
struct SignedDigest {
  std::uint8_t epoch_mod_256 = 0;
  ByteView body;
  ByteView signature;
};
inline constexpr std::string_view digest_label = "satsuma digest 2";
/// digest_malformed, and nothing of it is verified.
Result<SignedDigest> parse_signed_digest(ByteView message);
Bytes write_signed_digest(ByteView body, ByteView signature);
/// What the signature is over, under digest_label.
Bytes digest_to_sign(ByteView group_id, std::uint64_t epoch, std::uint32_t leaf, ByteView body);

/// The plaintext of a frame of sound that carries a signed digest: the encoded frame, the digest, and its size in one byte.
inline constexpr std::size_t max_carried_digest = 255;
/// Of the frame with all of it, so that it stays one packet.
inline constexpr std::size_t max_carrier = 1100;
struct CarriedDigest {
  MutableByteView frame;
  MutableByteView digest; ///< behind it; nothing of it is verified
};
/// digest_malformed when there is not as much as its last byte says.
Result<CarriedDigest> split_carrier(MutableByteView plaintext);

/// "Who sent this frame: say again what you signed of it." Not signed: anybody may ask, and gets no more than the sender gives.
struct DigestRequest {
  KeyId stream; ///< of a frame that no digest told of
  std::uint64_t counter = 0;
  friend bool operator==(const DigestRequest&, const DigestRequest&) = default;
};
Result<DigestRequest> parse_digest_request(ByteView message);
Bytes write_digest_request(const DigestRequest& request);

/// The sender's side. What is between two digests is bounded by max_frames; beyond, the oldest run is given up.
class DigestSender {
 public:
  static constexpr std::size_t max_frames = 4096;
  static constexpr std::size_t max_runs = 16;
  static constexpr std::size_t max_kept = 16;
  /// Of one digest. An answer goes to all members, over TCP.
  static constexpr std::uint8_t max_answers = 2;
  /// Each digest earns one answer, so whoever asks without end doubles what is said and no more; and so many may be saved up.
  static constexpr std::uint8_t max_saved_answers = 2;
  /// For requests of several members that mean the same.
  static constexpr Duration answer_pause = std::chrono::seconds(1);

  explicit DigestSender(DigestOptions options = {}) : options_(options) {}

  /// In the order in which they are sent; counters of a stream without gaps.
  void handle_sent(TimePoint now, EpochKeys::EpochName epoch, StreamContext context, std::uint64_t counter, const sframe::FrameHash& hash,
                   std::size_t size);
  void set_members(std::size_t members) { members_ = members; }
  void clear();

  std::optional<TimePoint> next_deadline() const { return check_at_; }
  /// The digest of everything since the last one if it is due as a message, to be signed: the body of a SignedDigest in `epoch`, which is not older than any it speaks of.
  std::optional<Bytes> take(TimePoint now, EpochKeys::EpochName epoch);
  /// The same for the frame of sound that is sent next, which has room for so much: where it is due, and too dear as a message. It does not speak of that frame.
  std::optional<Bytes> take_for_frame(TimePoint now, EpochKeys::EpochName epoch, std::size_t room);

  /// The SignedDigest that was made of what was taken last.
  void keep(TimePoint now, EpochKeys::EpochName epoch, Bytes message);
  /// Of a frame of ours. What nobody signed, and what was answered often enough or just now, is ignored.
  void handle_request(TimePoint now, const DigestRequest& request);
  /// What is to be said again now, as a message.
  std::optional<Bytes> take_answer(TimePoint now);

 private:
  struct Run {
    EpochKeys::EpochName epoch;
    StreamContext context{};
    std::uint64_t first = 0;
    std::vector<sframe::FrameHash> hashes;
  };
  struct Kept {
    EpochKeys::EpochName epoch; ///< in which it was signed
    Bytes message;
    TimePoint made;
    bool asked = false;
    std::uint8_t answers = 0;
    TimePoint silent_until{};
  };
  Duration interval() const;
  std::size_t digest_size() const;
  bool is_paid(std::size_t size) const { return static_cast<std::int64_t>(size * options_.share) <= account_; }
  Bytes make(TimePoint now, EpochKeys::EpochName epoch);
  void forget_old(TimePoint now);

  DigestOptions options_;
  std::size_t members_ = 1;
  std::deque<Run> runs_;
  std::size_t frames_ = 0;
  std::int64_t account_ = 0; ///< bytes on the wire since the last digest, less what answers took of them
  std::optional<TimePoint> since_; ///< of the first frame that no digest covers
  std::optional<TimePoint> due_at_; ///< not sooner
  std::optional<TimePoint> check_at_;
  std::deque<Kept> kept_; ///< oldest first
  std::uint8_t saved_answers_ = max_saved_answers;
};

enum class StreamVerdict : std::uint8_t {
  confirmed,   ///< what was received is what the member signed that it sent
  unconfirmed, ///< frames come, and no digest that fits them does
  forged,      ///< a frame was received that the member did not send: somebody who has the keys works with the server. Stays
};

struct StreamJudgement {
  std::uint32_t leaf = 0;
  StreamContext context{};
  StreamVerdict verdict{};
  friend bool operator==(const StreamJudgement&, const StreamJudgement&) = default;
};

/// The receiver's side: judges each stream of each member, and tells when the judgement changes.
class DigestReceiver {
 public:
  /// Frames that wait for a digest, of one stream and of all. Beyond, the stream's oldest are forgotten and count as not confirmed.
  static constexpr std::size_t max_waiting = 4096;
  static constexpr std::size_t max_waiting_in_all = 65536;
  static constexpr std::size_t max_streams = 4096;
  /// Digests of one stream that wait to be settled.
  static constexpr std::size_t max_unsettled = 8;
  /// Bits of marks that must be there to confirm a run where others are missing: forged frames show them by chance once in 2^32.
  static constexpr std::size_t enough_mark_bits = 32;
  /// So many frames that no digest covers, or that came too late for theirs, are too many.
  static constexpr std::size_t too_many_untold = 8;
  /// Requests in one `ask_again`, whatever is missing.
  static constexpr std::size_t max_requests = 8;
  /// Who asks first answers for all who miss the same, since all hear both: they ask one behind the other, by their leaves.
  static constexpr Duration ask_step = std::chrono::milliseconds(30);
  static constexpr std::uint32_t ask_steps = 32;

  explicit DigestReceiver(DigestOptions options = {}) : options_(options) {}

  void handle_received(TimePoint now, EpochKeys::EpochName epoch, std::uint32_t leaf, StreamContext context, std::uint64_t counter,
                       const sframe::FrameHash& hash);
  /// What the member at `leaf` signed in `epoch`: the body, verified. It has been there since epoch `since`: what it says of earlier ones is somebody
  /// else's. What was judged is not judged again, so a repeated digest says nothing. digest_malformed changes nothing.
  Result<void> handle_digest(TimePoint now, EpochKeys::EpochName epoch, std::uint64_t since, std::uint32_t leaf, ByteView digest);
  /// Of one that nobody has verified yet: whether handle_digest would make anything of it. A signature costs more than that to check.
  bool has_news(EpochKeys::EpochName epoch, std::uint64_t since, std::uint32_t leaf, ByteView digest) const;
  /// Another member has asked: the answer may be on its way.
  void handle_request(TimePoint now, const DigestRequest& request);
  void set_own_leaf(std::uint32_t leaf) { turn_ = ask_step * static_cast<Duration::rep>(leaf % ask_steps); }
  /// Someone else sits there now, or nobody.
  void forget(std::uint32_t leaf);
  void clear();
  void handle_timeout(TimePoint now);

  std::optional<TimePoint> next_deadline() const;
  std::optional<StreamJudgement> poll_output();
  /// To be sent to all members. Made by handle_timeout alone.
  std::optional<DigestRequest> poll_request();
  std::size_t waiting() const { return waiting_; }

 private:
  struct StreamName {
    std::uint32_t leaf = 0;
    StreamContext context{};
    EpochKeys::EpochName epoch;
    friend auto operator<=>(const StreamName&, const StreamName&) = default;
  };
  struct SourceName {
    std::uint32_t leaf = 0;
    StreamContext context{};
    friend auto operator<=>(const SourceName&, const SourceName&) = default;
  };
  struct Frame {
    std::uint64_t counter = 0;
    TimePoint received;
    sframe::FrameHash hash{};
  };
  struct Run {
    std::uint64_t first = 0;
    std::size_t count = 0;
    sframe::FrameHash root{};
    Bytes marks;
    TimePoint told;
  };
  struct Stream {
    std::vector<Frame> frames; ///< by counter
    std::deque<Run> runs;      ///< that wait to be settled, by their first counter
    std::uint64_t judged = 0; ///< one above the highest counter that was
    TimePoint judged_at{};    ///< the last time
    std::size_t late = 0;     ///< frames that came after they were to be judged, or for which there was no room, since the last run
    std::size_t untold = 0;   ///< frames that waited for too long, since the last run
    std::optional<TimePoint> left_at; ///< a later epoch's was told of then, or before: nothing more of this one is sent, and nothing told first
    std::optional<TimePoint> over_since; ///< a later epoch's is there, and nothing of this one waits
    TimePoint ask_at{};       ///< not sooner
    std::optional<Duration> ask_again; ///< after the next request; none: as the first time
    bool gave_way = false;    ///< to another member's request, since our own
  };
  struct Source {
    std::optional<TimePoint> waiting_since; ///< the first frame after what was last confirmed
    std::optional<StreamVerdict> verdict;
    std::optional<TimePoint> doubted_at; ///< by what is told a while later it is confirmed again
  };

  bool is_news(const StreamName& name, std::uint64_t since, std::uint64_t first) const;
  void leave_earlier(TimePoint now, const StreamName& name);
  std::size_t frames_of(const Stream& stream, const Run& run) const;
  bool has_gap(const Stream& stream) const;
  TimePoint settles_at(const Stream& stream) const;
  std::optional<TimePoint> next_due() const;
  std::optional<TimePoint> asks_at(const Stream& stream) const;
  void settle_ready(TimePoint now, const StreamName& name, Stream& stream);
  void settle_first(TimePoint now, const StreamName& name, Stream& stream);
  void settle(TimePoint now, const StreamName& name, Stream& stream, const Run& run);
  void ask(TimePoint now, const StreamName& name, Stream& stream);
  void doubt(TimePoint now, const SourceName& name);
  void judge(const SourceName& name, StreamVerdict verdict);
  void drop_front(Stream& stream, std::size_t count);

  DigestOptions options_;
  std::map<StreamName, Stream> streams_;
  std::map<SourceName, Source> sources_;
  std::size_t waiting_ = 0;
  Duration turn_{};
  TimePoint requests_since_{};
  std::size_t requests_made_ = 0;     ///< since
  std::optional<TimePoint> look_at_;  ///< frames are handled without anybody asking for the next deadline
  mutable std::optional<TimePoint> due_; ///< next_due(), if it is known; not for each frame
  mutable bool due_known_ = false;
  std::deque<StreamJudgement> outputs_;
  std::deque<DigestRequest> requests_;
};

} // namespace satsuma::call
