#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/secret.h"
#include "signaling/source.h"

/// The text frames between a client and the server, media control in JSON: docs/protocol.md, section 6, both directions.
/// Native only. Fields that are not known are ignored, known ones must have their type and range.
namespace satsuma::signaling {

inline constexpr ErrorCode control_too_large{"control_too_large", ErrorKind::peer};
inline constexpr ErrorCode control_not_json{"control_not_json", ErrorKind::peer};
inline constexpr ErrorCode control_unknown_type{"control_unknown_type", ErrorKind::peer};
inline constexpr ErrorCode control_bad_field{"control_bad_field", ErrorKind::peer};

inline constexpr std::size_t max_control_size = 64 * 1024;
inline constexpr std::size_t max_control_depth = 4; ///< the deepest message, `slots`, has 3
/// The most slots there are, and the most addresses; escaped in JSON it still fits max_control_size.
inline constexpr std::size_t max_control_sdp_size = 56 * 1024;
inline constexpr std::size_t max_slots = 512;
inline constexpr std::uint32_t max_tile_height = 16384;
inline constexpr std::size_t max_asked_voices = 16;
inline constexpr std::size_t most_voices = 40; ///< microphones that each client is sent at most, whatever the operator wants
/// Clients do not believe in fewer: in a room of fewer microphones nobody tells anybody when they speak, whatever the server says.
inline constexpr std::size_t least_voices = 8;
inline constexpr std::size_t max_layers = 4;
inline constexpr std::size_t max_control_error_size = 256;
inline constexpr std::uint32_t max_request_id = 1U << 31;

// ---- client to server

struct Publish {
  std::uint32_t id = 0; ///< 1 to max_request_id, as in all requests
  std::string sdp;
};
struct Sources {
  SourceSet active;
};
struct Subscribe {
  std::uint32_t id = 0;
};
struct Answer {
  std::uint32_t revision = 0;
  std::string sdp;
};
struct KeyFrame {
  std::string mid; ///< 1 to 16 of A-Z a-z 0-9
};
struct Restart {
  std::uint32_t id = 0;
  std::string sdp;
};
/// What the client shows of its slots, and how high in device pixels. Slots that it does not name are not visible and are not sent.
struct View {
  struct Tile {
    std::string mid; ///< or, when it is empty, whose picture is wanted, whether it has a slot or not
    std::optional<IncarnationId> incarnation = std::nullopt;
    Source source = Source::camera; ///< with `incarnation`
    std::uint32_t height = 0; ///< 1 to max_tile_height
    friend bool operator==(const Tile&, const Tile&) = default;
  };
  std::vector<Tile> tiles; ///< at most max_slots, each mid and each publication once
  /// Besides these, the cameras of so many who spoke last, and every screen, so high.
  struct Speakers {
    std::uint32_t count = 0; ///< at most max_slots
    std::uint32_t height = 0;
    friend bool operator==(const Speakers&, const Speakers&) = default;
  };
  std::optional<Speakers> speakers = std::nullopt;
};
/// Whose microphones the client wants to hear where not all have a slot: those of who speak, the most wanted first.
struct Voices {
  std::vector<IncarnationId> of; ///< at most max_asked_voices, each once
};
using ClientControl = std::variant<Publish, Sources, Subscribe, Answer, KeyFrame, Restart, View, Voices>;

/// The id to answer an error to; nothing for a message that is no request.
std::optional<std::uint32_t> request_id(const ClientControl& message);

// ---- server to client

struct Published {
  std::uint32_t id = 0; ///< of the publish or restart
  std::string sdp;
};
struct Offer {
  std::uint32_t revision = 0; ///< rises with each offer, from 1
  std::string sdp;
};
struct Slot {
  std::string mid;
  IncarnationId incarnation;
  Source source = Source::microphone;
  friend bool operator==(const Slot&, const Slot&) = default;
};
struct Slots {
  std::uint64_t sequence = 0; ///< rises, below 2^53
  std::vector<Slot> slots;    ///< all that are in use; at most max_slots
  std::size_t voices = most_voices; ///< microphones that have slots here at most; 1 to most_voices
};
struct ControlError {
  std::optional<std::uint32_t> id; ///< without it the connection closes
  std::string code;                ///< 1 to 64 of a-z and _
  std::string message;             ///< a sentence for a person
};
/// Which of a source's simulcast streams somebody can use now, in the order of the offer. The others need not be encoded.
struct Layers {
  Source source = Source::camera;
  std::vector<bool> active; ///< 1 to max_layers
};
/// How the path to this client does, and what limits its pictures.
struct Path {
  std::uint32_t bitrate_kbps = 0; ///< estimated
  std::uint32_t used_kbps = 0;    ///< of the layers that are sent
  std::uint32_t wanted_kbps = 0;  ///< of those that would be sent if the path carried them
  std::uint32_t loss_percent = 0;
  std::uint32_t round_trip_ms = 0;
  std::string limited_by;         ///< "", "delay" or "loss"
  struct Slot {
    std::string mid;
    bool paused = false;
    std::uint32_t layer = 0, layers = 1; ///< which simulcast stream of how many
    std::uint32_t temporal = 0;
    std::string limited_by;              ///< "", "view", "bandwidth" or "publisher"
  };
  std::vector<Slot> slots;
};
/// With what the client may use the server as a TURN server, at the page's own port: where nothing else passes.
struct TurnServer {
  std::string username; ///< each 1 to max_turn_text printable characters of ASCII, without quotes and backslashes
  SecretBytes credential;
};
inline constexpr std::size_t max_turn_text = 128;
using ServerControl = std::variant<Published, Offer, Slots, ControlError, Layers, Path, TurnServer>;

Result<ClientControl> parse_client_control(std::string_view text);
Result<ServerControl> parse_server_control(std::string_view text);

/// One text frame. Values out of their range are the caller's mistake and CHECKed; text that is not UTF-8 is written with
/// replacement characters.
std::string write_client_control(const ClientControl& message);
std::string write_server_control(const ServerControl& message);

// ---- from member to member, inside MLS (section 5)

/// What a native participant needs of them.
struct MemberState {
  bool microphone = false; ///< it is on
};
struct MemberSpeaks {}; ///< it began to
/// What it writes to all who are there.
struct MemberChat {
  std::uint64_t number = 0; ///< counts its messages: the same number again is the same message again
  std::string text;         ///< at most max_chat_length UTF-16 units, since pages count so
};
inline constexpr std::size_t max_chat_length = 2000;
/// UTF-16 units of UTF-8.
std::size_t utf16_length(std::string_view utf8);
using MemberMessage = std::variant<MemberState, MemberSpeaks, MemberChat>;
/// Another member wrote it: nothing for whatever else it may be.
std::optional<MemberMessage> parse_member_message(std::string_view text);
std::string write_member_chat(const MemberChat& message);
inline constexpr std::string_view member_speaks = R"({"type":"voice"})";

} // namespace satsuma::signaling
