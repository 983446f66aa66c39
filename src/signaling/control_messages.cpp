#include "signaling/control_messages.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

// Built without exceptions, the library would abort where it throws: only what cannot throw is called, that is parse with
// allow_exceptions = false, find, is_*, and get_ptr after the type was looked at.
#include <nlohmann/json.hpp>

namespace satsuma::signaling {
namespace {

using nlohmann::json;

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

constexpr std::uint64_t max_sequence = (std::uint64_t{1} << 53) - 1; // what a JavaScript number holds exactly

/// Before the parser builds anything: how deep arrays and objects are nested, strings aside.
bool is_shallow(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > max_control_depth) return false;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return true;
}

Result<json> parse_object(std::string_view text) {
  if (text.size() > max_control_size) return control_too_large;
  // The library takes a NUL for the end of the text, whatever follows.
  if (text.find('\0') != std::string_view::npos) return control_not_json;
  if (!is_shallow(text)) return control_not_json;
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) return control_not_json;
  return value;
}

Result<std::string> read_string(const json& object, const char* name, std::size_t min, std::size_t max) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_string()) return control_bad_field;
  const auto& value = *found->get_ptr<const json::string_t*>();
  if (value.size() < min || value.size() > max) return control_bad_field;
  return value;
}

/// Whole numbers only: 1.0 and 1e3 are not.
Result<std::uint64_t> read_number(const json& object, const char* name, std::uint64_t min, std::uint64_t max) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_unsigned()) return control_bad_field;
  const std::uint64_t value = *found->get_ptr<const json::number_unsigned_t*>();
  if (value < min || value > max) return control_bad_field;
  return value;
}

Result<std::uint32_t> read_id(const json& object, const char* name) {
  SATSUMA_TRY(const std::uint64_t value, read_number(object, name, 1, max_request_id));
  return static_cast<std::uint32_t>(value);
}

Result<Source> read_source(const json& value) {
  if (!value.is_string()) return control_bad_field;
  const auto source = source_from_name(*value.get_ptr<const json::string_t*>());
  if (!source) return control_bad_field;
  return *source;
}

bool is_mid(std::string_view mid) {
  return !mid.empty() && mid.size() <= max_mid_size && std::ranges::all_of(mid, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  });
}

