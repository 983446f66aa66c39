#include "signaling/sdp.h"

#include <algorithm>
#include <charconv>

#include "signaling/header_extensions.h"

namespace satsuma::signaling {

namespace {

constexpr std::string_view mixed_extensions_line = "a=extmap-allow-mixed\r\n";

/// RFC 8866 s.9: token.
bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`{|}~").find(c) != std::string_view::npos;
  });
}

/// RFC 8851 s.10: rid-id.
bool is_rid(std::string_view text) {
  return !text.empty() && text.size() <= max_rid_size && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

/// RFC 8839 s.5.4: ice-char.
bool is_ice_text(std::string_view text, std::size_t least) {
  return text.size() >= least && text.size() <= 256 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  });
}

/// RFC 8122 s.5, for SHA-256: 32 pairs of hexadecimal digits.
bool is_sha256_text(std::string_view text) {
  if (text.size() != 32 * 3 - 1) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (i % 3 == 2 ? c != ':' : !hex) return false;
  }
  return true;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

template <class T>
std::optional<T> number(std::string_view text, std::uint64_t most) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) return std::nullopt;
  return static_cast<T>(value);
}

/// What stands before the first `separator`; `text` keeps what stands after it.
std::string_view take(std::string_view& text, char separator) {
  const std::size_t at = text.find(separator);
  const std::string_view head = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return head;
}

std::optional<MediaDirection> direction_of(std::string_view name) {
  if (name == "sendrecv") return MediaDirection::sendrecv;
  if (name == "sendonly") return MediaDirection::sendonly;
  if (name == "recvonly") return MediaDirection::recvonly;
  if (name == "inactive") return MediaDirection::inactive;
  return std::nullopt;
}

/// Attributes that may stand for the whole session or for an m-line.
struct Transport {
  std::string ufrag, password, fingerprint;
  std::optional<SetupRole> setup;
};

class Parser {
 public:
  Result<SessionDescription> parse(std::string_view text);

 private:
  Result<void> line(char type, std::string_view value);
  Result<void> media_line(std::string_view value);
  Result<void> attribute(std::string_view name, std::string_view value);
  Result<bool> transport_attribute(Transport& transport, std::string_view name, std::string_view value);
  Result<void> media_attribute(SdpMedia& media, std::string_view name, std::string_view value);
  static Result<void> format_parameters(SdpCodec& codec, std::string_view value);
  SdpCodec* codec(std::uint8_t payload_type);
  template <class F>
  void feedback_codecs(std::string_view payload_type, F&& apply);
  void finish_media();

  SessionDescription out_;
  Transport session_;
  Transport transport_; ///< of the present m-line
  bool bundle_only_ = false;
  bool port_zero_ = false;
};

Result<SessionDescription> Parser::parse(std::string_view text) {
  if (text.size() > max_sdp_size) return sdp_too_large;
  if (!text.starts_with("v=0\r\n") && !text.starts_with("v=0\n")) return sdp_malformed;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return sdp_malformed;
    std::string_view one = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (one.ends_with('\r')) one.remove_suffix(1);
    if (one.size() > max_sdp_line) return sdp_too_large;
    if (one.size() < 2 || one[1] != '=') return sdp_malformed;
    for (char c : one)
      if (static_cast<unsigned char>(c) < 0x20 && c != '\t') return sdp_malformed;
    SATSUMA_TRY_VOID(line(one[0], one.substr(2)));
  }
  finish_media();
  return std::move(out_);
}

Result<void> Parser::line(char type, std::string_view value) {
  if (type == 'm') {
    finish_media();
    return media_line(value);
  }
  if (type != 'a') return {};
  const std::size_t colon = value.find(':');
  const std::string_view name = value.substr(0, colon);
  return attribute(name, colon == std::string_view::npos ? std::string_view() : value.substr(colon + 1));
}

// m=<kind> <port> <protocol> <formats>
Result<void> Parser::media_line(std::string_view value) {
  if (out_.media.size() == max_sdp_media) return sdp_too_many_items;
  SdpMedia media;
  const std::string_view kind = take(value, ' ');
  media.kind = kind == "audio" ? MediaKind::audio : kind == "video" ? MediaKind::video : MediaKind::other;
  const auto port = number<std::uint16_t>(take(value, ' '), 65535);
  if (!port || !is_token(kind)) return sdp_malformed;
  port_zero_ = *port == 0;
  media.secure_rtp = take(value, ' ') == "UDP/TLS/RTP/SAVPF";
  while (media.secure_rtp && !value.empty()) {
    const auto payload_type = number<std::uint8_t>(take(value, ' '), 127);
    if (!payload_type) return sdp_malformed;
    if (media.codecs.size() == max_sdp_codecs) return sdp_too_many_items;
    for (const SdpCodec& other : media.codecs)
      if (other.payload_type == *payload_type) return sdp_malformed;
    media.codecs.emplace_back().payload_type = *payload_type;
  }
  out_.media.push_back(std::move(media));
  return {};
}

void Parser::finish_media() {
  if (!out_.media.empty()) {
    SdpMedia& media = out_.media.back();
    // RFC 9143 s.6: port 0 with bundle-only is not a refusal.
    media.rejected = port_zero_ && !bundle_only_;
    media.ice_ufrag = transport_.ufrag.empty() ? session_.ufrag : transport_.ufrag;
    media.ice_password = transport_.password.empty() ? session_.password : transport_.password;
    media.fingerprint = transport_.fingerprint.empty() ? session_.fingerprint : transport_.fingerprint;
    media.setup = transport_.setup ? transport_.setup : session_.setup;
  }
  transport_ = {};
  bundle_only_ = port_zero_ = false;
}

Result<void> Parser::attribute(std::string_view name, std::string_view value) {
  Transport& transport = out_.media.empty() ? session_ : transport_;
  SATSUMA_TRY(const bool taken, transport_attribute(transport, name, value));
  if (taken) return {};
  if (name == "extmap-allow-mixed") out_.mixed_extensions = true;
  if (!out_.media.empty()) return media_attribute(out_.media.back(), name, value);
  if (name == "group" && out_.bundle.empty() && take(value, ' ') == "BUNDLE") {
    while (!value.empty()) {
      const std::string_view mid = take(value, ' ');
      if (!is_token(mid) || mid.size() > max_mid_size) return sdp_malformed;
      if (out_.bundle.size() == max_sdp_media) return sdp_too_many_items;
      out_.bundle.emplace_back(mid);
    }
  }
  return {};
}

Result<bool> Parser::transport_attribute(Transport& transport, std::string_view name, std::string_view value) {
  if (name == "ice-ufrag") {
    if (!is_ice_text(value, 4)) return sdp_malformed;
    transport.ufrag = value;
  } else if (name == "ice-pwd") {
    if (!is_ice_text(value, 22)) return sdp_malformed;
    transport.password = value;
  } else if (name == "fingerprint") {
    if (lower(take(value, ' ')) == "sha-256") {
      if (!is_sha256_text(value)) return sdp_malformed;
      transport.fingerprint = value;
    }
  } else if (name == "setup") {
    if (value == "actpass") transport.setup = SetupRole::actpass;
    else if (value == "active") transport.setup = SetupRole::active;
    else if (value == "passive") transport.setup = SetupRole::passive;
    else return sdp_malformed;
  } else {
    return false;
  }
  return true;
}

SdpCodec* Parser::codec(std::uint8_t payload_type) {
  for (SdpCodec& c : out_.media.back().codecs)
    if (c.payload_type == payload_type) return &c;
  return nullptr;
}

template <class F>
void Parser::feedback_codecs(std::string_view payload_type, F&& apply) {
  if (payload_type == "*") {
    for (SdpCodec& c : out_.media.back().codecs) apply(c);
  } else if (const auto n = number<std::uint8_t>(payload_type, 127)) {
    if (SdpCodec* c = codec(*n)) apply(*c);
  }
}

Result<void> Parser::format_parameters(SdpCodec& c, std::string_view value) {
  if (value.find('=') == std::string_view::npos) {
    // RFC 2198 s.5. Other codecs have such forms too, so it need not make sense.
    const auto first = number<std::uint8_t>(take(value, '/'), 127);
    const bool uniform = first && !value.empty();
    if (uniform) c.redundant = first;
    while (!value.empty())
      if (number<std::uint8_t>(take(value, '/'), 127) != first) c.redundant.reset();
    return {};
  }
  while (!value.empty()) {
    std::string_view parameter = take(value, ';');
    while (parameter.starts_with(' ')) parameter.remove_prefix(1);
    const std::string_view name = take(parameter, '=');
    if (name == "apt") {
      c.associated = number<std::uint8_t>(parameter, 127);
      if (!c.associated) return sdp_malformed;
    } else if (name == "profile-id" || name == "profile") {
      const auto profile = number<std::uint8_t>(parameter, 255);
      if (!profile) return sdp_malformed;
      c.profile = *profile;
    } else if (name == "packetization-mode") {
      const auto mode = number<std::uint8_t>(parameter, 255);
      if (!mode) return sdp_malformed;
      c.packetization_mode = *mode;
    } else if (name == "profile-level-id") {
      // Three bytes in hexadecimal. 42 is baseline, and of the second's bits 0x40 excludes what is not in main.
      const std::string level = lower(parameter);
      if (level.size() != 6 || level.find_first_not_of("0123456789abcdef") != std::string::npos) return sdp_malformed;
      c.constrained_baseline = level.starts_with("42") && std::string_view("4567cdef").find(level[2]) != std::string_view::npos;
    }
  }
  return {};
}

Result<void> Parser::media_attribute(SdpMedia& media, std::string_view name, std::string_view value) {
  if (const auto direction = direction_of(name)) {
    media.direction = *direction;
  } else if (name == "mid") {
    if (!is_token(value) || value.size() > max_mid_size) return sdp_malformed;
    for (const SdpMedia& other : out_.media)
      if (&other != &media && other.mid == value) return sdp_malformed;
    media.mid = value;
  } else if (name == "bundle-only") {
    bundle_only_ = true;
  } else if (name == "rtcp-mux") {
    media.rtcp_mux = true;
  } else if (name == "rtcp-rsize") {
    media.rtcp_reduced_size = true;
  } else if (name == "rtpmap") {
    // <payload type> <name>/<clock>[/<channels>]
    const auto payload_type = number<std::uint8_t>(take(value, ' '), 127);
    const std::string_view encoding = take(value, '/');
    const auto clock = number<std::uint32_t>(take(value, '/'), 1'000'000);
    if (!payload_type || !is_token(encoding) || encoding.size() > 64 || !clock) return sdp_malformed;
    const auto channels = value.empty() ? std::optional<std::uint32_t>(1) : number<std::uint32_t>(value, 255);
    if (!channels) return sdp_malformed;
    if (SdpCodec* c = codec(*payload_type)) {
      c->name = lower(encoding);
      c->clock_rate = *clock;
      c->channels = *channels;
    }
  } else if (name == "fmtp") {
    const auto payload_type = number<std::uint8_t>(take(value, ' '), 127);
    if (!payload_type) return sdp_malformed;
    if (SdpCodec* c = codec(*payload_type)) SATSUMA_TRY_VOID(format_parameters(*c, value));
  } else if (name == "rtcp-fb") {
    const std::string_view payload_type = take(value, ' ');
    feedback_codecs(payload_type, [value](SdpCodec& c) {
      if (value == "nack") c.nack = true;
      if (value == "nack pli") c.nack_pli = true;
      if (value == "transport-cc") c.transport_cc = true;
    });
  } else if (name == "extmap") {
    // <id>[/<direction>] <uri> [attributes]
    std::string_view id_text = take(value, ' ');
    SdpExtension extension;
    const auto id = number<std::uint16_t>(take(id_text, '/'), 255);
    if (!id || *id == 0) return sdp_malformed;
    if (!id_text.empty()) {
      const auto extension_direction = direction_of(id_text);
      if (!extension_direction) return sdp_malformed;
      extension.direction = *extension_direction;
    }
    if (media.extensions.size() == max_sdp_extensions) return sdp_too_many_items;
    extension.id = static_cast<std::uint8_t>(*id);
    extension.uri = take(value, ' ');
    media.extensions.push_back(std::move(extension));
  } else if (name == "ssrc") {
    const auto ssrc = number<std::uint32_t>(take(value, ' '), 0xffffffff);
    if (!ssrc) return sdp_malformed;
    if (std::find(media.ssrcs.begin(), media.ssrcs.end(), *ssrc) == media.ssrcs.end()) {
      if (media.ssrcs.size() == max_sdp_ssrcs) return sdp_too_many_items;
      media.ssrcs.push_back(*ssrc);
    }
  } else if (name == "candidate") {
    // <foundation> <component> <transport> <priority> <address> <port> ... (RFC 8839 s.5.1)
    take(value, ' ');
    const std::string_view component = take(value, ' ');
    const std::string transport = lower(take(value, ' '));
    take(value, ' ');
    const std::string_view address = take(value, ' ');
    const auto port = number<std::uint16_t>(take(value, ' '), 65535);
    const auto parsed = port ? TransportAddress::parse(address, *port) : Result<TransportAddress>(address_malformed);
    if (component == "1" && transport == "udp" && parsed && media.candidates.size() < max_sdp_candidates) media.candidates.push_back(*parsed);
    // RFC 6544 s.4.5: of the three types, the one that we can connect to.
    const bool passive = (" " + std::string(value) + " ").find(" tcptype passive ") != std::string::npos;
    if (component == "1" && transport == "tcp" && passive && parsed && media.tcp_candidates.size() < max_sdp_candidates) media.tcp_candidates.push_back(*parsed);
  } else if (name == "rid") {
    // <id> <direction> [restrictions]
    const std::string_view rid = take(value, ' ');
    if (!is_rid(rid)) return sdp_malformed;
    if (take(value, ' ') != "send") return {};
    if (media.send_rids.size() == max_sdp_ssrcs) return sdp_too_many_items;
    media.send_rids.emplace_back(rid);
  } else if (name == "simulcast") {
    // RFC 8853 s.5.1: send <streams> and recv <streams> in either order; ";" between streams, "," between alternatives, "~" before a paused one.
    while (!value.empty()) {
      const std::string_view way = take(value, ' ');
      std::string_view streams = take(value, ' ');
      if (way != "send" && way != "recv") return sdp_malformed;
      while (!streams.empty()) {
        std::string_view alternatives = take(streams, ';');
        std::string_view rid = take(alternatives, ',');
        if (rid.starts_with('~')) rid.remove_prefix(1);
        if (!is_rid(rid)) return sdp_malformed;
        std::vector<std::string>& streams_of_way = way == "send" ? media.simulcast_send : media.simulcast_receive;
        if (streams_of_way.size() == max_sdp_ssrcs) return sdp_too_many_items;
        streams_of_way.emplace_back(rid);
      }
    }
  } else if (name == "ssrc-group" && take(value, ' ') == "FID") {
    const auto first = number<std::uint32_t>(take(value, ' '), 0xffffffff);
    const auto second = number<std::uint32_t>(take(value, ' '), 0xffffffff);
    if (!first || !second) return sdp_malformed;
    if (media.fids.size() == max_sdp_ssrcs) return sdp_too_many_items;
    media.fids.push_back({*first, *second});
  }
  return {};
}

bool is(Codec codec, const SdpCodec& c) {
  if (c.name != encoding_name(codec)) return false;
  switch (codec) {
  case Codec::opus: return c.clock_rate == 48000 && c.channels == 2;
  case Codec::red: return c.clock_rate == 48000 && c.channels == 2 && c.redundant.has_value();
  case Codec::vp8: return c.clock_rate == 90000;
  case Codec::vp9:
  case Codec::av1: return c.clock_rate == 90000 && c.profile == 0;
  case Codec::h264: return c.clock_rate == 90000 && c.packetization_mode == 1 && c.constrained_baseline;
  }
  return false;
}

/// Which of ours an m-line's codec is.
std::optional<Codec> codec_of(const SdpMedia& media, const SdpCodec& c) {
  for (const Codec codec : all_codecs)
    if (is_audio(codec) == (media.kind == MediaKind::audio) && is(codec, c)) return codec;
  return std::nullopt;
}

const SdpCodec* find_rtx(const SdpMedia& media, std::uint8_t payload_type) {
  for (const SdpCodec& c : media.codecs)
    if (c.name == "rtx" && c.associated == payload_type) return &c;
  return nullptr;
}

/// The id of an extension that the describing side sends.
std::optional<std::uint8_t> find_extension(const SdpMedia& media, std::string_view uri) {
  for (const SdpExtension& e : media.extensions)
    if (e.uri == uri && e.direction != MediaDirection::recvonly && e.direction != MediaDirection::inactive) return e.id;
  return std::nullopt;
}

bool sends(const SdpMedia& media) {
  return media.direction == MediaDirection::sendonly || media.direction == MediaDirection::sendrecv;
}
bool receives(const SdpMedia& media) {
  return media.direction == MediaDirection::recvonly || media.direction == MediaDirection::sendrecv;
}

bool bundled(const SessionDescription& description, const SdpMedia& media) {
  return std::find(description.bundle.begin(), description.bundle.end(), media.mid) != description.bundle.end();
}

/// The m-line whose transport all others share (RFC 9143 s.7.2.1): the first of the group that is not refused.
Result<const SdpMedia*> transport_media(const SessionDescription& description) {
  for (const SdpMedia& media : description.media) {
    if (media.rejected || !media.secure_rtp || media.mid.empty() || !bundled(description, media)) continue;
    if (media.ice_ufrag.empty() || media.ice_password.empty()) return sdp_no_ice_credentials;
    if (media.fingerprint.empty()) return sdp_no_fingerprint;
    return &media;
  }
  return sdp_not_bundled;
}

class SdpWriter {
 public:
  SdpWriter& operator<<(std::string_view text) {
    out_ += text;
    return *this;
  }
  SdpWriter& operator<<(std::uint64_t value) {
    out_ += std::to_string(value);
    return *this;
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

template <class Mids>
void write_session(SdpWriter& out, const LocalDescription& local, std::string_view setup, const Mids& bundled_mids) {
  out << "v=0\r\no=- " << local.session_id << " " << local.version << " IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
      << "a=ice-lite\r\na=msid-semantic: WMS *\r\na=group:BUNDLE";
  for (const auto& mid : bundled_mids) out << " " << mid;
  out << "\r\n";
  // RFC 8839 s.5.4 and RFC 8122 s.5 allow these here; it makes an offer of many slots a good deal smaller.
  out << "a=ice-ufrag:" << local.ice.ufrag << "\r\na=ice-pwd:" << local.ice.password << "\r\na=fingerprint:sha-256 " << local.fingerprint
      << "\r\na=setup:" << setup << "\r\n";
}

// RFC 8839 s.5.1, RFC 8445 s.5.1.2.1: type preference 126 for host candidates.
void write_candidates(SdpWriter& out, const LocalDescription& local) {
  std::uint64_t local_preference = 65535;
  std::uint64_t foundation = 1;
  for (const TransportAddress& c : local.candidates) {
    const std::uint64_t priority = (std::uint64_t{126} << 24) + (local_preference-- << 8) + 255;
    out << "a=candidate:" << foundation++ << " 1 udp " << priority << " " << c.ip_text() << " " << c.port << " typ host\r\n";
  }
  // RFC 6544 s.4.2: below all of UDP by the type preference; 4 is the direction preference of a passive candidate.
  std::uint64_t other_preference = 8191;
  for (const TransportAddress& c : local.tcp_candidates) {
    const std::uint64_t priority = (std::uint64_t{90} << 24) + (((std::uint64_t{4} << 13) + other_preference--) << 8) + 255;
    out << "a=candidate:" << foundation++ << " 1 tcp " << priority << " " << c.ip_text() << " " << c.port << " typ host tcptype passive\r\n";
  }
  out << "a=end-of-candidates\r\n";
}

std::string_view kind_name(MediaKind kind) { return kind == MediaKind::audio ? "audio" : "video"; }

void write_payload_types(SdpWriter& out, std::span<const PublishedCodec> codecs) {
  for (const PublishedCodec& c : codecs) {
    out << " " << std::uint64_t{c.payload_type};
    if (c.rtx_payload_type) out << " " << std::uint64_t{*c.rtx_payload_type};
  }
}

void write_codec(SdpWriter& out, const PublishedCodec& c, std::span<const PublishedCodec> all) {
  const std::uint64_t type = c.payload_type;
  const auto format = [&]() -> SdpWriter& { return out << "a=fmtp:" << type << " "; };
  switch (c.codec) {
  case Codec::opus:
    out << "a=rtpmap:" << type << " opus/48000/2\r\n";
    format() << "minptime=10;useinbandfec=1\r\n";
    break;
  case Codec::red:
    out << "a=rtpmap:" << type << " red/48000/2\r\n";
    for (const PublishedCodec& o : all)
      if (o.codec == Codec::opus) format() << std::uint64_t{o.payload_type} << "/" << std::uint64_t{o.payload_type} << "\r\n";
    break;
  case Codec::vp8: out << "a=rtpmap:" << type << " VP8/90000\r\n"; break;
  case Codec::vp9: out << "a=rtpmap:" << type << " VP9/90000\r\n"; break; // profile 0, as without parameters
  case Codec::av1: out << "a=rtpmap:" << type << " AV1/90000\r\n"; break;
  case Codec::h264:
    out << "a=rtpmap:" << type << " H264/90000\r\n";
    format() << "packetization-mode=1;profile-level-id=42e01f\r\n";
    break;
  }
  if (!c.rtx_payload_type) return;
  const std::uint64_t rtx = *c.rtx_payload_type;
  out << "a=rtpmap:" << rtx << " rtx/90000\r\na=fmtp:" << rtx << " apt=" << type << "\r\n";
}

void write_codecs(SdpWriter& out, std::span<const PublishedCodec> codecs) {
  bool transport_cc = true;
  for (const PublishedCodec& c : codecs) {
    write_codec(out, c, codecs);
    transport_cc = transport_cc && (c.transport_cc || c.codec == Codec::red); // RED has no feedback of its own
  }
  // RFC 4585 s.4.2: for all of the line. Many slots make a long offer.
  if (!codecs.empty() && is_video(codecs.front().codec)) out << "a=rtcp-fb:* ccm fir\r\na=rtcp-fb:* nack\r\na=rtcp-fb:* nack pli\r\n";
  if (transport_cc) out << "a=rtcp-fb:* transport-cc\r\n";
}

/// What a slot may carry. Which it does is the publisher's choice, and may change.
std::vector<PublishedCodec> slot_codecs(MediaKind kind) {
  std::vector<PublishedCodec> out;
  for (const Codec codec : all_codecs) {
    if (is_audio(codec) != (kind == MediaKind::audio)) continue;
    out.push_back({codec, slot_payload_type(codec), std::nullopt, true});
    if (is_video(codec)) out.back().rtx_payload_type = slot_rtx_payload_type(codec);
  }
  return out;
}

/// Those that we know, each once.
std::vector<PublishedCodec> published_codecs(const SdpMedia& media) {
  std::vector<PublishedCodec> out;
  for (const SdpCodec& c : media.codecs) {
    const auto codec = codec_of(media, c);
    const auto same = [&](const PublishedCodec& other) { return other.codec == *codec; };
    if (!codec || std::any_of(out.begin(), out.end(), same)) continue;
    PublishedCodec& published = out.emplace_back(*codec, c.payload_type, std::nullopt, c.transport_cc);
    if (const SdpCodec* const rtx = find_rtx(media, c.payload_type)) published.rtx_payload_type = rtx->payload_type;
  }
  // Redundancy of what is not there says nothing.
  std::erase_if(out, [&](const PublishedCodec& c) {
    if (c.codec != Codec::red) return false;
    const auto red = std::find_if(media.codecs.begin(), media.codecs.end(), [&](const SdpCodec& o) { return o.payload_type == c.payload_type; });
    return std::none_of(out.begin(), out.end(), [&](const PublishedCodec& o) { return o.codec == Codec::opus && o.payload_type == red->redundant; });
  });
  return out;
}

} // namespace

const PublishedCodec* PublishedMedia::find(std::uint8_t payload_type) const {
  for (const PublishedCodec& codec : codecs)
    if (codec.payload_type == payload_type || codec.rtx_payload_type == payload_type) return &codec;
  return nullptr;
}

bool PublishedMedia::retransmissions() const {
  return std::any_of(codecs.begin(), codecs.end(), [](const PublishedCodec& codec) { return codec.rtx_payload_type.has_value(); });
}

Result<SessionDescription> parse_sdp(std::string_view text) { return Parser().parse(text); }

Result<PublishOffer> interpret_publish_offer(const SessionDescription& description) {
  SATSUMA_TRY(const SdpMedia* const transport, transport_media(description));
  // We are the passive side (RFC 8842 s.5.3): an offer that insists on being it cannot be answered.
  if (transport->setup == SetupRole::passive) return sdp_bad_setup;
  PublishOffer offer{{transport->ice_ufrag, transport->ice_password}, transport->fingerprint, {}, description.mixed_extensions};
  std::size_t audio = 0, video = 0;
  bool any = false;
  for (const SdpMedia& media : description.media) {
    PublishedMedia& published = offer.media.emplace_back();
    published.kind = media.kind;
    published.mid = media.mid;
    if (!media.codecs.empty()) published.refused_payload_type = media.codecs.front().payload_type;
    std::optional<Source> source;
    if (media.kind == MediaKind::audio && audio < 2) source = audio++ == 0 ? Source::microphone : Source::screen_audio;
    if (media.kind == MediaKind::video && video < 2) source = video++ == 0 ? Source::camera : Source::screen;
    if (!source || media.rejected || !media.secure_rtp || media.mid.empty() || !media.rtcp_mux || !sends(media) ||
        !bundled(description, media))
      continue;
    published.codecs = published_codecs(media);
    if (published.codecs.empty()) continue;
    published.source = source;
    published.resends_sound =
        media.kind == MediaKind::audio && std::any_of(media.codecs.begin(), media.codecs.end(), [&](const SdpCodec& c) { return c.nack && codec_of(media, c) == Codec::opus; });
    published.mid_extension = find_extension(media, mid_uri);
    published.transport_cc_extension = find_extension(media, transport_cc_uri);
    published.dependency_descriptor_extension = find_extension(media, dependency_descriptor_uri);
    if (source == Source::microphone) published.audio_level_extension = find_extension(media, audio_level_uri);
    published.rid_extension = find_extension(media, rid_uri);
    published.repaired_rid_extension = find_extension(media, repaired_rid_uri);
    // Streams of a simulcast can be told apart by nothing but their RID.
    if (media.kind == MediaKind::video && published.rid_extension && media.simulcast_send.size() > 1) {
      for (const std::string& rid : media.simulcast_send) {
        const bool known = std::find(media.send_rids.begin(), media.send_rids.end(), rid) != media.send_rids.end();
        const bool twice = std::find(published.rids.begin(), published.rids.end(), rid) != published.rids.end();
        if (known && !twice && published.rids.size() < max_simulcast_streams) published.rids.push_back(rid);
      }
      if (published.rids.size() < 2) published.rids.clear();
    }
    if (!media.fids.empty()) {
      published.ssrc = media.fids.front().media;
      published.rtx_ssrc = media.fids.front().retransmission;
    } else if (!media.ssrcs.empty()) {
      published.ssrc = media.ssrcs.front();
    }
    any = true;
  }
  if (!any) return sdp_nothing_accepted;
  return offer;
}

std::string write_publish_answer(const PublishOffer& offer, const LocalDescription& local) {
  SdpWriter out;
  std::vector<std::string_view> mids;
  for (const PublishedMedia& media : offer.media)
    if (media.source) mids.push_back(media.mid);
  write_session(out, local, "passive", mids);
  if (offer.mixed_extensions) out << mixed_extensions_line;
  bool first = true;
  for (const PublishedMedia& media : offer.media) {
    if (!media.source) {
      // RFC 3264 s.6: refused with port 0, and named all the same.
      const std::string_view kind = media.kind == MediaKind::other ? "application" : kind_name(media.kind);
      if (media.kind == MediaKind::other)
        out << "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n";
      else
        out << "m=" << kind << " 0 UDP/TLS/RTP/SAVPF " << std::uint64_t{media.refused_payload_type} << "\r\n";
      out << "c=IN IP4 0.0.0.0\r\na=inactive\r\n";
      if (!media.mid.empty()) out << "a=mid:" << media.mid << "\r\n";
      continue;
    }
    out << "m=" << kind_name(media.kind) << " 9 UDP/TLS/RTP/SAVPF";
    write_payload_types(out, media.codecs);
    out << "\r\nc=IN IP4 0.0.0.0\r\na=mid:" << media.mid << "\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n";
    if (media.mid_extension) out << "a=extmap:" << std::uint64_t{*media.mid_extension} << " " << mid_uri << "\r\n";
    if (media.transport_cc_extension)
      out << "a=extmap:" << std::uint64_t{*media.transport_cc_extension} << " " << transport_cc_uri << "\r\n";
    if (media.dependency_descriptor_extension)
      out << "a=extmap:" << std::uint64_t{*media.dependency_descriptor_extension} << " " << dependency_descriptor_uri << "\r\n";
    if (media.audio_level_extension) out << "a=extmap:" << std::uint64_t{*media.audio_level_extension} << " " << audio_level_uri << "\r\n";
    write_codecs(out, media.codecs);
    if (media.resends_sound) out << "a=rtcp-fb:* nack\r\n";
    if (!media.rids.empty()) {
      out << "a=extmap:" << std::uint64_t{*media.rid_extension} << " " << rid_uri << "\r\n";
      if (media.repaired_rid_extension) out << "a=extmap:" << std::uint64_t{*media.repaired_rid_extension} << " " << repaired_rid_uri << "\r\n";
      for (const std::string& rid : media.rids) out << "a=rid:" << rid << " recv\r\n";
      out << "a=simulcast:recv ";
      for (std::size_t i = 0; i < media.rids.size(); ++i) out << (i == 0 ? "" : ";") << media.rids[i];
      out << "\r\n";
    }
    if (first) write_candidates(out, local);
    first = false;
  }
  return out.take();
}

std::string slot_cname(const OfferedSlot& slot) { return "slot-" + slot.mid; }

std::string write_subscribe_offer(std::span<const OfferedSlot> slots, const LocalDescription& local) {
  SdpWriter out;
  std::vector<std::string_view> mids;
  for (const OfferedSlot& slot : slots) mids.push_back(slot.mid);
  write_session(out, local, "actpass", mids);
  out << mixed_extensions_line;
  bool first = true;
  for (const OfferedSlot& slot : slots) {
    const bool audio = slot.kind == MediaKind::audio;
    const std::vector<PublishedCodec> codecs = slot_codecs(slot.kind);
    out << "m=" << kind_name(slot.kind) << " 9 UDP/TLS/RTP/SAVPF";
    write_payload_types(out, codecs);
    out << "\r\nc=IN IP4 0.0.0.0\r\na=mid:" << slot.mid << "\r\na=sendonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\na=msid:" << slot.mid << " "
        << slot.mid << "\r\na=extmap:" << std::uint64_t{slot_mid_extension} << " " << mid_uri
        << "\r\na=extmap:" << std::uint64_t{slot_transport_cc_extension} << " " << transport_cc_uri << "\r\n";
    if (!audio) out << "a=extmap:" << std::uint64_t{slot_dependency_descriptor_extension} << " " << dependency_descriptor_uri << "\r\n";
    write_codecs(out, codecs);
    const std::string cname = slot_cname(slot);
    if (!audio) out << "a=ssrc-group:FID " << std::uint64_t{slot.ssrc} << " " << std::uint64_t{slot.rtx_ssrc} << "\r\n";
    out << "a=ssrc:" << std::uint64_t{slot.ssrc} << " cname:" << cname << "\r\n";
    if (!audio) out << "a=ssrc:" << std::uint64_t{slot.rtx_ssrc} << " cname:" << cname << "\r\n";
    if (first) write_candidates(out, local);
    first = false;
  }
  return out.take();
}

Result<SubscribeAnswer> interpret_subscribe_answer(const SessionDescription& description, std::span<const OfferedSlot> offered) {
  if (description.media.size() != offered.size()) return sdp_media_mismatch;
  SATSUMA_TRY(const SdpMedia* const transport, transport_media(description));
  // We offered actpass and cannot be the active side: an ICE-lite server never starts anything (RFC 8445 s.2.5).
  if (transport->setup != SetupRole::active) return sdp_bad_setup;
  SubscribeAnswer answer{{transport->ice_ufrag, transport->ice_password}, transport->fingerprint, {}};
  for (std::size_t i = 0; i < offered.size(); ++i) {
    const SdpMedia& media = description.media[i];
    if (media.kind != offered[i].kind || media.mid != offered[i].mid) return sdp_media_mismatch;
    SubscribeAnswer::Slot& slot = answer.slots.emplace_back();
    if (media.rejected || !media.rtcp_mux || !receives(media) || !bundled(description, media)) continue;
    slot.retransmissions = media.kind == MediaKind::video;
    slot.dependency_descriptors = media.kind == MediaKind::video && description.mixed_extensions &&
                                  find_extension(media, dependency_descriptor_uri) == slot_dependency_descriptor_extension;
    for (const PublishedCodec& c : published_codecs(media)) {
      if (c.payload_type != slot_payload_type(c.codec)) continue;
      slot.codecs.insert(c.codec);
      if (c.rtx_payload_type != slot_rtx_payload_type(c.codec)) slot.retransmissions = false;
    }
    slot.accepted = !slot.codecs.empty();
    if (!slot.accepted) slot.retransmissions = false;
  }
  return answer;
}

} // namespace satsuma::signaling
