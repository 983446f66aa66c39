#include "srtp/session.h"

#include <algorithm>
#include <cstring>

#include "base/prefetch.h"
#include "base/secret.h"
#include "crypto/cipher.h"
#include "crypto/hmac_sha1.h"
#include "srtp/packet_aead.h"

namespace satsuma::srtp {

namespace {

constexpr std::size_t gcm_tag_size = 16;
constexpr std::size_t hmac_tag_size = 10;
constexpr std::size_t session_salt_size = 14; // GCM uses the first 12
constexpr std::size_t hmac_key_size = 20;
constexpr std::size_t rtcp_header_size = 8;
constexpr std::size_t rtcp_index_size = 4;
constexpr std::uint32_t rtcp_encrypted = 0x80000000; // the E bit (RFC 3711 s.3.4)
constexpr std::uint64_t max_rtp_index = (std::uint64_t{1} << 48) - 1;
constexpr std::uint32_t max_rtcp_index = 0x7fffffff;

static_assert(max_streams < 0xffff && (replay_window & (replay_window - 1)) == 0);

std::uint16_t read_u16(ByteView bytes, std::size_t at) { return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]); }
std::uint32_t read_u32(ByteView bytes, std::size_t at) {
  return std::uint32_t{read_u16(bytes, at)} << 16 | read_u16(bytes, at + 2);
}
std::array<std::uint8_t, 4> u32_bytes(std::uint32_t value) {
  return {static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16), static_cast<std::uint8_t>(value >> 8),
          static_cast<std::uint8_t>(value)};
}

// RFC 3711 s.4.3.1. The key derivation rate is 0 (RFC 5764 s.4.1.2), so the label alone tells the keys apart.
enum class Label : std::uint8_t { rtp_encryption = 0, rtp_authentication, rtp_salt, rtcp_encryption, rtcp_authentication, rtcp_salt };

void derive(crypto::AesCtrKey& master, ByteView salt, Label label, MutableByteView out) {
  std::array<std::uint8_t, 16> block{};
  // RFC 7714 s.11: GCM's 12 bytes of master salt count as the first of 14, with zeros after them.
  std::copy(salt.begin(), salt.end(), block.begin());
  block[7] ^= static_cast<std::uint8_t>(label);
  std::fill(out.begin(), out.end(), std::uint8_t{0});
  master.crypt(block, out, out);
}

// RFC 3711 s.3.3.1 and appendix A: the index whose low 16 bits are `sequence` and which is nearest to the highest so far. None
// when that would lie before the first cycle.
std::optional<std::uint64_t> estimate_index(const internal::ReplayWindow& window, std::uint16_t sequence) {
  if (window.empty()) return sequence;
  const std::uint64_t cycle = window.highest() >> 16;
  const auto newest = static_cast<std::uint16_t>(window.highest());
  std::uint64_t guess = cycle;
  if (newest < 0x8000) {
    if (sequence - newest > 0x8000) {
      if (cycle == 0) return std::nullopt;
      guess = cycle - 1;
    }
  } else if (newest - 0x8000 > sequence) {
    guess = cycle + 1;
  }
  return guess << 16 | sequence;
}

} // namespace

// ---- ReplayWindow

bool internal::ReplayWindow::seen_or_too_old(std::uint64_t index) const {
  if (!any_ || index > highest_) return false;
  if (highest_ - index >= replay_window) return true;
  return (bits_[index % replay_window / 64] >> (index % 64) & 1) != 0;
}

void internal::ReplayWindow::mark(std::uint64_t index) {
  const auto bit = [this](std::uint64_t i) -> std::uint64_t& { return bits_[i % replay_window / 64]; };
  if (!any_ || (index > highest_ && index - highest_ >= replay_window)) {
    bits_.fill(0);
  } else {
    for (std::uint64_t skipped = highest_ + 1; skipped < index; ++skipped) bit(skipped) &= ~(std::uint64_t{1} << (skipped % 64));
  }
  if (!any_ || index > highest_) highest_ = index;
  any_ = true;
  bit(index) |= std::uint64_t{1} << (index % 64);
}

// ---- StreamTable

internal::StreamTable::StreamTable() : slots_(16, 0) {}

