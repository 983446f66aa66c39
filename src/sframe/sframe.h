#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "sframe/cipher_suite.h"
#include "sframe/header.h"

namespace satsuma::sframe {

inline constexpr ErrorCode sframe_unknown_key{"sframe_unknown_key", ErrorKind::peer};
/// Seen before, or older than the window. Browsers deliver padding probes as whole frames again: drop without a complaint.
inline constexpr ErrorCode sframe_replayed{"sframe_replayed", ErrorKind::peer};
inline constexpr ErrorCode sframe_no_key{"sframe_no_key", ErrorKind::caller};
inline constexpr ErrorCode sframe_counter_exhausted{"sframe_counter_exhausted", ErrorKind::caller};
inline constexpr ErrorCode sframe_too_large{"sframe_too_large", ErrorKind::caller};
inline constexpr ErrorCode sframe_too_many_keys{"sframe_too_many_keys", ErrorKind::caller};

/// Header, longest tag: what `out` must have beyond the plaintext.
inline constexpr std::size_t max_overhead = max_header_size + 16;
/// What is authenticated beside the frame; a shell's clear bytes are the longest there are.
inline constexpr std::size_t max_metadata_size = 512;
/// Frames older than this behind the newest are refused as replays: 1024 frames are 20 s of audio.
inline constexpr std::size_t replay_window = 1024;
/// 4096 senders with two streams each in two epochs.
inline constexpr std::size_t max_receiver_keys = 16384;

/// RFC 9605 s.4.4.2: key and salt of one key id, computed once. Encrypts any counter; who chooses counters is `Sender`.
class KeyContext {
 public:
  KeyContext(CipherSuite suite, std::uint64_t key_id, ByteView base_key);

  /// s.4.4.3: header || ciphertext || tag into `out`, which must not overlap `plaintext` and has plaintext.size() + max_overhead bytes.
  Result<MutableByteView> encrypt(std::uint64_t counter, ByteView metadata, ByteView plaintext, MutableByteView out);
  /// s.4.4.4. `frame` begins with the header that was parsed. `out` has frame.size() bytes and may be `frame` itself.
  Result<MutableByteView> decrypt(const ParsedHeader& header, ByteView metadata, ByteView frame, MutableByteView out);

 private:
  KeyContext(CipherSuite suite, std::uint64_t key_id, SecretBytes secret);
  void make_nonce(std::uint64_t counter, MutableByteView nonce) const;

  std::uint64_t key_id_;
  SecretBytes salt_;
  Aead aead_;
};

/// One stream of one sender. Counters start at 0 with each key and never repeat under it.
class Sender {
 public:
  explicit Sender(CipherSuite suite) : suite_(suite) {}

  /// From the next frame on. A key must be new: the same (key_id, base_key) again would repeat nonces, so the owner derives each from
  /// its own epoch and stream.
  void set_key(std::uint64_t key_id, ByteView base_key);
  bool has_key() const { return key_ != nullptr; }

  /// sframe_no_key before the first key: the frame must not leave. `out` as in KeyContext::encrypt.
  Result<MutableByteView> protect(ByteView metadata, ByteView plaintext, MutableByteView out);

  std::uint64_t next_counter() const { return counter_; }

 private:
  CipherSuite suite_;
  std::uint64_t counter_ = 0;
  std::unique_ptr<KeyContext> key_;
};

struct Unprotected {
  Header header;
  MutableByteView plaintext; ///< in the caller's span
};

/// The keys of everybody who may be heard, each with its replay window.
class Receiver {
 public:
  explicit Receiver(CipherSuite suite) : suite_(suite) {}

  /// Replaces a key of the same id, and then its window starts empty. sframe_too_many_keys leaves the receiver as it was.
  Result<void> add_key(std::uint64_t key_id, ByteView base_key);
  void remove_key(std::uint64_t key_id) { keys_.erase(key_id); }
  bool has_key(std::uint64_t key_id) const { return keys_.contains(key_id); }
  std::size_t key_count() const { return keys_.size(); }

  /// The window moves only for frames that authenticate. `out` has frame.size() bytes and may be `frame` itself.
  Result<Unprotected> unprotect(ByteView metadata, ByteView frame, MutableByteView out);

 private:
  class ReplayWindow {
   public:
    bool allows(std::uint64_t counter) const;
    void record(std::uint64_t counter);

   private:
    std::uint64_t next_ = 0; // one above the highest counter seen
    std::bitset<replay_window> seen_;
  };
  struct Entry {
    KeyContext key;
    ReplayWindow window;
  };

  CipherSuite suite_;
  std::unordered_map<std::uint64_t, Entry> keys_;
};

} // namespace satsuma::sframe
