#include "janus_messages.h"

#include <nlohmann/json.hpp>

namespace satsuma::client {

namespace {

using nlohmann::json;

const json* member(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

std::string text(const json& object, const char* name) {
  const json* const value = member(object, name);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

std::uint64_t number(const json& object, const char* name) {
  const json* const value = member(object, name);
  return value != nullptr && value->is_number_unsigned() ? value->get<std::uint64_t>() : 0;
}

std::optional<JanusMessage> read(const json& object) {
  JanusMessage message;
  message.kind = text(object, "janus");
  if (message.kind.empty()) return std::nullopt;
  message.transaction = text(object, "transaction");
  message.reason = text(object, "reason");
  if (const json* const data = member(object, "data")) message.id = number(*data, "id");
  if (const json* const error = member(object, "error")) message.problem = {static_cast<std::int64_t>(number(*error, "code")), text(*error, "reason")};
  if (const json* const jsep = member(object, "jsep")) message.sdp = text(*jsep, "sdp");
  const json* const plugin = member(object, "plugindata");
  const json* const data = plugin == nullptr ? nullptr : member(*plugin, "data");
  if (data == nullptr) return message;
  if (member(*data, "error") != nullptr || member(*data, "error_code") != nullptr) message.problem = {static_cast<std::int64_t>(number(*data, "error_code")), text(*data, "error")};
  if (const json* const exists = member(*data, "exists"); exists != nullptr && exists->is_boolean()) message.exists = exists->get<bool>();
  // A number, or a string where the VideoRoom is set up for these.
  if (const json* const feed = member(*data, "id"); feed != nullptr && (feed->is_number_unsigned() || feed->is_string()))
    message.feed = feed->dump(-1, ' ', false, json::error_handler_t::replace);
  return message;
}

} // namespace

Result<std::vector<JanusMessage>> parse_janus_messages(std::string_view body) {
  // The library takes a NUL for the end of the text, whatever follows.
  if (body.find('\0') != std::string_view::npos) return janus_not_json;
  const json value = json::parse(body, nullptr, false);
  if (value.is_discarded()) return janus_not_json;
  std::vector<JanusMessage> messages;
  if (value.is_array()) {
    if (value.size() > max_janus_messages) return janus_too_many_messages;
    for (const json& element : value) {
      auto message = read(element);
      if (!message) return janus_unknown_message;
      messages.push_back(std::move(*message));
    }
    return messages;
  }
  auto message = read(value);
  if (!message) return janus_unknown_message;
  messages.push_back(std::move(*message));
  return messages;
}

} // namespace satsuma::client
