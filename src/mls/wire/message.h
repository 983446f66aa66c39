#pragma once

#include "mls/wire/group_info.h"

/// Framing, RFC 9420 s.6.
namespace satsuma::mls {

enum class WireFormat : std::uint16_t { public_message = 1, private_message = 2, welcome = 3, group_info = 4, key_package = 5 };
enum class ContentType : std::uint8_t { application = 1, proposal = 2, commit = 3 };
enum class SenderType : std::uint8_t { member = 1, external = 2, new_member_proposal = 3, new_member_commit = 4 };

struct Sender {
  SenderType type = SenderType::member;
  std::uint32_t index = 0; ///< the leaf of a member; the place in external_senders of an external one

  LeafIndex leaf() const { return {index}; }
  static Result<Sender> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const Sender&, const Sender&) = default;
};

struct ApplicationData {
  Bytes data;
  friend bool operator==(const ApplicationData&, const ApplicationData&) = default;
};

using Content = std::variant<ApplicationData, Proposal, Commit>;
Result<Content> parse_content(ByteReader& reader, ContentType type, FurtherProposalTypes further = {});
void write_content(ByteWriter& writer, const Content& content);

struct FramedContent {
  GroupId group_id;
  Epoch epoch = 0;
  Sender sender;
  Bytes authenticated_data;
  Content content;

  ContentType type() const { return static_cast<ContentType>(content.index() + 1); }
  static Result<FramedContent> parse(ByteReader& reader, FurtherProposalTypes further = {});
  void write(ByteWriter& writer) const;
  friend bool operator==(const FramedContent&, const FramedContent&) = default;
};

struct FramedContentAuthData {
  Bytes signature;
  Bytes confirmation_tag; ///< commits only

  static Result<FramedContentAuthData> parse(ByteReader& reader, ContentType type);
  void write(ByteWriter& writer, ContentType type) const;
  friend bool operator==(const FramedContentAuthData&, const FramedContentAuthData&) = default;
};

struct AuthenticatedContent {
  WireFormat wire_format = WireFormat::public_message;
  FramedContent content;
  FramedContentAuthData auth;

  static Result<AuthenticatedContent> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  /// FramedContentTBS, s.6.1. `context` takes part for members and for joiners by external commit.
  Bytes to_be_signed(const GroupContext& context) const;
  Result<void> sign(const SuiteParameters& suite, ByteView private_key, const GroupContext& context);
  Result<void> verify_signature(const SuiteParameters& suite, ByteView public_key, const GroupContext& context) const;
  friend bool operator==(const AuthenticatedContent&, const AuthenticatedContent&) = default;
};

struct PublicMessage {
  FramedContent content;
  FramedContentAuthData auth;
  Bytes membership_tag; ///< members' only

  AuthenticatedContent authenticated_content() const { return {WireFormat::public_message, content, auth}; }
  static Result<PublicMessage> parse(ByteReader& reader, FurtherProposalTypes further = {});
  void write(ByteWriter& writer) const;
  friend bool operator==(const PublicMessage&, const PublicMessage&) = default;
};

struct PrivateMessage {
  GroupId group_id;
  Epoch epoch = 0;
  ContentType content_type = ContentType::application;
  Bytes authenticated_data;
  Bytes encrypted_sender_data;
  Bytes ciphertext;

  static Result<PrivateMessage> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const PrivateMessage&, const PrivateMessage&) = default;
};

/// Whatever MLS sends. `decode` rejects trailing bytes.
struct MLSMessage {
  std::variant<PublicMessage, PrivateMessage, Welcome, GroupInfo, KeyPackage> body;

  WireFormat wire_format() const { return static_cast<WireFormat>(body.index() + 1); }
  template <class T>
  const T* as() const { return std::get_if<T>(&body); }

  /// Proposals in it may be of the `further` types besides the RFC's.
  static Result<MLSMessage> parse(ByteReader& reader, FurtherProposalTypes further = {});
  void write(ByteWriter& writer) const;
  static Result<MLSMessage> decode(ByteView bytes, FurtherProposalTypes further = {});
  /// mls_wire_format_unexpected when it is a message of another kind.
  template <class T>
  static Result<T> decode_as(ByteView bytes, FurtherProposalTypes further = {});
  Bytes encode() const { return codec::encode(*this); }
  friend bool operator==(const MLSMessage&, const MLSMessage&) = default;
};

inline constexpr ErrorCode mls_wire_format_unexpected{"mls_wire_format_unexpected", ErrorKind::peer};

template <class T>
Result<T> MLSMessage::decode_as(ByteView bytes, FurtherProposalTypes further) {
  SATSUMA_TRY(MLSMessage message, decode(bytes, further));
  T* body = std::get_if<T>(&message.body);
  if (body == nullptr) return mls_wire_format_unexpected;
  return std::move(*body);
}

} // namespace satsuma::mls
