#include "sframe/sframe.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace satsuma::sframe {

namespace {

// s.4.4.2
SecretBytes expand(CipherSuite suite, const SecretBytes& secret, std::string_view label, std::uint64_t key_id, std::size_t size) {
  ByteWriter info;
  info.bytes(as_bytes(label));
  info.u64(key_id);
  info.u16(static_cast<std::uint16_t>(suite));
  return crypto::hkdf_expand(parameters(suite).hash, secret.view(), info.view(), size);
}
SecretBytes sframe_secret(CipherSuite suite, ByteView base_key) { return crypto::hkdf_extract(parameters(suite).hash, {}, base_key); }
SecretBytes sframe_salt(CipherSuite suite, std::uint64_t key_id, ByteView base_key) {
  return expand(suite, sframe_secret(suite, base_key), "SFrame 1.0 Secret salt ", key_id, nonce_size);
}
SecretBytes sframe_key(CipherSuite suite, std::uint64_t key_id, ByteView base_key) {
  return expand(suite, sframe_secret(suite, base_key), "SFrame 1.0 Secret key ", key_id, parameters(suite).key_size);
}
// In place of sframe_key, docs/protocol.md s.4.
SecretBytes tree_root(CipherSuite suite, std::uint64_t key_id, ByteView base_key) {
  return expand(suite, sframe_secret(suite, base_key), "satsuma frame tree ", key_id, FrameKeyTree::node_size);
}

std::array<std::uint8_t, nonce_size> make_nonce(const SecretBytes& salt, std::uint64_t counter) {
  std::array<std::uint8_t, nonce_size> nonce;
  std::memcpy(nonce.data(), salt.view().data(), nonce_size);
  for (std::size_t i = 0; i < 8; ++i) nonce[nonce_size - 1 - i] ^= static_cast<std::uint8_t>(counter >> (8 * i));
  return nonce;
}

FrameHash hash_of(ByteView frame) {
  std::array<std::uint8_t, 32> whole;
  crypto::hash_into(crypto::HashAlgorithm::sha256, {frame}, whole);
  FrameHash hash;
  std::copy_n(whole.begin(), hash.size(), hash.begin());
  return hash;
}

bool has_room(ByteView metadata, ByteView plaintext, MutableByteView out) {
  return metadata.size() <= max_metadata_size && out.size() >= plaintext.size() + max_overhead;
}

// s.4.4.3: the header and the caller's metadata are the associated data.
MutableByteView seal(FrameCipher& cipher, ByteView key, const SecretBytes& salt, const Header& header, ByteView metadata, ByteView plaintext,
                     MutableByteView out, const std::optional<crypto::AeadStart>& next = std::nullopt) {
  const std::size_t written = write_header(header, out);
  const auto nonce = make_nonce(salt, header.counter);
  const std::size_t sealed = cipher.seal({key, nonce, out.first(written)}, metadata, plaintext, out.subspan(written), next).size();
  return out.first(written + sealed);
}

Result<MutableByteView> open(FrameCipher& cipher, ByteView key, const SecretBytes& salt, const ParsedHeader& header, ByteView metadata,
                             ByteView frame, MutableByteView out, const std::optional<crypto::AeadStart>& next = std::nullopt) {
  if (metadata.size() > max_metadata_size || header.size > frame.size()) return sframe_malformed;
  const auto nonce = make_nonce(salt, header.header.counter);
  // In place means that the plaintext starts where the ciphertext did; otherwise at the front of `out`.
  const MutableByteView destination = out.data() == frame.data() ? out.subspan(header.size) : out;
  return cipher.open({key, nonce, frame.first(header.size)}, metadata, frame.subspan(header.size), destination, next);
}

/// What a stream's next frame starts with, if its key is there already.
class NextStart {
 public:
  NextStart(const StreamKeys& stream, const Header& header) : key_(stream.keys.at_hand(header.counter)) {
    if (!key_) return;
    nonce_ = make_nonce(stream.salt, header.counter);
    size_ = write_header(header, header_);
  }
  std::optional<crypto::AeadStart> start() const {
    if (!key_) return std::nullopt;
    return crypto::AeadStart{*key_, nonce_, ByteView(header_).first(size_)};
  }

 private:
  std::optional<ByteView> key_;
  std::array<std::uint8_t, nonce_size> nonce_{};
  std::array<std::uint8_t, max_header_size> header_{};
  std::size_t size_ = 0;
};

} // namespace