std::size_t internal::StreamTable::slot_of(std::uint32_t ssrc) const {
  // The peer may choose its SSRCs so that they collide; with max_streams of them a search stays short enough.
  std::size_t slot = (ssrc * 0x9e3779b1U >> 16) & (slots_.size() - 1);
  while (slots_[slot] != 0 && streams_[slots_[slot] - 1U].ssrc != ssrc) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

internal::Stream* internal::StreamTable::find(std::uint32_t ssrc) {
  const std::uint16_t place = slots_[slot_of(ssrc)];
  return place == 0 ? nullptr : &streams_[place - 1U];
}

internal::Stream* internal::StreamTable::add(std::uint32_t ssrc) {
  if (streams_.size() == max_streams) return nullptr;
  if (2 * (streams_.size() + 1) > slots_.size()) {
    slots_.assign(2 * slots_.size(), 0);
    for (std::size_t i = 0; i < streams_.size(); ++i) slots_[slot_of(streams_[i].ssrc)] = static_cast<std::uint16_t>(i + 1);
  }
  streams_.emplace_back().ssrc = ssrc;
  // slot_of compares with streams_, in which this one stands already but in no slot yet.
  slots_[slot_of(ssrc)] = static_cast<std::uint16_t>(streams_.size());
  return &streams_.back();
}

void internal::StreamTable::prefetch() const {
  satsuma::prefetch(slots_.data(), slots_.size() * sizeof slots_[0]);
  satsuma::prefetch(streams_.data(), std::min<std::size_t>(streams_.size(), 4) * sizeof(Stream));
}

// ---- Keys

struct internal::Keys {
  struct Gcm {
    PacketAead rtp, rtcp;
  };
  struct CtrHmac {
    crypto::AesCtrKey rtp, rtcp;
    crypto::HmacSha1Key rtp_tag, rtcp_tag;
  };

  std::optional<Gcm> gcm;
  std::optional<CtrHmac> ctr;
  SecretArray<session_salt_size> rtp_salt, rtcp_salt;

  Keys(Profile profile, ByteView key, ByteView salt) {
    SATSUMA_CHECK(key.size() == master_key_size && salt.size() == master_salt_size(profile));
    crypto::AesCtrKey master(key);
    SecretArray<master_key_size> rtp_key, rtcp_key;
    derive(master, salt, Label::rtp_encryption, rtp_key.mutable_view());
    derive(master, salt, Label::rtcp_encryption, rtcp_key.mutable_view());
    const std::size_t size = master_salt_size(profile);
    derive(master, salt, Label::rtp_salt, rtp_salt.mutable_view().first(size));
    derive(master, salt, Label::rtcp_salt, rtcp_salt.mutable_view().first(size));
    if (profile == Profile::aead_aes_128_gcm) {
      gcm.emplace(Gcm{PacketAead(rtp_key.view()), PacketAead(rtcp_key.view())});
      return;
    }
    SecretArray<hmac_key_size> rtp_tag, rtcp_tag;
    derive(master, salt, Label::rtp_authentication, rtp_tag.mutable_view());
    derive(master, salt, Label::rtcp_authentication, rtcp_tag.mutable_view());
    ctr.emplace(CtrHmac{crypto::AesCtrKey(rtp_key.view()), crypto::AesCtrKey(rtcp_key.view()), crypto::HmacSha1Key(rtp_tag.view()),
                        crypto::HmacSha1Key(rtcp_tag.view())});
  }

  // RFC 7714 s.8.1 for RTP; s.9.1 is the same with the SRTCP index as `index`.
  std::array<std::uint8_t, crypto::aead_nonce_size> nonce(ByteView salt, std::uint32_t ssrc, std::uint64_t index) const {
    std::array<std::uint8_t, crypto::aead_nonce_size> nonce{};
    const auto ssrc_bytes = u32_bytes(ssrc);
    std::copy(ssrc_bytes.begin(), ssrc_bytes.end(), nonce.begin() + 2);
    for (std::size_t i = 0; i < 6; ++i) nonce[6 + i] = static_cast<std::uint8_t>(index >> (40 - 8 * i));
    for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] ^= salt[i];
    return nonce;
  }

  // RFC 3711 s.4.1.1.
  std::array<std::uint8_t, 16> counter(ByteView salt, std::uint32_t ssrc, std::uint64_t index) const {
    std::array<std::uint8_t, 16> block{};
    std::copy(salt.begin(), salt.end(), block.begin());
    const auto ssrc_bytes = u32_bytes(ssrc);
    for (std::size_t i = 0; i < 4; ++i) block[4 + i] ^= ssrc_bytes[i];
    for (std::size_t i = 0; i < 6; ++i) block[8 + i] ^= static_cast<std::uint8_t>(index >> (40 - 8 * i));
    return block;
  }
};

void internal::KeysDelete::operator()(Keys* keys) const { delete keys; }