bool is_error_code(std::string_view code) {
  return !code.empty() && code.size() <= 64 &&
         std::ranges::all_of(code, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

Result<std::string> read_mid(const json& object) {
  SATSUMA_TRY(std::string mid, read_string(object, "mid", 1, max_mid_size));
  if (!is_mid(mid)) return control_bad_field;
  return mid;
}

Result<std::string> read_sdp(const json& object) { return read_string(object, "sdp", 1, max_control_sdp_size); }

Result<SourceSet> read_sources(const json& object) {
  const auto found = object.find("active");
  if (found == object.end() || !found->is_array() || found->size() > source_count) return control_bad_field;
  SourceSet sources;
  for (const auto& element : *found) {
    SATSUMA_TRY(const Source source, read_source(element));
    if (sources.contains(source)) return control_bad_field;
    sources.insert(source);
  }
  return sources;
}

Result<IncarnationId> incarnation_of(std::string_view text) {
  if (text.size() != 2 * IncarnationId::size) return control_bad_field;
  const auto bytes = from_hex(text);
  if (!bytes || to_hex(*bytes) != text) return control_bad_field; // lower case only: one form
  IncarnationId id;
  std::ranges::copy(*bytes, id.bytes.begin());
  return id;
}

Result<IncarnationId> read_incarnation(const json& object) {
  SATSUMA_TRY(const std::string text, read_string(object, "incarnation", 2 * IncarnationId::size, 2 * IncarnationId::size));
  return incarnation_of(text);
}

Result<Slot> read_slot(const json& element) {
  if (!element.is_object()) return control_bad_field;
  Slot slot;
  SATSUMA_TRY(slot.mid, read_mid(element));
  SATSUMA_TRY(slot.incarnation, read_incarnation(element));
  const auto source = element.find("source");
  if (source == element.end()) return control_bad_field;
  SATSUMA_TRY(slot.source, read_source(*source));
  return slot;
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

/// What JSON needs no escapes for.
bool is_turn_text(std::string_view text) {
  return !text.empty() && text.size() <= max_turn_text && std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
}

/// Without the library, whose copies of the password would stay behind.
std::string write_turn_server(const TurnServer& turn) {
  const std::string_view credential = as_text(turn.credential.view());
  SATSUMA_CHECK(is_turn_text(turn.username) && is_turn_text(credential));
  constexpr std::string_view head = R"({"credential":")", middle = R"(","type":"turn","username":")", tail = R"("})";
  std::string out;
  out.reserve(head.size() + credential.size() + middle.size() + turn.username.size() + tail.size()); // it does not move
  for (const std::string_view part : {head, credential, middle, std::string_view(turn.username), tail}) out += part;
  return out;
}

void check_id(std::uint32_t id) { SATSUMA_CHECK(id >= 1 && id <= max_request_id); }

} // namespace

std::optional<std::uint32_t> request_id(const ClientControl& message) {
  if (const auto* publish = std::get_if<Publish>(&message)) return publish->id;
  if (const auto* subscribe = std::get_if<Subscribe>(&message)) return subscribe->id;
  if (const auto* restart = std::get_if<Restart>(&message)) return restart->id;
  return std::nullopt;
}

Result<ClientControl> parse_client_control(std::string_view text) {
  SATSUMA_TRY(const json object, parse_object(text));
  SATSUMA_TRY(const std::string type, read_string(object, "type", 1, 32));
  if (type == "publish" || type == "restart") {
    SATSUMA_TRY(const std::uint32_t id, read_id(object, "id"));
    SATSUMA_TRY(std::string sdp, read_sdp(object));
    if (type == "publish") return ClientControl(Publish{id, std::move(sdp)});
    return ClientControl(Restart{id, std::move(sdp)});
  }
  if (type == "sources") {
    SATSUMA_TRY(const SourceSet active, read_sources(object));
    return ClientControl(Sources{active});
  }
  if (type == "subscribe") {
    SATSUMA_TRY(const std::uint32_t id, read_id(object, "id"));
    return ClientControl(Subscribe{id});
  }
  if (type == "answer") {
    SATSUMA_TRY(const std::uint32_t revision, read_id(object, "revision"));
    SATSUMA_TRY(std::string sdp, read_sdp(object));
    return ClientControl(Answer{revision, std::move(sdp)});
  }
  if (type == "key_frame") {
    SATSUMA_TRY(std::string mid, read_mid(object));
    return ClientControl(KeyFrame{std::move(mid)});
  }
  if (type == "view") {
    const auto found = object.find("tiles");
    if (found == object.end() || !found->is_array() || found->size() > max_slots) return control_bad_field;
    View view;
    for (const auto& element : *found) {
      if (!element.is_object()) return control_bad_field;
      View::Tile tile;
      if (element.contains("mid")) {
        SATSUMA_TRY(tile.mid, read_mid(element));
      } else {
        SATSUMA_TRY(tile.incarnation, read_incarnation(element));
        const auto source = element.find("source");
        if (source == element.end()) return control_bad_field;
        SATSUMA_TRY(tile.source, read_source(*source));
        if (is_audio(tile.source)) return control_bad_field;
      }
      SATSUMA_TRY(const std::uint64_t height, read_number(element, "height", 1, max_tile_height));
      tile.height = static_cast<std::uint32_t>(height);
      for (const View::Tile& other : view.tiles)
        if (other.mid == tile.mid && other.incarnation == tile.incarnation && other.source == tile.source) return control_bad_field;
      view.tiles.push_back(std::move(tile));
    }
    if (const auto speakers = object.find("speakers"); speakers != object.end()) {
      if (!speakers->is_object()) return control_bad_field;
      SATSUMA_TRY(const std::uint64_t count, read_number(*speakers, "count", 0, max_slots));
      SATSUMA_TRY(const std::uint64_t height, read_number(*speakers, "height", 1, max_tile_height));
      view.speakers = View::Speakers{static_cast<std::uint32_t>(count), static_cast<std::uint32_t>(height)};
    }
    return ClientControl(std::move(view));
  }
  if (type == "voices") {
    const auto found = object.find("of");
    if (found == object.end() || !found->is_array() || found->size() > max_asked_voices) return control_bad_field;
    Voices voices;
    for (const auto& element : *found) {
      if (!element.is_string()) return control_bad_field;
      SATSUMA_TRY(const IncarnationId who, incarnation_of(*element.get_ptr<const json::string_t*>()));
      if (std::find(voices.of.begin(), voices.of.end(), who) != voices.of.end()) return control_bad_field;
      voices.of.push_back(who);
    }
    return ClientControl(std::move(voices));
  }
  return control_unknown_type;
}

Result<ServerControl> parse_server_control(std::string_view text) {
  SATSUMA_TRY(const json object, parse_object(text));
  SATSUMA_TRY(const std::string type, read_string(object, "type", 1, 32));
  if (type == "published") {
    SATSUMA_TRY(const std::uint32_t id, read_id(object, "id"));
    SATSUMA_TRY(std::string sdp, read_sdp(object));
    return ServerControl(Published{id, std::move(sdp)});
  }
  if (type == "offer") {
    SATSUMA_TRY(const std::uint32_t revision, read_id(object, "revision"));
    SATSUMA_TRY(std::string sdp, read_sdp(object));
    return ServerControl(Offer{revision, std::move(sdp)});
  }
  if (type == "slots") {
    Slots slots;
    SATSUMA_TRY(slots.sequence, read_number(object, "sequence", 0, max_sequence));
    const auto found = object.find("slots");
    if (found == object.end() || !found->is_array() || found->size() > max_slots) return control_bad_field;
    for (const auto& element : *found) {
      SATSUMA_TRY(Slot slot, read_slot(element));
      slots.slots.push_back(std::move(slot));
    }
    if (object.contains("voices")) {
      SATSUMA_TRY(const std::uint64_t voices, read_number(object, "voices", 1, most_voices));
      slots.voices = static_cast<std::size_t>(voices);
    }
    return ServerControl(std::move(slots));
  }
  if (type == "layers") {
    Layers layers;
    const auto source = object.find("source");
    if (source == object.end()) return control_bad_field;
    SATSUMA_TRY(layers.source, read_source(*source));
    const auto active = object.find("active");
    if (active == object.end() || !active->is_array() || active->empty() || active->size() > max_layers) return control_bad_field;
    for (const auto& element : *active) {
      const auto* const value = element.get_ptr<const json::boolean_t*>();
      if (!value) return control_bad_field;
      layers.active.push_back(*value);
    }
    return ServerControl(std::move(layers));
  }
  if (type == "path") {
    Path path;
    const auto number = [&object](const char* name) { return read_number(object, name, 0, 0xffffffff); };
    SATSUMA_TRY(const std::uint64_t bitrate, number("bitrate_kbps"));
    SATSUMA_TRY(const std::uint64_t used, number("used_kbps"));
    SATSUMA_TRY(const std::uint64_t wanted, number("wanted_kbps"));
    SATSUMA_TRY(const std::uint64_t loss, read_number(object, "loss_percent", 0, 100));
    SATSUMA_TRY(const std::uint64_t round_trip, number("round_trip_ms"));
    SATSUMA_TRY(path.limited_by, read_string(object, "limited_by", 0, 16));
    path.bitrate_kbps = static_cast<std::uint32_t>(bitrate);
    path.used_kbps = static_cast<std::uint32_t>(used);
    path.wanted_kbps = static_cast<std::uint32_t>(wanted);
    path.loss_percent = static_cast<std::uint32_t>(loss);
    path.round_trip_ms = static_cast<std::uint32_t>(round_trip);
    const auto found = object.find("slots");
    if (found == object.end() || !found->is_array() || found->size() > max_slots) return control_bad_field;
    for (const auto& element : *found) {
      if (!element.is_object()) return control_bad_field;
      Path::Slot slot;
      SATSUMA_TRY(slot.mid, read_mid(element));
      const auto paused = element.find("paused");
      if (paused == element.end() || !paused->is_boolean()) return control_bad_field;
      slot.paused = *paused->get_ptr<const json::boolean_t*>();
      SATSUMA_TRY(const std::uint64_t layer, read_number(element, "layer", 0, max_layers));
      SATSUMA_TRY(const std::uint64_t of, read_number(element, "layers", 1, max_layers));
      SATSUMA_TRY(const std::uint64_t temporal, read_number(element, "temporal", 0, 8));
      SATSUMA_TRY(slot.limited_by, read_string(element, "limited_by", 0, 16));
      slot.layer = static_cast<std::uint32_t>(layer);
      slot.layers = static_cast<std::uint32_t>(of);
      slot.temporal = static_cast<std::uint32_t>(temporal);
      path.slots.push_back(std::move(slot));
    }
    return ServerControl(std::move(path));
  }
  if (type == "turn") {
    TurnServer turn;
    SATSUMA_TRY(turn.username, read_string(object, "username", 1, max_turn_text));
    SATSUMA_TRY(const std::string credential, read_string(object, "credential", 1, max_turn_text));
    if (!is_turn_text(turn.username) || !is_turn_text(credential)) return control_bad_field;
    turn.credential = SecretBytes::copy_of(as_bytes(credential));
    return ServerControl(std::move(turn));
  }
  if (type == "error") {
    ControlError error;
    if (object.contains("id")) {
      SATSUMA_TRY(error.id, read_id(object, "id"));
    }
    SATSUMA_TRY(error.code, read_string(object, "code", 1, 64));
    if (!is_error_code(error.code)) return control_bad_field;
    SATSUMA_TRY(error.message, read_string(object, "message", 0, max_control_error_size));
    return ServerControl(std::move(error));
  }
  return control_unknown_type;
}

std::string write_client_control(const ClientControl& message) {
  json object = json::object();
  const auto sdp_request = [&](const char* type, std::uint32_t id, const std::string& sdp) {
    check_id(id);
    SATSUMA_CHECK(!sdp.empty() && sdp.size() <= max_control_sdp_size);
    object["type"] = type;
    object["id"] = id;
    object["sdp"] = sdp;
  };
  std::visit(Overloaded{
                 [&](const Publish& publish) { sdp_request("publish", publish.id, publish.sdp); },
                 [&](const Sources& sources) {
                   object["type"] = "sources";
                   object["active"] = json::array();
                   for (std::size_t i = 0; i < source_count; ++i) {
                     const auto source = static_cast<Source>(i);
                     if (sources.active.contains(source)) object["active"].push_back(source_name(source));
                   }
                 },
                 [&](const Subscribe& subscribe) {
                   check_id(subscribe.id);
                   object["type"] = "subscribe";
                   object["id"] = subscribe.id;
                 },
                 [&](const Answer& answer) {
                   check_id(answer.revision);
                   SATSUMA_CHECK(!answer.sdp.empty() && answer.sdp.size() <= max_control_sdp_size);
                   object["type"] = "answer";
                   object["revision"] = answer.revision;
                   object["sdp"] = answer.sdp;
                 },
                 [&](const KeyFrame& key_frame) {
                   SATSUMA_CHECK(is_mid(key_frame.mid));
                   object["type"] = "key_frame";
                   object["mid"] = key_frame.mid;
                 },
                 [&](const Restart& restart) { sdp_request("restart", restart.id, restart.sdp); },
                 [&](const View& view) {
                   SATSUMA_CHECK(view.tiles.size() <= max_slots);
                   object["type"] = "view";
                   json tiles = json::array();
                   for (const View::Tile& tile : view.tiles) {
                     SATSUMA_CHECK((tile.incarnation.has_value() ? tile.mid.empty() : is_mid(tile.mid)) && tile.height >= 1 && tile.height <= max_tile_height);
                     json& written = tiles.emplace_back(json::object());
                     if (tile.incarnation) {
                       written["incarnation"] = tile.incarnation->hex();
                       written["source"] = source_name(tile.source);
                     } else {
                       written["mid"] = tile.mid;
                     }
                     written["height"] = tile.height;
                   }
                   object["tiles"] = std::move(tiles);
                   if (view.speakers) object["speakers"] = {{"count", view.speakers->count}, {"height", view.speakers->height}};
                 },
                 [&](const Voices& voices) {
                   SATSUMA_CHECK(voices.of.size() <= max_asked_voices);
                   object["type"] = "voices";
                   json of = json::array();
                   for (const IncarnationId& who : voices.of) of.push_back(who.hex());
                   object["of"] = std::move(of);
                 },
             },
             message);
  return dump(object);
}

std::string write_server_control(const ServerControl& message) {
  if (const auto* turn = std::get_if<TurnServer>(&message)) return write_turn_server(*turn);
  json object = json::object();
  std::visit(Overloaded{
                 [&](const Published& published) {
                   check_id(published.id);
                   SATSUMA_CHECK(!published.sdp.empty() && published.sdp.size() <= max_control_sdp_size);
                   object["type"] = "published";
                   object["id"] = published.id;
                   object["sdp"] = published.sdp;
                 },
                 [&](const Offer& offer) {
                   check_id(offer.revision);
                   SATSUMA_CHECK(!offer.sdp.empty() && offer.sdp.size() <= max_control_sdp_size);
                   object["type"] = "offer";
                   object["revision"] = offer.revision;
                   object["sdp"] = offer.sdp;
                 },
                 [&](const Slots& slots) {
                   SATSUMA_CHECK(slots.slots.size() <= max_slots && slots.sequence <= max_sequence);
                   object["type"] = "slots";
                   object["sequence"] = slots.sequence;
                   if (slots.voices != most_voices) object["voices"] = slots.voices;
                   json array = json::array();
                   for (const auto& slot : slots.slots) {
                     SATSUMA_CHECK(is_mid(slot.mid));
                     json element = json::object();
                     element["mid"] = slot.mid;
                     element["incarnation"] = slot.incarnation.hex();
                     element["source"] = source_name(slot.source);
                     array.push_back(std::move(element));
                   }
                   object["slots"] = std::move(array);
                 },
                 [&](const Layers& layers) {
                   SATSUMA_CHECK(!layers.active.empty() && layers.active.size() <= max_layers);
                   object["type"] = "layers";
                   object["source"] = source_name(layers.source);
                   object["active"] = json::array();
                   for (const bool active : layers.active) object["active"].push_back(active);
                 },
                 [&](const Path& path) {
                   SATSUMA_CHECK(path.slots.size() <= max_slots);
                   object["type"] = "path";
                   object["bitrate_kbps"] = path.bitrate_kbps;
                   object["used_kbps"] = path.used_kbps;
                   object["wanted_kbps"] = path.wanted_kbps;
                   object["loss_percent"] = path.loss_percent;
                   object["round_trip_ms"] = path.round_trip_ms;
                   object["limited_by"] = path.limited_by;
                   json array = json::array();
                   for (const Path::Slot& slot : path.slots)
                     array.push_back({{"mid", slot.mid},
                                      {"paused", slot.paused},
                                      {"layer", slot.layer},
                                      {"layers", slot.layers},
                                      {"temporal", slot.temporal},
                                      {"limited_by", slot.limited_by}});
                   object["slots"] = std::move(array);
                 },
                 [](const TurnServer&) { SATSUMA_CHECK(false); }, // write_turn_server
                 [&](const ControlError& error) {
                   SATSUMA_CHECK(is_error_code(error.code) && error.message.size() <= max_control_error_size);
                   object["type"] = "error";
                   if (error.id) {
                     check_id(*error.id);
                     object["id"] = *error.id;
                   }
                   object["code"] = error.code;
                   object["message"] = error.message;
                 },
             },
             message);
  return dump(object);
}

std::size_t utf16_length(std::string_view utf8) {
  std::size_t units = 0;
  for (const char c : utf8) {
    const auto byte = static_cast<std::uint8_t>(c);
    if ((byte & 0xC0) != 0x80) units += byte >= 0xF0 ? 2 : 1;
  }
  return units;
}

std::string write_member_chat(const MemberChat& message) { return dump({{"type", "chat"}, {"number", message.number}, {"text", message.text}}); }

std::optional<MemberMessage> parse_member_message(std::string_view text) {
  const auto object = parse_object(text);
  if (!object) return std::nullopt;
  const auto type = read_string(*object, "type", 1, 32);
  if (!type) return std::nullopt;
  if (*type == "voice") return MemberSpeaks{};
  if (*type == "chat") {
    const auto number = read_number(*object, "number", 0, max_sequence);
    auto words = read_string(*object, "text", 1, 3 * max_chat_length);
    if (!number || !words || utf16_length(*words) > max_chat_length) return std::nullopt;
    return MemberChat{*number, std::move(*words)};
  }
  if (*type != "state") return std::nullopt;
  const auto on = object->find("microphone");
  if (on == object->end() || !on->is_boolean()) return std::nullopt;
  return MemberState{*on->get_ptr<const json::boolean_t*>()};
}

} // namespace satsuma::signaling