KeyContext::KeyContext(CipherSuite suite, std::uint64_t key_id, ByteView base_key)
    : key_id_(key_id), salt_(sframe_salt(suite, key_id, base_key)), key_(sframe_key(suite, key_id, base_key)), cipher_(suite) {}

Result<MutableByteView> KeyContext::encrypt(std::uint64_t counter, ByteView metadata, ByteView plaintext, MutableByteView out) {
  if (!has_room(metadata, plaintext, out)) return sframe_too_large;
  return seal(cipher_, key_.view(), salt_, {key_id_, counter}, metadata, plaintext, out);
}

Result<MutableByteView> KeyContext::decrypt(const ParsedHeader& header, ByteView metadata, ByteView frame, MutableByteView out) {
  return open(cipher_, key_.view(), salt_, header, metadata, frame, out);
}

StreamKeys::StreamKeys(CipherSuite suite, std::uint64_t key_id, ByteView base_key)
    : salt(sframe_salt(suite, key_id, base_key)), keys(suite, tree_root(suite, key_id, base_key).view()), cipher(suite) {}

void Sender::set_key(std::uint64_t key_id, ByteView base_key) {
  keys_.emplace(suite_, key_id, base_key);
  key_id_ = key_id;
  counter_ = 0;
}

Result<MutableByteView> Sender::protect(ByteView metadata, ByteView plaintext, MutableByteView out, std::uint64_t flags) {
  if (!keys_) return sframe_no_key;
  if (counter_ >= FrameKeyTree::capacity) return sframe_counter_exhausted;
  if (!has_room(metadata, plaintext, out)) return sframe_too_large;
  keys_->keys.look_ahead();
  FrameKey key;
  SATSUMA_CHECK(keys_->keys.derive(counter_, key));
  const NextStart next(*keys_, {key_id_, counter_ + 1});
  const MutableByteView frame = seal(keys_->cipher, key.view(), keys_->salt, {key_id_ | flags, counter_}, metadata, plaintext, out, next.start());
  keys_->keys.destroy(key, counter_ + 1);
  if (hash_frames_) last_hash_ = hash_of(frame);
  ++counter_;
  return frame;
}

void Receiver::try_key(std::uint64_t key_id, ByteView base_key) { tried_.emplace(key_id, Stream{StreamKeys(suite_, key_id, base_key)}); }

Result<Unprotected> Receiver::unprotect(ForgeryAllowance& line, ByteView metadata, ByteView frame, MutableByteView out) {
  SATSUMA_TRY(const ParsedHeader header, parse_header(frame));
  const std::uint64_t key_id = header.header.key_id & ~flags_;
  const std::uint64_t counter = header.header.counter;
  const auto found = streams_.find(key_id);
  const bool tried = found == streams_.end();
  if (tried && (!tried_ || tried_->first != key_id)) return sframe_unknown_key;
  if (tried && streams_.size() >= max_receiver_keys) return sframe_too_many_keys;
  Stream& stream = tried ? tried_->second : found->second;
  if (counter >= FrameKeyTree::capacity) return sframe_counter_too_large;

  stream.keys.keys.look_ahead();
  const auto distance = stream.keys.keys.distance(counter);
  if (!distance) return sframe_replayed;
  if (!tried && !line.admits(*distance)) return sframe_passed_over;
  if (*distance == 1) stream.keys.keys.approach_near(counter);
  FrameKey key;
  SATSUMA_CHECK(stream.keys.keys.derive(counter, key));
  const FrameHash hash = hash_frames_ ? hash_of(frame) : FrameHash{}; // before: it may be overwritten
  const NextStart next(stream.keys, {key_id, std::max(stream.next, counter + 1)});
  const auto plaintext = open(stream.keys.cipher, key.view(), stream.keys.salt, header, metadata, frame, out, next.start());
  if (!plaintext) return plaintext.error();

  line.handle_success();
  stream.next = std::max(stream.next, counter + 1);
  stream.keys.keys.destroy(key, stream.next - std::min(stream.next, replay_window));
  if (tried) {
    streams_.emplace(key_id, std::move(stream));
    tried_.reset();
  }
  return Unprotected{header.header, hash, *plaintext};
}

} // namespace satsuma::sframe
