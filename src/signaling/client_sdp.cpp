#include "signaling/client_sdp.h"

#include <algorithm>

#include "signaling/header_extensions.h"

namespace satsuma::signaling {

namespace {

const SdpCodec* find_codec(const SdpMedia& media, std::string_view name) {
  const auto found = std::find_if(media.codecs.begin(), media.codecs.end(), [name](const SdpCodec& c) { return c.name == name; });
  return found == media.codecs.end() ? nullptr : &*found;
}

const SdpCodec* find_rtx(const SdpMedia& media, std::uint8_t payload_type) {
  const auto found = std::find_if(media.codecs.begin(), media.codecs.end(),
                                  [payload_type](const SdpCodec& c) { return c.name == "rtx" && c.associated == payload_type; });
  return found == media.codecs.end() ? nullptr : &*found;
}

std::optional<std::uint8_t> find_extension(const SdpMedia& media, std::string_view uri) {
  for (const SdpExtension& e : media.extensions)
    if (e.uri == uri) return e.id;
  return std::nullopt;
}

std::string_view codec_name(MediaKind kind) { return kind == MediaKind::audio ? "opus" : "vp8"; }

/// RFC 9143 s.7.2.1: the first m-line of the bundle that is not refused speaks for all.
Result<RemoteTransport> remote_transport(const SessionDescription& description) {
  for (const SdpMedia& media : description.media) {
    const bool bundled = std::find(description.bundle.begin(), description.bundle.end(), media.mid) != description.bundle.end();
    if (media.rejected || !media.secure_rtp || media.mid.empty() || !bundled) continue;
    if (media.ice_ufrag.empty() || media.ice_password.empty()) return sdp_no_ice_credentials;
    if (media.fingerprint.empty()) return sdp_no_fingerprint;
    RemoteTransport transport;
    transport.ice = {media.ice_ufrag, media.ice_password};
    transport.fingerprint = media.fingerprint;
    transport.setup = media.setup.value_or(SetupRole::actpass);
    transport.candidates = media.candidates;
    transport.tcp_candidates = media.tcp_candidates;
    return transport;
  }
  return sdp_not_bundled;
}

class Writer {
 public:
  Writer& operator<<(std::string_view text) {
    out_ += text;
    return *this;
  }
  Writer& operator<<(std::uint64_t value) {
    out_ += std::to_string(value);
    return *this;
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

template <class Mids>
void write_session(Writer& out, const ClientDescription& local, std::string_view setup, const Mids& mids) {
  out << "v=0\r\no=- " << local.session_id << " " << local.version << " IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE";
  for (const auto& mid : mids) out << " " << mid;
  out << "\r\na=ice-ufrag:" << local.ice.ufrag << "\r\na=ice-pwd:" << local.ice.password << "\r\na=fingerprint:sha-256 " << local.fingerprint
      << "\r\na=setup:" << setup << "\r\n";
}

void write_candidates(Writer& out, const ClientDescription& local) {
  std::uint64_t preference = 65535, foundation = 1;
  for (const TransportAddress& c : local.candidates)
    out << "a=candidate:" << foundation++ << " 1 udp " << (std::uint64_t{126} << 24) + (preference-- << 8) + 255 << " " << c.ip_text() << " " << c.port << " typ host\r\n";
  if (!local.candidates.empty()) out << "a=end-of-candidates\r\n";
}

void write_codec(Writer& out, MediaKind kind, std::uint64_t payload_type, std::optional<std::uint8_t> rtx, bool resends_sound) {
  if (kind == MediaKind::audio) {
    out << "a=rtpmap:" << payload_type << " opus/48000/2\r\n";
    if (resends_sound) out << "a=rtcp-fb:" << payload_type << " nack\r\n";
  } else {
    out << "a=rtpmap:" << payload_type << " VP8/90000\r\n";
    for (std::string_view feedback : {"ccm fir", "nack", "nack pli"}) out << "a=rtcp-fb:" << payload_type << " " << feedback << "\r\n";
    if (rtx) out << "a=rtpmap:" << std::uint64_t{*rtx} << " rtx/90000\r\na=fmtp:" << std::uint64_t{*rtx} << " apt=" << payload_type << "\r\n";
  }
  out << "a=rtcp-fb:" << payload_type << " transport-cc\r\n";
}

} // namespace

std::string write_publish_offer(std::span<const OfferedStream> streams, const ClientDescription& local) {
  Writer out;
  std::vector<std::string_view> mids;
  for (const OfferedStream& stream : streams) mids.push_back(stream.mid);
  write_session(out, local, "actpass", mids);
  for (const OfferedStream& stream : streams) {
    const bool audio = stream.kind == MediaKind::audio;
    const std::uint64_t payload_type = audio ? client_opus_payload_type : client_vp8_payload_type;
    out << (audio ? "m=audio" : "m=video") << " 9 UDP/TLS/RTP/SAVPF " << payload_type;
    if (!audio) out << " " << std::uint64_t{client_rtx_payload_type};
    out << "\r\nc=IN IP4 0.0.0.0\r\na=mid:" << stream.mid << "\r\na=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=extmap:" << std::uint64_t{client_mid_extension} << " "
        << mid_uri << "\r\na=extmap:" << std::uint64_t{client_transport_cc_extension} << " " << transport_cc_uri << "\r\na=msid:- " << stream.mid << "\r\n";
    if (audio && stream.audio_level) out << "a=extmap:" << std::uint64_t{client_audio_level_extension} << " " << audio_level_uri << "\r\n";
    write_codec(out, stream.kind, payload_type, audio ? std::nullopt : std::optional(client_rtx_payload_type), true);
    if (!stream.rids.empty()) { // their packets name them (RFC 8852)
      out << "a=extmap:" << std::uint64_t{client_rid_extension} << " " << rid_uri << "\r\na=extmap:" << std::uint64_t{client_repaired_rid_extension} << " " << repaired_rid_uri << "\r\n";
      for (const std::string& rid : stream.rids) out << "a=rid:" << rid << " send\r\n";
      out << "a=simulcast:send ";
      for (const std::string& rid : stream.rids) out << (&rid == stream.rids.data() ? "" : ";") << rid;
      out << "\r\n";
      if (&stream == streams.data()) write_candidates(out, local);
      continue;
    }
    if (!audio) out << "a=ssrc-group:FID " << std::uint64_t{stream.ssrc} << " " << std::uint64_t{stream.rtx_ssrc} << "\r\n";
    out << "a=ssrc:" << std::uint64_t{stream.ssrc} << " cname:satsuma\r\n";
    if (!audio) out << "a=ssrc:" << std::uint64_t{stream.rtx_ssrc} << " cname:satsuma\r\n";
    if (&stream == streams.data()) write_candidates(out, local);
  }
  return out.take();
}

Result<PublishAnswer> interpret_publish_answer(const SessionDescription& description, std::span<const OfferedStream> offered) {
  if (description.media.size() != offered.size()) return sdp_media_mismatch;
  PublishAnswer answer;
  SATSUMA_TRY(answer.transport, remote_transport(description));
  if (answer.transport.setup == SetupRole::actpass) return sdp_bad_setup; // RFC 8842 s.5.3: an answer decides
  bool first = true;
  for (std::size_t i = 0; i < offered.size(); ++i) {
    const SdpMedia& media = description.media[i];
    if (media.kind != offered[i].kind || (!media.rejected && media.mid != offered[i].mid)) return sdp_media_mismatch;
    PublishAnswer::Stream& stream = answer.streams.emplace_back();
    const SdpCodec* const codec = find_codec(media, codec_name(media.kind));
    const std::uint8_t own = media.kind == MediaKind::audio ? client_opus_payload_type : client_vp8_payload_type;
    stream.accepted = !media.rejected && codec && codec->payload_type == own &&
                      (media.direction == MediaDirection::recvonly || media.direction == MediaDirection::sendrecv);
    if (!stream.accepted) continue;
    if (offered[i].audio_level && find_extension(media, audio_level_uri) == client_audio_level_extension) answer.audio_level_extension = true;
    if (!offered[i].rids.empty() && find_extension(media, rid_uri) == client_rid_extension) {
      for (const std::string& rid : offered[i].rids)
        if (std::find(media.simulcast_receive.begin(), media.simulcast_receive.end(), rid) != media.simulcast_receive.end()) stream.rids.push_back(rid);
      if (!stream.rids.empty()) answer.rid_extension = true;
      if (find_extension(media, repaired_rid_uri) == client_repaired_rid_extension) answer.repaired_rid_extension = true;
    }
    const SdpCodec* const rtx = find_rtx(media, own);
    stream.retransmissions = rtx && rtx->payload_type == client_rtx_payload_type;
    if (!first) continue;
    first = false;
    answer.mid_extension = find_extension(media, mid_uri) == client_mid_extension;
    answer.transport_cc_extension = find_extension(media, transport_cc_uri) == client_transport_cc_extension;
  }
  return answer;
}

Result<SubscribeOffer> interpret_subscribe_offer(const SessionDescription& description) {
  SubscribeOffer offer;
  SATSUMA_TRY(offer.transport, remote_transport(description));
  for (const SdpMedia& media : description.media) {
    SubscribeOffer::Slot& slot = offer.slots.emplace_back();
    slot.kind = media.kind;
    slot.mid = media.mid;
    if (!media.codecs.empty()) slot.refused_payload_type = media.codecs.front().payload_type;
    const bool sends = media.direction == MediaDirection::sendonly || media.direction == MediaDirection::sendrecv;
    const bool bundled = std::find(description.bundle.begin(), description.bundle.end(), media.mid) != description.bundle.end();
    if (media.rejected || !media.secure_rtp || !media.rtcp_mux || media.kind == MediaKind::other || !sends || !bundled) continue;
    const SdpCodec* const codec = find_codec(media, codec_name(media.kind));
    if (!codec) continue;
    if (!media.fids.empty()) {
      slot.ssrc = media.fids.front().media;
      slot.rtx_ssrc = media.fids.front().retransmission;
    } else if (!media.ssrcs.empty()) {
      slot.ssrc = media.ssrcs.front();
    } else {
      continue; // a stream that is told only by its packets: no peer of ours does so
    }
    slot.payload_type = codec->payload_type;
    if (const SdpCodec* const rtx = find_rtx(media, codec->payload_type); rtx && !media.fids.empty()) slot.rtx_payload_type = rtx->payload_type;
    if (!offer.mid_extension) offer.mid_extension = find_extension(media, mid_uri);
    if (!offer.transport_cc_extension) offer.transport_cc_extension = find_extension(media, transport_cc_uri);
  }
  return offer;
}

std::string write_subscribe_answer(const SubscribeOffer& offer, const ClientDescription& local) {
  Writer out;
  std::vector<std::string_view> mids;
  for (const SubscribeOffer::Slot& slot : offer.slots)
    if (slot.payload_type) mids.push_back(slot.mid);
  write_session(out, local, "active", mids);
  for (const SubscribeOffer::Slot& slot : offer.slots) {
    const std::string_view kind = slot.kind == MediaKind::audio ? "audio" : slot.kind == MediaKind::video ? "video" : "application";
    if (!slot.payload_type) {
      if (slot.kind == MediaKind::other) out << "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n";
      else out << "m=" << kind << " 0 UDP/TLS/RTP/SAVPF " << std::uint64_t{slot.refused_payload_type} << "\r\n";
      out << "c=IN IP4 0.0.0.0\r\na=inactive\r\n";
      if (!slot.mid.empty()) out << "a=mid:" << slot.mid << "\r\n";
      continue;
    }
    out << "m=" << kind << " 9 UDP/TLS/RTP/SAVPF " << std::uint64_t{*slot.payload_type};
    if (slot.rtx_payload_type) out << " " << std::uint64_t{*slot.rtx_payload_type};
    out << "\r\nc=IN IP4 0.0.0.0\r\na=mid:" << slot.mid << "\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n";
    if (offer.mid_extension) out << "a=extmap:" << std::uint64_t{*offer.mid_extension} << " " << mid_uri << "\r\n";
    if (offer.transport_cc_extension) out << "a=extmap:" << std::uint64_t{*offer.transport_cc_extension} << " " << transport_cc_uri << "\r\n";
    write_codec(out, slot.kind, *slot.payload_type, slot.rtx_payload_type, false);
    if (&slot == offer.slots.data()) write_candidates(out, local);
  }
  return out.take();
}

} // namespace satsuma::signaling