Result<std::size_t> rtp_header_size(ByteView packet) {
  if (packet.size() < 12 || packet[0] >> 6 != 2) return srtp_malformed;
  std::size_t size = 12 + 4 * (packet[0] & 0x0fU);
  if ((packet[0] & 0x10) != 0) {
    if (packet.size() < size + 4) return srtp_malformed;
    size += 4 + 4 * std::size_t{read_u16(packet, size + 2)};
  }
  if (packet.size() < size) return srtp_malformed;
  return size;
}

// ---- Sender

Sender::Sender(Profile profile, ByteView key, ByteView salt) : profile_(profile), keys_(new internal::Keys(profile, key, salt)) {}

void Sender::prefetch() const {
  streams_.prefetch();
  satsuma::prefetch(keys_.get(), sizeof *keys_);
  if (keys_->gcm) keys_->gcm->rtp.prefetch();
}

Result<MutableByteView> Sender::protect_rtp(ByteView header, ByteView payload, MutableByteView out) {
  SATSUMA_TRY(const std::size_t header_size, rtp_header_size(header));
  if (header_size != header.size()) return srtp_malformed;
  const std::size_t clear_size = header.size() + payload.size();
  const std::size_t size = clear_size + rtp_overhead(profile_);
  if (out.size() < size) return srtp_no_space;

  const std::uint32_t ssrc = read_u32(header, 8);
  internal::Stream* stream = streams_.find(ssrc);
  if (stream == nullptr) stream = streams_.add(ssrc);
  if (stream == nullptr) return srtp_too_many_streams;
  const std::optional<std::uint64_t> estimated = estimate_index(stream->rtp, read_u16(header, 2));
  if (!estimated || stream->rtp.seen_or_too_old(*estimated)) return srtp_index_reused;
  const std::uint64_t index = *estimated;
  if (index > max_rtp_index) return srtp_key_exhausted;
  stream->rtp.mark(index);

  std::memmove(out.data(), header.data(), header.size());
  const ByteView written_header = out.first(header.size());
  const MutableByteView body = out.subspan(header.size(), size - header.size());
  const ByteView salt = keys_->rtp_salt.view();
  if (keys_->gcm) {
    keys_->gcm->rtp.seal(keys_->nonce(salt, ssrc, index), written_header, payload, body);
  } else {
    internal::Keys::CtrHmac& keys = *keys_->ctr;
    keys.rtp.crypt(keys_->counter(salt, ssrc, index), payload, body.first(payload.size()));
    const auto roll_over = u32_bytes(static_cast<std::uint32_t>(index >> 16)); // RFC 3711 s.4.2
    keys.rtp_tag.tag({out.first(clear_size), roll_over}, out.subspan(clear_size, hmac_tag_size));
  }
  return out.first(size);
}

Result<MutableByteView> Sender::protect_rtcp(ByteView packet, MutableByteView out) {
  if (packet.size() < rtcp_header_size || packet[0] >> 6 != 2) return srtp_malformed;
  const std::size_t size = packet.size() + rtcp_overhead(profile_);
  if (out.size() < size) return srtp_no_space;
  if (rtcp_index_ == max_rtcp_index) return srtp_key_exhausted;
  const std::uint32_t index = ++rtcp_index_;
  const std::uint32_t ssrc = read_u32(packet, 4);
  const auto index_word = u32_bytes(rtcp_encrypted | index);
  const ByteView payload = packet.subspan(rtcp_header_size);

  std::memmove(out.data(), packet.data(), rtcp_header_size);
  const ByteView salt = keys_->rtcp_salt.view();
  if (keys_->gcm) {
    // RFC 7714 s.9.2: associated data are the header and the word with the index, which stands last in the packet.
    std::array<std::uint8_t, rtcp_header_size + rtcp_index_size> associated;
    std::memcpy(associated.data(), out.data(), rtcp_header_size);
    std::memcpy(associated.data() + rtcp_header_size, index_word.data(), rtcp_index_size);
    keys_->gcm->rtcp.seal(keys_->nonce(salt, ssrc, index), associated, payload, out.subspan(rtcp_header_size, payload.size() + gcm_tag_size));
    std::memcpy(out.data() + packet.size() + gcm_tag_size, index_word.data(), rtcp_index_size);
  } else {
    internal::Keys::CtrHmac& keys = *keys_->ctr;
    keys.rtcp.crypt(keys_->counter(salt, ssrc, index), payload, out.subspan(rtcp_header_size, payload.size()));
    std::memcpy(out.data() + packet.size(), index_word.data(), rtcp_index_size);
    const std::size_t covered = packet.size() + rtcp_index_size;
    keys.rtcp_tag.tag({out.first(covered)}, out.subspan(covered, hmac_tag_size));
  }
  return out.first(size);
}

