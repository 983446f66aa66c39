#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/transport_address.h"
#include "signaling/codec.h"
#include "signaling/source.h"

/// Session descriptions (RFC 8866, RFC 8829) as browsers write them, cut down to what docs/protocol.md, section 6 needs.
/// Three stages: text → SessionDescription (well formed, bounded) → PublishOffer or SubscribeAnswer (what we can work with).
/// What goes out is written from templates; of the peer's text only checked tokens and numbers come back to it.
namespace satsuma::signaling {

inline constexpr ErrorCode sdp_too_large{"sdp_too_large", ErrorKind::peer};
inline constexpr ErrorCode sdp_malformed{"sdp_malformed", ErrorKind::peer};
inline constexpr ErrorCode sdp_too_many_items{"sdp_too_many_items", ErrorKind::peer};
inline constexpr ErrorCode sdp_no_ice_credentials{"sdp_no_ice_credentials", ErrorKind::peer};
inline constexpr ErrorCode sdp_no_fingerprint{"sdp_no_fingerprint", ErrorKind::peer};
inline constexpr ErrorCode sdp_not_bundled{"sdp_not_bundled", ErrorKind::peer};
inline constexpr ErrorCode sdp_bad_setup{"sdp_bad_setup", ErrorKind::peer};
inline constexpr ErrorCode sdp_media_mismatch{"sdp_media_mismatch", ErrorKind::peer};
inline constexpr ErrorCode sdp_nothing_accepted{"sdp_nothing_accepted", ErrorKind::peer};

// A browser's description of the whole pool has about 60 KB of text at most; the frame that carries it has 64 KiB.
inline constexpr std::size_t max_sdp_size = 64 * 1024;
inline constexpr std::size_t max_sdp_line = 2048;
inline constexpr std::size_t max_sdp_media = 128;
inline constexpr std::size_t max_sdp_codecs = 64;      ///< of an m-line
inline constexpr std::size_t max_sdp_extensions = 32;  ///< of an m-line
inline constexpr std::size_t max_sdp_ssrcs = 16;       ///< of an m-line
/// Streams of one simulcast m-line (RFC 8853); further ones are not taken.
inline constexpr std::size_t max_simulcast_streams = 3;
inline constexpr std::size_t max_rid_size = 16;
inline constexpr std::size_t max_sdp_candidates = 16;  ///< kept of an m-line

// ---- the text, parsed

enum class MediaKind : std::uint8_t { audio, video, other };
enum class MediaDirection : std::uint8_t { sendrecv, sendonly, recvonly, inactive };
enum class SetupRole : std::uint8_t { actpass, active, passive };

struct SdpCodec {
  std::uint8_t payload_type = 0;
  std::string name; ///< lower case; empty when the m-line names a payload type without an rtpmap
  std::uint32_t clock_rate = 0;
  std::uint32_t channels = 1;
  std::optional<std::uint8_t> associated; ///< fmtp apt= (RFC 4588 s.8.6)
  std::uint8_t profile = 0;               ///< fmtp profile-id= (RFC 9628 s.6) or profile= (AV1): both mean 0 when left out
  std::uint8_t packetization_mode = 0;    ///< fmtp, RFC 6184 s.8.1
  bool constrained_baseline = false;      ///< fmtp profile-level-id=42xxyy with the second constraint bit (RFC 6184 s.8.1)
  std::optional<std::uint8_t> redundant;  ///< fmtp of RED, a/a/...: the one payload type that it carries (RFC 2198 s.5)
  bool nack = false;
  bool nack_pli = false;
  bool transport_cc = false;
};

struct SdpExtension {
  std::uint8_t id = 0;
  MediaDirection direction = MediaDirection::sendrecv;
  std::string uri;
};

/// RFC 5888 / RFC 5576 s.4.2, semantics FID: the second stream repeats what the first lost.
struct SdpFid {
  std::uint32_t media = 0;
  std::uint32_t retransmission = 0;
};

struct SdpMedia {
  MediaKind kind = MediaKind::other;
  bool rejected = false; ///< port 0, and not bundle-only
  bool secure_rtp = false; ///< UDP/TLS/RTP/SAVPF
  std::string mid;
  MediaDirection direction = MediaDirection::sendrecv;
  std::string ice_ufrag;   ///< the session's where the m-line has none; so are the next three
  std::string ice_password;
  std::string fingerprint; ///< of sha-256, "AB:CD:…"
  std::optional<SetupRole> setup;
  bool rtcp_mux = false;
  bool rtcp_reduced_size = false;
  std::vector<SdpCodec> codecs; ///< in the order of preference
  std::vector<SdpExtension> extensions;
  std::vector<std::uint32_t> ssrcs; ///< in the order of appearance
  std::vector<SdpFid> fids;
  std::vector<std::string> send_rids;      ///< a=rid:<id> send (RFC 8851)
  std::vector<std::string> simulcast_send; ///< a=simulcast:send, in its order; of alternatives the first, paused ones too
  std::vector<std::string> simulcast_receive; ///< a=simulcast:recv, likewise
  std::vector<TransportAddress> candidates; ///< UDP, of the first component; names (mDNS) and what is beyond max_sdp_candidates are passed over
  std::vector<TransportAddress> tcp_candidates; ///< RFC 6544, passive; so many at most as well
};

struct SessionDescription {
  std::vector<SdpMedia> media;
  std::vector<std::string> bundle; ///< mids of the first BUNDLE group
  bool mixed_extensions = false;   ///< a=extmap-allow-mixed, for the session or an m-line: two-byte header extensions are read (RFC 8285 s.6)
};

/// Attributes that are not known are passed over, as are rtcp-fb and fmtp for payload types that the m-line does not name (Firefox
/// writes such lines). Everything else that does not fit the grammar is sdp_malformed.
Result<SessionDescription> parse_sdp(std::string_view text);

// ---- what both connections need

struct IceDescription {
  std::string ufrag;
  std::string password;
  friend bool operator==(const IceDescription&, const IceDescription&) = default;
};

/// Our side of a connection.
struct LocalDescription {
  IceDescription ice;
  std::string fingerprint; ///< sha-256
  std::span<const TransportAddress> candidates; ///< UDP, best first
  std::uint64_t session_id = 0; ///< the same for all descriptions of a connection; at most 2^63 - 1
  std::uint64_t version = 0;    ///< rises
  std::span<const TransportAddress> tcp_candidates = {}; ///< RFC 6544, passive: the client connects; best first
};

// ---- publishing: the client offers

struct PublishedCodec {
  Codec codec = Codec::opus;
  std::uint8_t payload_type = 0;
  std::optional<std::uint8_t> rtx_payload_type;
  bool transport_cc = false;
  friend bool operator==(const PublishedCodec&, const PublishedCodec&) = default;
};

struct PublishedMedia {
  MediaKind kind = MediaKind::other;
  std::string mid;
  std::optional<Source> source; ///< empty: the m-line is refused
  /// In the offer's order, each of ours once; at least one if there is a source. The sender may change among them from one packet to the next.
  std::vector<PublishedCodec> codecs;
  /// With simulcast the streams, of rising quality; else empty.
  std::vector<std::string> rids;
  std::optional<std::uint32_t> ssrc; ///< as far as the offer says
  std::optional<std::uint32_t> rtx_ssrc;
  std::uint8_t refused_payload_type = 0; ///< for the answer's m-line, which names one in any case
  std::optional<std::uint8_t> mid_extension;
  std::optional<std::uint8_t> transport_cc_extension;
  std::optional<std::uint8_t> rid_extension;
  std::optional<std::uint8_t> repaired_rid_extension;
  std::optional<std::uint8_t> dependency_descriptor_extension;
  std::optional<std::uint8_t> audio_level_extension; ///< of the microphone, when its user lets the server know who speaks
  /// Of sound: what is lost may be asked for (RFC 4585 s.4.2), and comes again as the packet that it was.
  bool resends_sound = false;

