#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>

#include "sframe/cipher_suite.h"
#include "sframe/forgery_allowance.h"
#include "sframe/frame_keys.h"
#include "sframe/header.h"

namespace satsuma::sframe {

inline constexpr ErrorCode sframe_unknown_key{"sframe_unknown_key", ErrorKind::peer};
/// Seen before, or older than the window. Browsers deliver padding probes as whole frames again: drop without a complaint.
inline constexpr ErrorCode sframe_replayed{"sframe_replayed", ErrorKind::peer};
/// Beyond what any sender of ours counts to (FrameKeyTree::capacity).
inline constexpr ErrorCode sframe_counter_too_large{"sframe_counter_too_large", ErrorKind::peer};
/// Far from what was received so far, after many forged ones that were so too: not opened, and changes nothing (ForgeryAllowance).
inline constexpr ErrorCode sframe_passed_over{"sframe_passed_over", ErrorKind::peer};
inline constexpr ErrorCode sframe_no_key{"sframe_no_key", ErrorKind::caller};
inline constexpr ErrorCode sframe_counter_exhausted{"sframe_counter_exhausted", ErrorKind::caller};
inline constexpr ErrorCode sframe_too_large{"sframe_too_large", ErrorKind::caller};
inline constexpr ErrorCode sframe_too_many_keys{"sframe_too_many_keys", ErrorKind::caller};

/// Header, longest tag: what `out` must have beyond the plaintext.
inline constexpr std::size_t max_overhead = max_header_size + max_tag_size;
/// What is authenticated beside the frame; a shell's clear bytes are the longest there are.
inline constexpr std::size_t max_metadata_size = 512;
/// Frames older than this behind the newest, and up to 63 more, are refused as replays, and their keys destroyed if they never came: 1024 frames
/// are 20 s of audio.
inline constexpr std::uint64_t replay_window = FrameKeyTree::max_window;
/// 4096 senders with two streams each in two epochs.
inline constexpr std::size_t max_receiver_keys = 16384;

/// RFC 9605 s.4.4.2 to the letter: one key and salt for all frames of a key id. The product's frames each have a key of their own and go
/// through `Sender` and `Receiver`; this is what they are built like, and what the RFC's vectors are for.
class KeyContext {
 public:
  KeyContext(CipherSuite suite, std::uint64_t key_id, ByteView base_key);

  /// s.4.4.3: header || ciphertext || tag into `out`, which must not overlap `plaintext` and has plaintext.size() + max_overhead bytes.
  Result<MutableByteView> encrypt(std::uint64_t counter, ByteView metadata, ByteView plaintext, MutableByteView out);
  /// s.4.4.4. `frame` begins with the header that was parsed. `out` has frame.size() bytes and may be `frame` itself.
  Result<MutableByteView> decrypt(const ParsedHeader& header, ByteView metadata, ByteView frame, MutableByteView out);

 private:
  std::uint64_t key_id_;
  SecretBytes salt_;
  SecretBytes key_;
  FrameCipher cipher_;
};

/// What one key id stands for in docs/protocol.md, section 4: the salt of the RFC, and in place of its key a tree of keys. A cipher of its own, so that what one frame left there
/// is overwritten by getting ready for the next of the same stream: a kilobyte, from the first frame on.
struct StreamKeys {
  StreamKeys(CipherSuite suite, std::uint64_t key_id, ByteView base_key);

  SecretBytes salt;
  FrameKeyTree keys;
  FrameCipher cipher;
};

/// Of a frame as it is under way: header, ciphertext and tag, without its shell. SHA-256, cut. Not the tag alone, which whoever has the key can
/// bring about with another ciphertext.
using FrameHash = std::array<std::uint8_t, 16>;

/// One stream of one sender. Counters start at 0 with each key id and never repeat under it.
class Sender {
 public:
  /// `hash_frames`: for last_hash().
  explicit Sender(CipherSuite suite, bool hash_frames = false) : suite_(suite), hash_frames_(hash_frames) {}

  /// From the next frame on. A key must be new: the same (key_id, base_key) again would repeat keys and nonces, so the owner derives each
  /// from its own epoch and stream.
  void set_key(std::uint64_t key_id, ByteView base_key);
  /// Nothing can be sent until the next key.
  void clear_key() { keys_.reset(); }
  bool has_key() const { return keys_.has_value(); }

  /// sframe_no_key before the first key: the frame must not leave. `out` as in KeyContext::encrypt. The frame's key is gone afterwards. `flags`: of the receivers', set in the
  /// key id of this frame's header.
  Result<MutableByteView> protect(ByteView metadata, ByteView plaintext, MutableByteView out, std::uint64_t flags = 0);

  std::uint64_t next_counter() const { return counter_; }
  /// Of the frame that was protected last.
  const FrameHash& last_hash() const { return last_hash_; }

 private:
  CipherSuite suite_;
  bool hash_frames_;
  FrameHash last_hash_{};
  std::uint64_t key_id_ = 0;
  std::uint64_t counter_ = 0;
  std::optional<StreamKeys> keys_;
};

struct Unprotected {
  Header header;
  FrameHash hash{};          ///< zero if it was not asked for
  MutableByteView plaintext; ///< in the caller's span
};

/// The keys of everybody who may be heard. A frame's key is destroyed with its use, so what comes twice finds none.
///
/// A frame that does not authenticate changes nothing but how many more of its line may cost what they cost (ForgeryAllowance): the attempt to open it, and a walk down
/// the tree of keys, FrameKeyTree::levels derivations at most. Where the stream stands that is nothing beyond what its next frames need.
class Receiver {
 public:
  /// What a stream costs that has not begun, in derivations: salt and root, each by an extraction and an expansion, what the caller does for its base key,
  /// and the walk.
  static constexpr std::uint32_t begin_cost = 6 + FrameKeyTree::levels;

  /// `flags`: bits of a header's key id that say something of the frame, authenticated as all of it, and nothing of its keys: those are the ones of the key id without them.
  explicit Receiver(CipherSuite suite, bool hash_frames = false, std::uint64_t flags = 0) : suite_(suite), hash_frames_(hash_frames), flags_(flags) {}

  /// For a key id without a key; it is kept only if the next frame of this id authenticates: who invents key ids gets no memory for them. One
  /// such key at a time. Before a base key is derived for it, ForgeryAllowance::admits is asked for begin_cost, and the frame is sframe_passed_over where it refuses.
  void try_key(std::uint64_t key_id, ByteView base_key);
  void remove_key(std::uint64_t key_id) { streams_.erase(key_id); }
  bool has_key(std::uint64_t key_id) const { return streams_.contains(key_id); }
  std::size_t key_count() const { return streams_.size(); }

  /// `line` is what the frame arrived on. `out` has frame.size() bytes and may be `frame` itself.
  Result<Unprotected> unprotect(ForgeryAllowance& line, ByteView metadata, ByteView frame, MutableByteView out);

 private:
  struct Stream {
    StreamKeys keys;
    std::uint64_t next = 0; ///< one above the highest counter seen
  };

  CipherSuite suite_;
  bool hash_frames_;
  std::uint64_t flags_;
  std::unordered_map<std::uint64_t, Stream> streams_;
  std::optional<std::pair<std::uint64_t, Stream>> tried_;
};

} // namespace satsuma::sframe
