#include "mls/group/message_protection.h"

#include <algorithm>

namespace satsuma::mls {

namespace {

RatchetType ratchet_of(ContentType type) { return type == ContentType::application ? RatchetType::application : RatchetType::handshake; }

// SenderDataAAD, s.6.3.2, and the beginning of PrivateContentAAD, s.6.3.1.
ByteWriter message_header(const PrivateMessage& message) {
  ByteWriter writer;
  codec::write_opaque(writer, message.group_id);
  writer.u64(message.epoch);
  writer.u8(static_cast<std::uint8_t>(message.content_type));
  return writer;
}

Bytes content_associated_data(const PrivateMessage& message) {
  ByteWriter writer = message_header(message);
  codec::write_opaque(writer, message.authenticated_data);
  return std::move(writer).take();
}

SecretBytes guarded_nonce(const MessageKey& key, const std::array<std::uint8_t, 4>& reuse_guard) {
  SecretBytes nonce = key.nonce.clone();
  for (std::size_t i = 0; i < reuse_guard.size(); ++i) nonce.mutable_view()[i] ^= reuse_guard[i];
  return nonce;
}

Bytes seal(const SuiteParameters& suite, ByteView key, ByteView nonce, ByteView associated_data, ByteView plaintext) {
  Bytes out(plaintext.size() + crypto::aead_tag_size);
  crypto::AeadKey(suite.aead, key).seal(nonce, associated_data, plaintext, out);
  return out;
}

Result<SecretBytes> open(const SuiteParameters& suite, ByteView key, ByteView nonce, ByteView associated_data, ByteView ciphertext) {
  if (ciphertext.size() < crypto::aead_tag_size) return mls_private_message_invalid;
  SecretBytes out(ciphertext.size() - crypto::aead_tag_size);
  if (!crypto::AeadKey(suite.aead, key).open(nonce, associated_data, ciphertext, out.mutable_view())) return mls_decryption_failed;
  return out;
}

} // namespace

Bytes compute_membership_tag(const SuiteParameters& suite, ByteView membership_key, const AuthenticatedContent& content, const GroupContext& context) {
  // AuthenticatedContentTBM: what was signed, then the signature and the confirmation tag.
  ByteWriter auth;
  content.auth.write(auth, content.content.type());
  return crypto::hmac(suite.hash, membership_key, {content.to_be_signed(context), auth.view()});
}

PublicMessage protect_public(const SuiteParameters& suite, ByteView membership_key, const AuthenticatedContent& content, const GroupContext& context) {
  PublicMessage message{content.content, content.auth, {}};
  if (content.content.sender.type == SenderType::member) message.membership_tag = compute_membership_tag(suite, membership_key, content, context);
  return message;
}

Result<AuthenticatedContent> unprotect_public(const SuiteParameters& suite, ByteView membership_key, const PublicMessage& message, const GroupContext& context) {
  if (message.content.type() == ContentType::application) return mls_content_unexpected;
  AuthenticatedContent content = message.authenticated_content();
  if (message.content.sender.type == SenderType::member &&
      !constant_time_equal(message.membership_tag, compute_membership_tag(suite, membership_key, content, context))) {
    return mls_membership_tag_mismatch;
  }
  return content;
}

MessageKey sender_data_key(const SuiteParameters& suite, ByteView sender_data_secret, ByteView ciphertext) {
  const ByteView sample = ciphertext.first(std::min(ciphertext.size(), suite.hash_size()));
  return {expand_with_label(suite, sender_data_secret, "key", sample, crypto::aead_key_size(suite.aead)),
          expand_with_label(suite, sender_data_secret, "nonce", sample, crypto::aead_nonce_size)};
}

Result<PrivateMessage> protect_private(const SuiteParameters& suite, ByteView sender_data_secret, SecretTree& keys, const AuthenticatedContent& content,
                                       std::size_t padding, RandomSource& random) {
  if (content.content.sender.type != SenderType::member || content.wire_format != WireFormat::private_message) return mls_content_unexpected;
  const ContentType type = content.content.type();
  PrivateMessage message{content.content.group_id, content.content.epoch, type, content.content.authenticated_data, {}, {}};

  ByteWriter plaintext;
  write_content(plaintext, content.content.content);
  content.auth.write(plaintext, type);
  while (padding != 0 && plaintext.size() % padding != 0) plaintext.u8(0);

  SenderData sender{content.content.sender.leaf(), 0, {}};
  random.fill(sender.reuse_guard);
  SATSUMA_TRY(const SecretTree::Next next, keys.take_next(sender.leaf, ratchet_of(type)));
  sender.generation = next.generation;
  message.ciphertext =
      seal(suite, next.key.key.view(), guarded_nonce(next.key, sender.reuse_guard).view(), content_associated_data(message), plaintext.view());
  wipe(plaintext.mutable_view());

  ByteWriter sender_data;
  sender_data.u32(sender.leaf.value);
  sender_data.u32(sender.generation);
  sender_data.bytes(sender.reuse_guard);
  const MessageKey key = sender_data_key(suite, sender_data_secret, message.ciphertext);
  message.encrypted_sender_data = seal(suite, key.key.view(), key.nonce.view(), message_header(message).view(), sender_data.view());
  return message;
}

Result<SenderData> open_sender_data(const SuiteParameters& suite, ByteView sender_data_secret, const PrivateMessage& message) {
  const MessageKey key = sender_data_key(suite, sender_data_secret, message.ciphertext);
  SATSUMA_TRY(const SecretBytes plaintext,
              open(suite, key.key.view(), key.nonce.view(), message_header(message).view(), message.encrypted_sender_data));
  ByteReader reader(plaintext.view());
  SenderData sender;
  SATSUMA_TRY(sender.leaf, read_leaf_index(reader));
  SATSUMA_TRY(sender.generation, reader.u32());
  SATSUMA_TRY(const ByteView guard, reader.bytes(sender.reuse_guard.size()));
  std::ranges::copy(guard, sender.reuse_guard.begin());
  SATSUMA_TRY_VOID(reader.expect_end());
  return sender;
}

Result<AuthenticatedContent> unprotect_private(const SuiteParameters& suite, ByteView sender_data_secret, SecretTree& keys, const PrivateMessage& message,
                                              FurtherProposalTypes further) {
  SATSUMA_TRY(const SenderData sender, open_sender_data(suite, sender_data_secret, message));
  const RatchetType type = ratchet_of(message.content_type);
  SATSUMA_TRY(const MessageKey* const key, keys.find(sender.leaf, type, sender.generation));
  SATSUMA_TRY(const SecretBytes plaintext,
              open(suite, key->key.view(), guarded_nonce(*key, sender.reuse_guard).view(), content_associated_data(message), message.ciphertext));
  keys.consume(sender.leaf, type, sender.generation);

  AuthenticatedContent content;
  content.wire_format = WireFormat::private_message;
  content.content.group_id = message.group_id;
  content.content.epoch = message.epoch;
  content.content.sender = {SenderType::member, sender.leaf.value};
  content.content.authenticated_data = message.authenticated_data;
  ByteReader reader(plaintext.view());
  SATSUMA_TRY(content.content.content, parse_content(reader, message.content_type, further));
  SATSUMA_TRY(content.auth, FramedContentAuthData::parse(reader, message.content_type));
  // s.6.3.1: the padding is zeros and nothing else.
  if (std::ranges::any_of(reader.rest(), [](std::uint8_t byte) { return byte != 0; })) return mls_padding_invalid;
  return content;
}

} // namespace satsuma::mls