// ---- Receiver

Receiver::Receiver(Profile profile, ByteView key, ByteView salt) : profile_(profile), keys_(new internal::Keys(profile, key, salt)) {}

Result<MutableByteView> Receiver::unprotect_rtp(MutableByteView packet) {
  SATSUMA_TRY(const std::size_t header_size, rtp_header_size(packet));
  if (packet.size() < header_size + rtp_overhead(profile_)) return srtp_malformed;
  const std::uint32_t ssrc = read_u32(packet, 8);
  internal::Stream* stream = streams_.find(ssrc);
  static const internal::ReplayWindow fresh;
  const internal::ReplayWindow& window = stream != nullptr ? stream->rtp : fresh;
  const std::optional<std::uint64_t> estimated = estimate_index(window, read_u16(packet, 2));
  if (!estimated || *estimated > max_rtp_index || window.seen_or_too_old(*estimated)) return srtp_replayed;
  const std::uint64_t index = *estimated;

  const ByteView salt = keys_->rtp_salt.view();
  const std::size_t clear_size = packet.size() - rtp_overhead(profile_);
  if (keys_->gcm) {
    const MutableByteView body = packet.subspan(header_size);
    if (!keys_->gcm->rtp.open(keys_->nonce(salt, ssrc, index), packet.first(header_size), body, body)) return srtp_authentication_failed;
  } else {
    internal::Keys::CtrHmac& keys = *keys_->ctr;
    std::array<std::uint8_t, hmac_tag_size> tag;
    const auto roll_over = u32_bytes(static_cast<std::uint32_t>(index >> 16));
    keys.rtp_tag.tag({packet.first(clear_size), roll_over}, tag);
    if (!constant_time_equal(tag, packet.subspan(clear_size))) return srtp_authentication_failed;
    const MutableByteView payload = packet.subspan(header_size, clear_size - header_size);
    keys.rtp.crypt(keys_->counter(salt, ssrc, index), payload, payload);
  }
  if (stream == nullptr) stream = streams_.add(ssrc);
  if (stream == nullptr) return srtp_too_many_streams;
  stream->rtp.mark(index);
  return packet.first(clear_size);
}

Result<MutableByteView> Receiver::unprotect_rtcp(MutableByteView packet) {
  if (packet.size() < rtcp_header_size + rtcp_overhead(profile_) || packet[0] >> 6 != 2) return srtp_malformed;
  const std::uint32_t ssrc = read_u32(packet, 4);
  const std::size_t clear_size = packet.size() - rtcp_overhead(profile_);
  // RFC 7714 s.9.2 puts the index after the tag, RFC 3711 s.3.4 before it.
  const std::size_t index_offset = keys_->gcm ? packet.size() - rtcp_index_size : clear_size;
  const std::uint32_t index_word = read_u32(packet, index_offset);
  if ((index_word & rtcp_encrypted) == 0) return srtp_malformed; // RFC 8827 s.6.5: RTCP is encrypted
  const std::uint32_t index = index_word & max_rtcp_index;
  internal::Stream* stream = streams_.find(ssrc);
  if (stream != nullptr && stream->rtcp.seen_or_too_old(index)) return srtp_replayed;

  const ByteView salt = keys_->rtcp_salt.view();
  if (keys_->gcm) {
    std::array<std::uint8_t, rtcp_header_size + rtcp_index_size> associated;
    std::memcpy(associated.data(), packet.data(), rtcp_header_size);
    std::memcpy(associated.data() + rtcp_header_size, packet.data() + index_offset, rtcp_index_size);
    const MutableByteView body = packet.subspan(rtcp_header_size, index_offset - rtcp_header_size);
    if (!keys_->gcm->rtcp.open(keys_->nonce(salt, ssrc, index), associated, body, body)) return srtp_authentication_failed;
  } else {
    internal::Keys::CtrHmac& keys = *keys_->ctr;
    const std::size_t covered = clear_size + rtcp_index_size;
    std::array<std::uint8_t, hmac_tag_size> tag;
    keys.rtcp_tag.tag({packet.first(covered)}, tag);
    if (!constant_time_equal(tag, packet.subspan(covered))) return srtp_authentication_failed;
    const MutableByteView payload = packet.subspan(rtcp_header_size, clear_size - rtcp_header_size);
    keys.rtcp.crypt(keys_->counter(salt, ssrc, index), payload, payload);
  }
  if (stream == nullptr) stream = streams_.add(ssrc);
  if (stream == nullptr) return srtp_too_many_streams;
  stream->rtcp.mark(index);
  return packet.first(clear_size);
}

} // namespace satsuma::srtp
