#pragma once

#include <string_view>

/// RTP header extensions (RFC 8285) by the names that they have in SDP.
namespace satsuma::signaling {

inline constexpr std::string_view mid_uri = "urn:ietf:params:rtp-hdrext:sdes:mid";
inline constexpr std::string_view rid_uri = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
inline constexpr std::string_view repaired_rid_uri = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
inline constexpr std::string_view dependency_descriptor_uri = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension";
inline constexpr std::string_view audio_level_uri = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"; // RFC 6464
inline constexpr std::string_view transport_cc_uri = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

} // namespace satsuma::signaling
