#pragma once

#include <array>
#include <compare>
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
namespace satsuma::call {

inline constexpr ErrorCode digest_malformed{"digest_malformed", ErrorKind::peer};

/// A digest is due a second after the one before, or as soon as it is one percent of what was sent since, if that takes longer; ten seconds after it in
/// any case. On the wire, the headers of both included.
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
  /// Around each packet of media: IPv4 20, UDP 8, RTP with its mid 20, SRTP's tag 16.
  std::size_t packet_overhead = 64;
  std::size_t packet_payload = 1150;
  /// For frames that a digest overtook.
  Duration settle = std::chrono::milliseconds(500);
  /// A stream that is received for this long without a digest that fits is not confirmed any more. More than greatest_interval.
  Duration patience = std::chrono::seconds(15);
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

/// The sender's side. What is between two digests is bounded by max_frames; beyond, the oldest run is given up.
class DigestSender {
 public:
  static constexpr std::size_t max_frames = 4096;
  static constexpr std::size_t max_runs = 16;

  explicit DigestSender(DigestOptions options = {}) : options_(options) {}

  /// In the order in which they are sent; counters of a stream without gaps.
  void handle_sent(TimePoint now, EpochKeys::EpochName epoch, StreamContext context, std::uint64_t counter, const sframe::FrameHash& hash,
                   std::size_t size);
  void set_members(std::size_t members) { members_ = members; }
  void clear();

  std::optional<TimePoint> next_deadline() const { return check_at_; }
  /// The digest of everything since the last one if it is due, to be signed: the body of a SignedDigest in `epoch`, which is not older than any it speaks of.
  std::optional<Bytes> take(TimePoint now, EpochKeys::EpochName epoch);

 private:
  struct Run {
    EpochKeys::EpochName epoch;
    StreamContext context{};
    std::uint64_t first = 0;
    std::vector<sframe::FrameHash> hashes;
  };
  Duration interval() const;
  std::size_t digest_size() const;

  DigestOptions options_;
  std::size_t members_ = 1;
  std::deque<Run> runs_;
  std::size_t frames_ = 0;
  std::size_t sent_bytes_ = 0; ///< on the wire
  std::optional<TimePoint> since_; ///< of the first frame that no digest covers
  std::optional<TimePoint> check_at_;
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

  explicit DigestReceiver(DigestOptions options = {}) : options_(options) {}

  void handle_received(TimePoint now, EpochKeys::EpochName epoch, std::uint32_t leaf, StreamContext context, std::uint64_t counter,
                       const sframe::FrameHash& hash);
  /// What the member at `leaf` signed in `epoch`: the body, verified. It has been there since epoch `since`: what it says of earlier ones is somebody
  /// else's. What was judged is not judged again, so a repeated digest says nothing. digest_malformed changes nothing.
  Result<void> handle_digest(TimePoint now, EpochKeys::EpochName epoch, std::uint64_t since, std::uint32_t leaf, ByteView digest);
  /// Someone else sits there now, or nobody.
  void forget(std::uint32_t leaf);
  void clear();
  void handle_timeout(TimePoint now);

  std::optional<TimePoint> next_deadline() const;
  std::optional<StreamJudgement> poll_output();
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
    TimePoint settles_at;
  };
  struct Stream {
    std::vector<Frame> frames; ///< by counter
    std::deque<Run> runs;
    std::uint64_t judged = 0; ///< one above the highest counter that was
    std::size_t late = 0;     ///< frames that came after they were to be judged, since the last run
  };
  struct Source {
    std::optional<TimePoint> waiting_since; ///< the first frame after what was last confirmed
    std::optional<StreamVerdict> verdict;
  };

  std::size_t frames_of(const Stream& stream, const Run& run) const;
  void settle(const StreamName& name, Stream& stream, const Run& run);
  void judge(const SourceName& name, StreamVerdict verdict);
  void drop_front(Stream& stream, std::size_t count);

  DigestOptions options_;
  std::map<StreamName, Stream> streams_;
  std::map<SourceName, Source> sources_;
  std::size_t waiting_ = 0;
  std::deque<StreamJudgement> outputs_;
};

} // namespace satsuma::call
