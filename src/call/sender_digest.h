#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "base/random.h"
#include "base/secret.h"
#include "base/time.h"
#include "call/epoch_keys.h"

/// Who sent it: docs/protocol.md, section 5 (digests), and docs/adr/sender-digests.md for the reasons.
///
/// Every member has the keys of all others' frames, so a frame proves only that some member made it. Therefore each sender tells now and then,
/// in a message that it signs, what it sent: for a run of frames one root over their hashes, and for each of them four bits under a salt that is
/// drawn afterwards. Who received all frames of a run checks the root; who lost some checks the bits of those it has.
namespace satsuma::call {

inline constexpr ErrorCode digest_malformed{"digest_malformed", ErrorKind::peer};

struct DigestOptions {
  /// Between two digests. Members check each other's signatures, so in large rooms they come less often.
  Duration least_interval = std::chrono::seconds(1);
  Duration interval_per_member = std::chrono::milliseconds(20);
  /// However small the share of what was sent: then the next one is due.
  Duration greatest_interval = std::chrono::seconds(10);
  /// A digest waits until it is no more than one part in this of what was sent ...
  std::size_t share = 100;
  /// ... counting what MLS puts around it.
  std::size_t message_overhead = 200;
  /// For frames that a digest overtook.
  Duration settle = std::chrono::milliseconds(500);
  /// A stream that is received for this long without a digest that fits is not confirmed any more. More than greatest_interval.
  Duration patience = std::chrono::seconds(15);
};

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
  /// The digest of everything since the last one if it is due: to be signed in an MLS message of `epoch`, which is not older than any it speaks of.
  std::optional<Bytes> take(TimePoint now, EpochKeys::EpochName epoch, RandomSource& random);

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
  std::size_t sent_bytes_ = 0;
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
  /// Frames of a run that must be there to confirm it where others are missing: forged ones show their bits by chance once in 2^32. And so many
  /// that no digest covers, or that came too late for theirs, are too many.
  static constexpr std::size_t enough_marks = 8;

  explicit DigestReceiver(DigestOptions options = {}) : options_(options) {}

  void handle_received(TimePoint now, EpochKeys::EpochName epoch, std::uint32_t leaf, StreamContext context, std::uint64_t counter,
                       const sframe::FrameHash& hash);
  /// What the member at `leaf` signed in an MLS message of `epoch`. It has been there since epoch `since`: what it says of earlier ones is somebody
  /// else's. digest_malformed changes nothing.
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
    std::array<std::uint8_t, 16> salt{};
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

/// Whether an application message's content is a digest: its first byte is none that UTF-8 has.
bool is_digest(ByteView content);

} // namespace satsuma::call
