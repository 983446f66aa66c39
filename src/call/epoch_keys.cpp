#include "call/epoch_keys.h"

#include <algorithm>

#include "crypto/hash.h"

namespace satsuma::call {

std::optional<KeyId> KeyId::from(std::uint64_t value) {
  const KeyId id{static_cast<std::uint32_t>(value >> 16 & 0xffff), static_cast<std::uint32_t>(value >> 4 & max_leaf_in_key_id),
                 static_cast<std::uint8_t>(value & 0xf)};
  if (id.context >= stream_contexts || id.value() != value) return std::nullopt;
  return id;
}

SecretBytes sender_base_key(sframe::CipherSuite suite, const SecretBytes& epoch_secret, std::uint64_t era, std::uint64_t epoch,
                            std::uint32_t leaf, std::uint32_t context) {
  ByteWriter info;
  info.bytes(as_bytes("satsuma sender 1"));
  info.u64(era);
  info.u64(epoch);
  info.u32(leaf);
  info.u32(context);
  const crypto::HashAlgorithm hash = sframe::parameters(suite).hash;
  return crypto::hkdf_expand(hash, epoch_secret.view(), info.view(), crypto::hash_size(hash));
}

EpochKeys::EpochKeys(sframe::CipherSuite suite, EpochKeysOptions options)
    : suite_(suite),
      options_(options),
      streams_{Stream{{}, sframe::Sender(suite)}, Stream{{}, sframe::Sender(suite)}, Stream{{}, sframe::Sender(suite)},
               Stream{{}, sframe::Sender(suite)}} {}

void EpochKeys::enter(TimePoint now, Epoch epoch, bool at_once) {
  handle_timeout(now);
  if (!held_.empty()) held_.front().expires = now + options_.overlap;
  held_.push_front({std::move(epoch), sframe::Receiver(suite_), std::nullopt});
  // The epoch in which we still send may fall out here: then the sender moves with it.
  while (held_.size() > 1 + max_previous_epochs) held_.pop_back();
  if (at_once || sending_epoch() == nullptr) {
    const Epoch& present = held_.front().epoch;
    sending_ = EpochName{present.era, present.epoch};
    move_at_.reset();
  } else if (!move_at_) {
    move_at_ = now + options_.sender_delay; // not put off again by the next epoch: a busy room must not keep us behind
  }
}

void EpochKeys::stop_sending() {
  sending_.reset();
  move_at_.reset();
}

void EpochKeys::clear() {
  held_.clear();
  sending_.reset();
  move_at_.reset();
  for (Stream& stream : streams_) stream = {std::nullopt, sframe::Sender(suite_)};
}

bool EpochKeys::handle_timeout(TimePoint now) {
  bool moved = false;
  if (move_at_ && now >= *move_at_ && !held_.empty()) {
    const Epoch& present = held_.front().epoch;
    sending_ = EpochName{present.era, present.epoch};
    move_at_.reset();
    moved = true;
  }
  std::erase_if(held_, [&](const Held& held) { return held.expires && now >= *held.expires; });
  return moved;
}

std::optional<TimePoint> EpochKeys::next_deadline() const {
  std::optional<TimePoint> next = move_at_;
  for (const Held& held : held_) {
    if (held.expires && (!next || *held.expires < *next)) next = held.expires;
  }
  return next;
}

std::optional<EpochKeys::EpochName> EpochKeys::sending() const { return sending_; }

const EpochKeys::Held* EpochKeys::sending_epoch() const {
  const auto found = std::ranges::find_if(
      held_, [&](const Held& held) { return sending_ && sending_->era == held.epoch.era && sending_->epoch == held.epoch.epoch; });
  return found == held_.end() ? nullptr : &*found;
}

Result<MutableByteView> EpochKeys::protect(TimePoint now, StreamContext context, sframe::Shell shell, ByteView frame,
                                           MutableByteView out) {
  if (static_cast<std::size_t>(context) >= stream_contexts) return frame_bad_context;
  handle_timeout(now);
  const Held* held = sending_epoch();
  if (held == nullptr) return frame_no_key;
  const Epoch& epoch = held->epoch;
  if (epoch.own_leaf > max_leaf_in_key_id) return frame_no_key;
  Stream& stream = streams_[static_cast<std::size_t>(context)];
  if (stream.keyed != sending_) {
    // (era, epoch) only ever goes forward, so no key comes twice and the counter may start anew.
    const auto number = static_cast<std::uint32_t>(context);
    const KeyId id{number, epoch.own_leaf, static_cast<std::uint8_t>(epoch.epoch % 16)};
    stream.sender.set_key(id.value(), sender_base_key(suite_, epoch.secret, epoch.era, epoch.epoch, epoch.own_leaf, number).view());
    stream.keyed = sending_;
  }
  return sframe::protect_frame(stream.sender, shell, frame, out);
}

Error EpochKeys::missing_key(KeyId id) const {
  if (held_.empty()) return frame_key_not_yet;
  // Epochs behind the present one by no more than what we would have kept are over; all other distances are ahead of us.
  const auto present = static_cast<std::uint8_t>(held_.front().epoch.epoch % 16);
  const auto behind = static_cast<std::uint8_t>((present - id.epoch_mod_16) & 0xf);
  if (behind != 0 && behind <= max_previous_epochs) return frame_key_expired;
  return frame_key_not_yet;
}

Result<EpochKeys::Received> EpochKeys::unprotect(TimePoint now, sframe::ShellKind shell, ByteView frame, MutableByteView out) {
  handle_timeout(now);
  SATSUMA_TRY(const sframe::OpenedFrame opened, sframe::open_shell(shell, frame));
  SATSUMA_TRY(const sframe::Header header, sframe::parse_frame_header(opened));
  const auto id = KeyId::from(header.key_id);
  if (!id) return sframe::sframe_malformed;

  // Two eras may use the same key id during their overlap: newest first, and an older one if that does not authenticate.
  std::optional<Error> failure;
  for (Held& held : held_) {
    const Epoch& epoch = held.epoch;
    if (epoch.epoch % 16 != id->epoch_mod_16) continue;
    if (!epoch.leaves.contains(id->leaf) || epoch.own_leaf == id->leaf) {
      if (!failure) failure = frame_bad_sender;
      continue;
    }
    if (!held.receiver.has_key(id->value())) {
      const SecretBytes key = sender_base_key(suite_, epoch.secret, epoch.era, epoch.epoch, id->leaf, id->context);
      SATSUMA_TRY_VOID(held.receiver.add_key(id->value(), key.view()));
    }
    auto unprotected = sframe::unprotect_frame(held.receiver, opened, out);
    if (unprotected) {
      return Received{unprotected->plaintext, id->leaf, static_cast<StreamContext>(id->context), {epoch.era, epoch.epoch}, opened.key_frame()};
    }
    failure = unprotected.error();
  }
  if (failure) return *failure;
  return missing_key(*id);
}

} // namespace satsuma::call
