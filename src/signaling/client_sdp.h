#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "signaling/sdp.h"

/// Session descriptions from the client's side: what a native participant offers and answers, and what it reads of a server's descriptions. Peers other
/// than ours are read too, as far as they bundle everything on one transport.
namespace satsuma::signaling {

/// The peer's end of a connection.
struct RemoteTransport {
  IceDescription ice;
  std::string fingerprint;
  SetupRole setup = SetupRole::passive;        ///< the peer's part in DTLS
  std::vector<TransportAddress> candidates;    ///< UDP, as the peer listed them
  std::vector<TransportAddress> tcp_candidates; ///< those to connect to by TCP (RFC 6544, passive)
};

struct ClientDescription {
  IceDescription ice;
  std::string fingerprint;
  std::uint64_t session_id = 0;
  std::uint64_t version = 0;
  /// Ours. A lite server has no use for them, since it learns where we are from our checks.
  std::vector<TransportAddress> candidates = {};
};

/// A stream that we offer to send.
struct OfferedStream {
  MediaKind kind = MediaKind::audio;
  std::string mid;
  std::uint32_t ssrc = 0;
  std::uint32_t rtx_ssrc = 0; ///< video only
  bool audio_level = false;   ///< audio only: the server may know how loud it is (RFC 6464)
  /// Video only: it is sent in several sizes at once (RFC 8853), of rising quality; at most max_simulcast_streams.
  std::vector<std::string> rids = {};
};

// Ours to choose in our offers.
inline constexpr std::uint8_t client_opus_payload_type = 111;
inline constexpr std::uint8_t client_vp8_payload_type = 96;
inline constexpr std::uint8_t client_rtx_payload_type = 97;
inline constexpr std::uint8_t client_mid_extension = 1;
inline constexpr std::uint8_t client_transport_cc_extension = 2;
inline constexpr std::uint8_t client_audio_level_extension = 3;
inline constexpr std::uint8_t client_rid_extension = 4;
inline constexpr std::uint8_t client_repaired_rid_extension = 5;

/// sendonly m-lines, one for each stream, in their order.
std::string write_publish_offer(std::span<const OfferedStream> streams, const ClientDescription& local);

struct PublishAnswer {
  RemoteTransport transport;
  struct Stream {
    bool accepted = false;
    bool retransmissions = false;
    std::vector<std::string> rids = {}; ///< those of the offered that are taken; empty: one stream
  };
  std::vector<Stream> streams; ///< one for each that was offered
  bool mid_extension = false;
  bool transport_cc_extension = false;
  bool audio_level_extension = false;
  bool rid_extension = false;
  bool repaired_rid_extension = false;
};
/// sdp_media_mismatch unless the m-lines are those of the offer.
Result<PublishAnswer> interpret_publish_answer(const SessionDescription& description, std::span<const OfferedStream> offered);

/// What a server offers to send. Slots of kinds or codecs that we cannot take have no payload type, and are refused by the answer.
struct SubscribeOffer {
  RemoteTransport transport;
  struct Slot {
    MediaKind kind = MediaKind::other;
    std::string mid;
    std::uint8_t refused_payload_type = 0;
    std::optional<std::uint8_t> payload_type;
    std::optional<std::uint8_t> rtx_payload_type;
    std::uint32_t ssrc = 0;
    std::uint32_t rtx_ssrc = 0;
  };
  std::vector<Slot> slots;
  std::optional<std::uint8_t> mid_extension;
  std::optional<std::uint8_t> transport_cc_extension;
};
Result<SubscribeOffer> interpret_subscribe_offer(const SessionDescription& description);
std::string write_subscribe_answer(const SubscribeOffer& offer, const ClientDescription& local);

} // namespace satsuma::signaling
