#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

/// What Janus and its VideoRoom answer, of which we read what a participant needs.
namespace satsuma::client {

inline constexpr ErrorCode janus_not_json{"janus_not_json", ErrorKind::peer};
inline constexpr ErrorCode janus_unknown_message{"janus_unknown_message", ErrorKind::peer};
inline constexpr ErrorCode janus_too_many_messages{"janus_too_many_messages", ErrorKind::peer};

/// That we ask for at a time.
inline constexpr std::size_t max_janus_messages = 32;

// Of Janus (403, 460) and of the VideoRoom (the others).
inline constexpr std::int64_t janus_no_such_plugin = 460;
inline constexpr std::int64_t janus_wrong_secret = 403;
inline constexpr std::int64_t janus_no_such_feed = 428;
inline constexpr std::int64_t janus_missing_element = 429;
inline constexpr std::int64_t janus_publishers_full = 432;
inline constexpr std::int64_t janus_unauthorized = 433;

struct JanusMessage {
  struct Problem {
    std::int64_t code = 0;
    std::string reason;
  };
  std::string kind;                ///< "success", "ack", "event", "error", "keepalive", "hangup", …
  std::string transaction;         ///< of the request that it answers, or empty
  std::uint64_t id = 0;            ///< of the session or handle that was made, or 0
  std::optional<Problem> problem;  ///< Janus' or the VideoRoom's
  std::string feed;                ///< of a publisher who has joined, as JSON writes it
  std::string sdp;                 ///< or empty
  std::string reason;              ///< of a hangup
  std::optional<bool> exists;      ///< whether the room that was asked for does
};

/// One message or a list of them. Fields that are not known are ignored; known ones of another type count as absent.
Result<std::vector<JanusMessage>> parse_janus_messages(std::string_view body);

} // namespace satsuma::client
