#include "sframe/sframe.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace satsuma::sframe {

namespace {

SecretBytes expand(CipherSuite suite, const SecretBytes& secret, std::string_view label, std::uint64_t key_id, std::size_t size) {
  ByteWriter info;
  info.bytes(as_bytes(label));
  info.u64(key_id);
  info.u16(static_cast<std::uint16_t>(suite));
  return crypto::hkdf_expand(parameters(suite).hash, secret.view(), info.view(), size);
}

// s.4.4.3: the header and the caller's metadata are the associated data, in one run for the AEAD.
class AssociatedData {
 public:
  AssociatedData(ByteView header, ByteView metadata) : size_(header.size() + metadata.size()) {
    std::memcpy(bytes_.data(), header.data(), header.size());
    if (!metadata.empty()) std::memcpy(bytes_.data() + header.size(), metadata.data(), metadata.size());
  }
  ByteView view() const { return ByteView(bytes_).first(size_); }

 private:
  std::array<std::uint8_t, max_header_size + max_metadata_size> bytes_;
  std::size_t size_;
};

} // namespace

KeyContext::KeyContext(CipherSuite suite, std::uint64_t key_id, ByteView base_key)
    : KeyContext(suite, key_id, crypto::hkdf_extract(parameters(suite).hash, {}, base_key)) {}

KeyContext::KeyContext(CipherSuite suite, std::uint64_t key_id, SecretBytes secret)
    : key_id_(key_id),
      salt_(expand(suite, secret, "SFrame 1.0 Secret salt ", key_id, nonce_size)),
      aead_(suite, expand(suite, secret, "SFrame 1.0 Secret key ", key_id, parameters(suite).key_size).view()) {}

void KeyContext::make_nonce(std::uint64_t counter, MutableByteView nonce) const {
  std::memcpy(nonce.data(), salt_.view().data(), nonce_size);
  for (std::size_t i = 0; i < 8; ++i) nonce[nonce_size - 1 - i] ^= static_cast<std::uint8_t>(counter >> (8 * i));
}

Result<MutableByteView> KeyContext::encrypt(std::uint64_t counter, ByteView metadata, ByteView plaintext, MutableByteView out) {
  if (metadata.size() > max_metadata_size || out.size() < plaintext.size() + max_overhead) return sframe_too_large;
  const std::size_t header = write_header({key_id_, counter}, out);
  std::array<std::uint8_t, nonce_size> nonce;
  make_nonce(counter, nonce);
  const AssociatedData associated(out.first(header), metadata);
  const std::size_t sealed = aead_.seal(nonce, associated.view(), plaintext, out.subspan(header)).size();
  return out.first(header + sealed);
}

Result<MutableByteView> KeyContext::decrypt(const ParsedHeader& header, ByteView metadata, ByteView frame, MutableByteView out) {
  if (metadata.size() > max_metadata_size || header.size > frame.size()) return sframe_malformed;
  std::array<std::uint8_t, nonce_size> nonce;
  make_nonce(header.header.counter, nonce);
  const AssociatedData associated(frame.first(header.size), metadata);
  const ByteView ciphertext = frame.subspan(header.size);
  // In place means that the plaintext starts where the ciphertext did; otherwise at the front of `out`.
  const MutableByteView destination = out.data() == frame.data() ? out.subspan(header.size) : out;
  return aead_.open(nonce, associated.view(), ciphertext, destination);
}

void Sender::set_key(std::uint64_t key_id, ByteView base_key) {
  key_ = std::make_unique<KeyContext>(suite_, key_id, base_key);
  counter_ = 0;
}

Result<MutableByteView> Sender::protect(ByteView metadata, ByteView plaintext, MutableByteView out) {
  if (key_ == nullptr) return sframe_no_key;
  if (counter_ == std::numeric_limits<std::uint64_t>::max()) return sframe_counter_exhausted;
  SATSUMA_TRY(const MutableByteView frame, key_->encrypt(counter_, metadata, plaintext, out));
  ++counter_;
  return frame;
}

Result<void> Receiver::add_key(std::uint64_t key_id, ByteView base_key) {
  if (keys_.size() >= max_receiver_keys && !keys_.contains(key_id)) return sframe_too_many_keys;
  keys_.erase(key_id);
  keys_.emplace(key_id, Entry{KeyContext(suite_, key_id, base_key), {}});
  return {};
}

Result<Unprotected> Receiver::unprotect(ByteView metadata, ByteView frame, MutableByteView out) {
  SATSUMA_TRY(const ParsedHeader header, parse_header(frame));
  const auto entry = keys_.find(header.header.key_id);
  if (entry == keys_.end()) return sframe_unknown_key;
  if (!entry->second.window.allows(header.header.counter)) return sframe_replayed;
  SATSUMA_TRY(const MutableByteView plaintext, entry->second.key.decrypt(header, metadata, frame, out));
  entry->second.window.record(header.header.counter);
  return Unprotected{header.header, plaintext};
}

bool Receiver::ReplayWindow::allows(std::uint64_t counter) const {
  if (counter >= next_) return counter != std::numeric_limits<std::uint64_t>::max();
  return next_ - counter <= replay_window && !seen_[counter % replay_window];
}

void Receiver::ReplayWindow::record(std::uint64_t counter) {
  if (counter >= next_) {
    if (counter - next_ >= replay_window) {
      seen_.reset();
    } else {
      for (std::uint64_t skipped = next_; skipped < counter; ++skipped) seen_.reset(skipped % replay_window);
    }
    next_ = counter + 1;
  }
  seen_.set(counter % replay_window);
}

} // namespace satsuma::sframe
