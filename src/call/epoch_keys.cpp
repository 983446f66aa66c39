#include "call/epoch_keys.h"

#include <algorithm>

#include "crypto/hash.h"

namespace satsuma::call {

std::optional<KeyId> KeyId::from(std::uint64_t value) {
  const bool carries_digest = (value & digest_flag) != 0;
  const std::uint64_t rest = value & ~digest_flag;
  const KeyId id{static_cast<std::uint32_t>(rest >> 20 & 0xffff), static_cast<std::uint32_t>(rest >> 8 & max_leaf_in_key_id),
                 static_cast<std::uint8_t>(rest & 0xff), carries_digest};
  if (id.context >= stream_contexts || id.value() != value) return std::nullopt;
  if (carries_digest && !is_sound(static_cast<StreamContext>(id.context))) return std::nullopt;
  return id;
}

EpochKeys::EpochKeys(sframe::CipherSuite suite, EpochKeysOptions options)
    : suite_(suite),
      options_(options),
      streams_{Stream{{}, sframe::Sender(suite, true)}, Stream{{}, sframe::Sender(suite, true)}, Stream{{}, sframe::Sender(suite, true)},
               Stream{{}, sframe::Sender(suite, true)}} {}

void EpochKeys::enter(TimePoint now, Epoch epoch, bool at_once) {
  handle_timeout(now);
  if (!held_.empty()) held_.front().expires = now + options_.overlap;
  held_.push_front({{epoch.era, epoch.epoch}, epoch.own_leaf, StreamSecrets(suite_, std::move(epoch.secret), epoch.era, epoch.epoch, std::move(epoch.leaves)),
                    sframe::Receiver(suite_, true, KeyId::digest_flag), now + options_.sender_delay, std::nullopt});
  // The epoch in which we still send may fall out here: then the sender moves with it.
  while (held_.size() > 1 + max_previous_epochs) held_.pop_back();
  if (at_once || sending_epoch() == nullptr) send_in(held_.front());
}

// Keys of streams that rest do not outlive the epoch in which they were sent.
void EpochKeys::send_in(const Held& held) {
  sending_ = held.name;
  for (Stream& stream : streams_) {
    if (stream.keyed != sending_) stream.sender.clear_key();
  }
}

// The streams forget their epoch with its key: the same era and epoch can come again, with other secrets, once a room was forgotten.
void EpochKeys::stop_sending() {
  sending_.reset();
  for (Stream& stream : streams_) {
    stream.keyed.reset();
    stream.sender.clear_key();
  }
}

void EpochKeys::clear() {
  held_.clear();
  stop_sending();
}

// Each epoch has a time of its own: in a busy room the sender follows one behind the other, neither kept back by the newest nor in it before others are.
bool EpochKeys::handle_timeout(TimePoint now) {
  bool moved = false;
  if (const auto at = move_at(); at && now >= *at) {
    send_in(*std::ranges::find_if(held_, [&](const Held& held) { return now >= held.sent_from; }));
    moved = true;
  }
  std::erase_if(held_, [&](const Held& held) { return held.expires && now >= *held.expires; });
  return moved;
}

/// When the oldest of the epochs beyond the one in which we send may be used.
std::optional<TimePoint> EpochKeys::move_at() const {
  std::optional<TimePoint> next;
  if (!sending_) return next;
  for (const Held& held : held_) {
    if (held.name == *sending_) break;
    next = held.sent_from;
  }
  return next;
}

std::optional<TimePoint> EpochKeys::next_deadline() const {
  std::optional<TimePoint> next = move_at();
  for (const Held& held : held_) {
    if (held.expires && (!next || *held.expires < *next)) next = held.expires;
  }
  return next;
}

std::optional<EpochKeys::EpochName> EpochKeys::sending() const { return sending_; }

EpochKeys::Held* EpochKeys::sending_epoch() {
  const auto found = std::ranges::find_if(held_, [&](const Held& held) { return sending_ == held.name; });
  return found == held_.end() ? nullptr : &*found;
}

Result<MutableByteView> EpochKeys::protect(TimePoint now, StreamContext context, sframe::Shell shell, ByteView frame,
                                           MutableByteView out, bool carries_digest) {
  if (static_cast<std::size_t>(context) >= stream_contexts || (carries_digest && !is_sound(context))) return frame_bad_context;
  handle_timeout(now);
  Held* held = sending_epoch();
  if (held == nullptr || held->own_leaf > max_leaf_in_key_id) return frame_no_key;
  Stream& stream = streams_[static_cast<std::size_t>(context)];
  if (stream.keyed != sending_) {
    // The base key is there once, so no counter starts anew under it, whatever happens to us.
    const auto number = static_cast<std::uint32_t>(context);
    const KeyId id{number, held->own_leaf, static_cast<std::uint8_t>(held->name.epoch)};
    const auto key = held->secrets.base_key(held->own_leaf, context);
    if (!key) return frame_no_key;
    held->secrets.destroy(held->own_leaf, context);
    stream.sender.set_key(id.value(), key->view());
    stream.keyed = sending_;
  }
  SATSUMA_TRY(const MutableByteView written, sframe::protect_frame(stream.sender, shell, frame, out, carries_digest ? KeyId::digest_flag : 0));
  last_sent_ = {held->name, context, stream.sender.next_counter() - 1, stream.sender.last_hash()};
  return written;
}

Error EpochKeys::missing_key(KeyId id) const {
  if (held_.empty()) return frame_key_not_yet;
  // The shorter way round says whether it is behind us or ahead.
  const auto behind = static_cast<std::uint8_t>(held_.front().name.epoch - id.epoch_mod_256);
  return behind != 0 && behind < 128 ? frame_key_expired : frame_key_not_yet;
}

Result<EpochKeys::Received> EpochKeys::unprotect(TimePoint now, Line& line, sframe::ShellKind shell, ByteView frame, MutableByteView out) {
  handle_timeout(now);
  auto received = open(line, shell, frame, out);
  if (received) ++counts_.opened;
  else if (received.error() == Error(sframe::sframe_replayed)) ++counts_.replayed;
  else if (received.error() == Error(frame_key_not_yet)) ++counts_.early;
  else if (received.error() == Error(frame_key_expired)) ++counts_.expired;
  else if (received.error() == Error(frame_wrong_line)) ++counts_.misplaced;
  else if (received.error() == Error(sframe::sframe_passed_over)) ++counts_.passed_over;
  else ++counts_.refused;
  return received;
}

Result<EpochKeys::Received> EpochKeys::open(Line& line, sframe::ShellKind shell, ByteView frame, MutableByteView out) {
  SATSUMA_TRY(const sframe::OpenedFrame opened, sframe::open_shell(shell, frame));
  SATSUMA_TRY(const sframe::Header header, sframe::parse_frame_header(opened));
  const auto id = KeyId::from(header.key_id);
  if (!id) return sframe::sframe_malformed;
  if (line.leaf && *line.leaf != id->leaf) return frame_wrong_line;
  const std::uint64_t stream = header.key_id & ~KeyId::digest_flag;
  if (header.counter >= sframe::FrameKeyTree::capacity) return sframe::sframe_counter_too_large; // before anything is derived for it

  // Two eras may use the same key id during their overlap: newest first, and an older one if that does not authenticate.
  std::optional<Error> failure;
  for (Held& held : held_) {
    const EpochName& epoch = held.name;
    if (static_cast<std::uint8_t>(epoch.epoch) != id->epoch_mod_256) continue;
    if (!held.secrets.has_member(id->leaf) || held.own_leaf == id->leaf) {
      if (!failure) failure = frame_bad_sender;
      continue;
    }
    const auto context = static_cast<StreamContext>(id->context);
    const bool begins = !held.receiver.has_key(stream);
    if (begins) {
      if (!line.allowance.admits(sframe::Receiver::begin_cost)) {
        failure = sframe::sframe_passed_over;
        continue;
      }
      const auto key = held.secrets.base_key(id->leaf, context);
      SATSUMA_CHECK(key.has_value()); // destroyed only once the receiver has it
      held.receiver.try_key(stream, key->view());
    }
    auto unprotected = sframe::unprotect_frame(held.receiver, line.allowance, opened, out);
    if (unprotected) {
      if (begins) held.secrets.destroy(id->leaf, context);
      return Received{unprotected->plaintext, id->leaf, context, epoch, opened.key_frame(), unprotected->header.counter, unprotected->hash,
                      id->carries_digest};
    }
    failure = unprotected.error();
  }
  if (failure) return *failure;
  return missing_key(*id);
}

} // namespace satsuma::call