  /// The one that is sent with this payload type, as itself or as a retransmission.
  const PublishedCodec* find(std::uint8_t payload_type) const;
  bool retransmissions() const;
  friend bool operator==(const PublishedMedia&, const PublishedMedia&) = default;
};

struct PublishOffer {
  IceDescription ice;
  std::string fingerprint;
  std::vector<PublishedMedia> media;
  bool mixed_extensions = false;
};

/// The first audio m-line is the microphone, the second the screen's audio; the first video m-line the camera, the second the screen.
/// Those that we have no use or no codec for are refused; if that leaves none: sdp_nothing_accepted.
Result<PublishOffer> interpret_publish_offer(const SessionDescription& description);
std::string write_publish_answer(const PublishOffer& offer, const LocalDescription& local);

// ---- subscribing: the server offers

// Ours to choose, since we offer.
constexpr std::uint8_t slot_payload_type(Codec codec) {
  constexpr std::array<std::uint8_t, codec_count> types{111, 63, 96, 98, 100, 102};
  return types[static_cast<std::size_t>(codec)];
}
/// Of video.
constexpr std::uint8_t slot_rtx_payload_type(Codec codec) { return static_cast<std::uint8_t>(slot_payload_type(codec) + 1); }
inline constexpr std::uint8_t slot_mid_extension = 1;
inline constexpr std::uint8_t slot_transport_cc_extension = 2;
inline constexpr std::uint8_t slot_dependency_descriptor_extension = 3;

struct OfferedSlot {
  MediaKind kind = MediaKind::audio;
  std::string mid;
  std::uint32_t ssrc = 0;
  std::uint32_t rtx_ssrc = 0; ///< video only
};
/// The canonical name (RFC 3550 s.6.5.1) of a slot. Each has its own: what two slots carry may come from two people.
std::string slot_cname(const OfferedSlot& slot);

std::string write_subscribe_offer(std::span<const OfferedSlot> slots, const LocalDescription& local);

struct SubscribeAnswer {
  IceDescription ice;
  std::string fingerprint;
  struct Slot {
    bool accepted = false;
    bool retransmissions = false; ///< RTX is agreed, for each of the codecs
    CodecSet codecs;              ///< that the subscriber reads; not empty if it accepted
    bool dependency_descriptors = false; ///< of video; it reads two-byte header extensions as well, without which one with a structure has no room
  };
  std::vector<Slot> slots; ///< one for each that was offered
};
/// sdp_media_mismatch when the m-lines are not those of the offer.
Result<SubscribeAnswer> interpret_subscribe_answer(const SessionDescription& description, std::span<const OfferedSlot> offered);

} // namespace satsuma::signaling
