#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"

/// SRTP and SRTCP (RFC 3711) under AEAD_AES_128_GCM (RFC 7714) and AES_CM_128_HMAC_SHA1_80.
namespace satsuma::srtp {

inline constexpr ErrorCode srtp_malformed{"srtp_malformed", ErrorKind::peer};
inline constexpr ErrorCode srtp_authentication_failed{"srtp_authentication_failed", ErrorKind::peer};
inline constexpr ErrorCode srtp_replayed{"srtp_replayed", ErrorKind::peer};
inline constexpr ErrorCode srtp_too_many_streams{"srtp_too_many_streams", ErrorKind::peer};
inline constexpr ErrorCode srtp_index_reused{"srtp_index_reused", ErrorKind::caller};
inline constexpr ErrorCode srtp_key_exhausted{"srtp_key_exhausted", ErrorKind::caller};
inline constexpr ErrorCode srtp_no_space{"srtp_no_space", ErrorKind::caller};

/// Numbers as in RFC 5764 s.4.1.2 and RFC 7714 s.14.2.
enum class Profile : std::uint16_t { aes128_cm_sha1_80 = 0x0001, aead_aes_128_gcm = 0x0007 };

/// By how much protecting makes a packet longer, at most: a tag, and the index word of SRTCP.
inline constexpr std::size_t max_rtp_overhead = 16;
inline constexpr std::size_t max_rtcp_overhead = 20;
/// SSRCs for which one direction keeps a roll-over counter. They stay as long as the key does: forgetting one and meeting
/// it again would reuse a nonce.
inline constexpr std::size_t max_streams = 1024;
/// How far a packet may come behind the newest of its stream, in packets.
inline constexpr std::size_t replay_window = 1024;

constexpr std::size_t master_key_size = 16;
constexpr std::size_t master_salt_size(Profile profile) { return profile == Profile::aead_aes_128_gcm ? 12 : 14; }
constexpr std::size_t rtp_overhead(Profile profile) { return profile == Profile::aead_aes_128_gcm ? 16 : 10; }
constexpr std::size_t rtcp_overhead(Profile profile) { return rtp_overhead(profile) + 4; }

namespace internal {

/// Which of the newest `replay_window` indices have been seen (RFC 3711 s.3.3.2).
class ReplayWindow {
 public:
  bool seen_or_too_old(std::uint64_t index) const;
  void mark(std::uint64_t index);
  bool empty() const { return !any_; }
  std::uint64_t highest() const { return highest_; }

 private:
  bool any_ = false;
  std::uint64_t highest_ = 0;
  std::array<std::uint64_t, replay_window / 64> bits_{};
};

struct Stream {
  std::uint32_t ssrc = 0;
  ReplayWindow rtp;
  ReplayWindow rtcp;
};

/// Streams by SSRC, open addressing; a stream is never removed.
class StreamTable {
 public:
  StreamTable();
  Stream* find(std::uint32_t ssrc);
  /// Null when max_streams are there. Invalidates pointers.
  Stream* add(std::uint32_t ssrc);
  void prefetch() const;

 private:
  std::size_t slot_of(std::uint32_t ssrc) const;
  std::vector<Stream> streams_;
  std::vector<std::uint16_t> slots_; ///< 1 + place in streams_, 0 when free
};

struct Keys;
struct KeysDelete {
  void operator()(Keys* keys) const;
};

} // namespace internal

/// The sending direction of one association. Not for use by two threads at once.
class Sender {
 public:
  /// `key` and `salt` have master_key_size and master_salt_size(profile) bytes.
  Sender(Profile profile, ByteView key, ByteView salt);

  /// Header (12 bytes, CSRCs and extension as they are to be sent) and payload (with its padding, if any) become one protected packet in
  /// `out`, which must not overlap `payload` unless the payload stands at its final place, out.data() + header.size(). Returns what was written:
  /// header.size() + payload.size() + rtp_overhead(profile). The same sequence number twice (within one cycle) is refused with
  /// srtp_index_reused: under GCM it would give the key away.
  Result<MutableByteView> protect_rtp(ByteView header, ByteView payload, MutableByteView out);
  /// A whole RTCP packet, compound or reduced-size; same rules.
  Result<MutableByteView> protect_rtcp(ByteView packet, MutableByteView out);

  /// What protect_rtp() needs besides this object itself: base/prefetch.h.
  void prefetch() const;

  Profile profile() const { return profile_; }

 private:
  Profile profile_;
  std::unique_ptr<internal::Keys, internal::KeysDelete> keys_;
  internal::StreamTable streams_;
  std::uint32_t rtcp_index_ = 0; ///< one counter for all SSRCs: unique, and rising for each
};

/// The receiving direction.
class Receiver {
 public:
  Receiver(Profile profile, ByteView key, ByteView salt);

  /// Decrypts in place and returns the RTP packet, a prefix of `packet`. After an error the bytes are not to be used, and the
  /// state is as before: an SSRC is remembered only once a packet of it was authentic.
  Result<MutableByteView> unprotect_rtp(MutableByteView packet);
  Result<MutableByteView> unprotect_rtcp(MutableByteView packet);

 private:
  Profile profile_;
  std::unique_ptr<internal::Keys, internal::KeysDelete> keys_;
  internal::StreamTable streams_;
};

/// Size of the RTP header with CSRCs and extension (RFC 3550 s.5.1, s.5.3.1), within the packet; srtp_malformed.
Result<std::size_t> rtp_header_size(ByteView packet);

} // namespace satsuma::srtp
