#include "mls/wire/message.h"

namespace satsuma::mls {

Result<Sender> Sender::parse(ByteReader& reader) {
  Sender sender;
  SATSUMA_TRY(const std::uint8_t type, reader.u8());
  if (type < 1 || type > 4) return mls_enum_invalid;
  sender.type = static_cast<SenderType>(type);
  if (sender.type == SenderType::member || sender.type == SenderType::external) {
    SATSUMA_TRY(sender.index, reader.u32());
  }
  return sender;
}

void Sender::write(ByteWriter& writer) const {
  writer.u8(static_cast<std::uint8_t>(type));
  if (type == SenderType::member || type == SenderType::external) writer.u32(index);
}

Result<Content> parse_content(ByteReader& reader, ContentType type, FurtherProposalTypes further) {
  switch (type) {
    case ContentType::application: {
      SATSUMA_TRY(Bytes data, codec::read_bytes(reader));
      return Content(ApplicationData{std::move(data)});
    }
    case ContentType::proposal: {
      SATSUMA_TRY(Proposal proposal, Proposal::parse(reader, further));
      return Content(std::move(proposal));
    }
    case ContentType::commit: {
      SATSUMA_TRY(Commit commit, Commit::parse(reader, further));
      return Content(std::move(commit));
    }
  }
  return mls_enum_invalid;
}

void write_content(ByteWriter& writer, const Content& content) {
  if (const auto* application = std::get_if<ApplicationData>(&content)) {
    codec::write_opaque(writer, application->data);
  } else if (const auto* proposal = std::get_if<Proposal>(&content)) {
    proposal->write(writer);
  } else if (const auto* commit = std::get_if<Commit>(&content)) {
    commit->write(writer);
  }
}

Result<FramedContent> FramedContent::parse(ByteReader& reader, FurtherProposalTypes further) {
  FramedContent content;
  SATSUMA_TRY(content.group_id, codec::read_bytes(reader));
  SATSUMA_TRY(content.epoch, reader.u64());
  SATSUMA_TRY(content.sender, Sender::parse(reader));
  SATSUMA_TRY(content.authenticated_data, codec::read_bytes(reader));
  SATSUMA_TRY(const std::uint8_t type, reader.u8());
  SATSUMA_TRY(content.content, parse_content(reader, static_cast<ContentType>(type), further));
  return content;
}

void FramedContent::write(ByteWriter& writer) const {
  codec::write_opaque(writer, group_id);
  writer.u64(epoch);
  sender.write(writer);
  codec::write_opaque(writer, authenticated_data);
  writer.u8(static_cast<std::uint8_t>(type()));
  write_content(writer, content);
}

Result<FramedContentAuthData> FramedContentAuthData::parse(ByteReader& reader, ContentType type) {
  FramedContentAuthData auth;
  SATSUMA_TRY(auth.signature, codec::read_bytes(reader));
  if (type == ContentType::commit) {
    SATSUMA_TRY(auth.confirmation_tag, codec::read_bytes(reader));
  }
  return auth;
}

void FramedContentAuthData::write(ByteWriter& writer, ContentType type) const {
  codec::write_opaque(writer, signature);
  if (type == ContentType::commit) codec::write_opaque(writer, confirmation_tag);
}

Result<AuthenticatedContent> AuthenticatedContent::parse(ByteReader& reader) {
  AuthenticatedContent content;
  SATSUMA_TRY(const std::uint16_t format, reader.u16());
  if (format != 1 && format != 2) return mls_wire_format_unknown;
  content.wire_format = static_cast<WireFormat>(format);
  SATSUMA_TRY(content.content, FramedContent::parse(reader));
  SATSUMA_TRY(content.auth, FramedContentAuthData::parse(reader, content.content.type()));
  return content;
}

void AuthenticatedContent::write(ByteWriter& writer) const {
  writer.u16(static_cast<std::uint16_t>(wire_format));
  content.write(writer);
  auth.write(writer, content.type());
}

Bytes AuthenticatedContent::to_be_signed(const GroupContext& context) const {
  ByteWriter writer;
  writer.u16(protocol_version_mls10);
  writer.u16(static_cast<std::uint16_t>(wire_format));
  content.write(writer);
  if (content.sender.type == SenderType::member || content.sender.type == SenderType::new_member_commit) context.write(writer);
  return std::move(writer).take();
}

Result<void> AuthenticatedContent::sign(const SuiteParameters& suite, ByteView private_key, const GroupContext& context) {
  SATSUMA_TRY(auth.signature, sign_with_label(suite, private_key, "FramedContentTBS", to_be_signed(context)));
  return {};
}

Result<void> AuthenticatedContent::verify_signature(const SuiteParameters& suite, ByteView public_key, const GroupContext& context) const {
  return verify_with_label(suite, public_key, "FramedContentTBS", to_be_signed(context), auth.signature);
}

Result<PublicMessage> PublicMessage::parse(ByteReader& reader, FurtherProposalTypes further) {
  PublicMessage message;
  SATSUMA_TRY(message.content, FramedContent::parse(reader, further));
  SATSUMA_TRY(message.auth, FramedContentAuthData::parse(reader, message.content.type()));
  if (message.content.sender.type == SenderType::member) {
    SATSUMA_TRY(message.membership_tag, codec::read_bytes(reader));
  }
  return message;
}

void PublicMessage::write(ByteWriter& writer) const {
  content.write(writer);
  auth.write(writer, content.type());
  if (content.sender.type == SenderType::member) codec::write_opaque(writer, membership_tag);
}

Result<PrivateMessage> PrivateMessage::parse(ByteReader& reader) {
  PrivateMessage message;
  SATSUMA_TRY(message.group_id, codec::read_bytes(reader));
  SATSUMA_TRY(message.epoch, reader.u64());
  SATSUMA_TRY(const std::uint8_t type, reader.u8());
  if (type < 1 || type > 3) return mls_enum_invalid;
  message.content_type = static_cast<ContentType>(type);
  SATSUMA_TRY(message.authenticated_data, codec::read_bytes(reader));
  SATSUMA_TRY(message.encrypted_sender_data, codec::read_bytes(reader));
  SATSUMA_TRY(message.ciphertext, codec::read_bytes(reader));
  return message;
}

void PrivateMessage::write(ByteWriter& writer) const {
  codec::write_opaque(writer, group_id);
  writer.u64(epoch);
  writer.u8(static_cast<std::uint8_t>(content_type));
  codec::write_opaque(writer, authenticated_data);
  codec::write_opaque(writer, encrypted_sender_data);
  codec::write_opaque(writer, ciphertext);
}

namespace {

template <class T>
Result<MLSMessage> parse_body(ByteReader& reader) {
  SATSUMA_TRY(T body, T::parse(reader));
  return MLSMessage{std::move(body)};
}

} // namespace

Result<MLSMessage> MLSMessage::decode(ByteView bytes, FurtherProposalTypes further) {
  ByteReader reader(bytes);
  SATSUMA_TRY(MLSMessage message, parse(reader, further));
  SATSUMA_TRY_VOID(reader.expect_end());
  return message;
}

Result<MLSMessage> MLSMessage::parse(ByteReader& reader, FurtherProposalTypes further) {
  SATSUMA_TRY(const std::uint16_t version, reader.u16());
  if (version != protocol_version_mls10) return mls_version_unsupported;
  SATSUMA_TRY(const std::uint16_t format, reader.u16());
  switch (static_cast<WireFormat>(format)) {
    case WireFormat::public_message: {
      SATSUMA_TRY(PublicMessage body, PublicMessage::parse(reader, further));
      return MLSMessage{std::move(body)};
    }
    case WireFormat::private_message: return parse_body<PrivateMessage>(reader);
    case WireFormat::welcome: return parse_body<Welcome>(reader);
    case WireFormat::group_info: return parse_body<GroupInfo>(reader);
    case WireFormat::key_package: return parse_body<KeyPackage>(reader);
  }
  return mls_wire_format_unknown;
}

void MLSMessage::write(ByteWriter& writer) const {
  writer.u16(protocol_version_mls10);
  writer.u16(static_cast<std::uint16_t>(wire_format()));
  std::visit([&writer](const auto& value) { value.write(writer); }, body);
}

} // namespace satsuma::mls
