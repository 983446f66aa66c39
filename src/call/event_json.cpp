#include "call/event_json.h"

#include "call/utf8.h"

namespace satsuma::call {

namespace {

// RFC 8259. Members in the order of the calls; the caller keeps the nesting balanced.
class JsonWriter {
 public:
  JsonWriter& open(char bracket) {
    comma();
    text_ += bracket;
    first_ = true;
    return *this;
  }
  JsonWriter& close(char bracket) {
    text_ += bracket;
    first_ = false;
    return *this;
  }
  JsonWriter& key(std::string_view name) {
    comma();
    quoted(name);
    text_ += ':';
    first_ = true;
    return *this;
  }
  JsonWriter& string(std::string_view value) {
    comma();
    quoted(value);
    return *this;
  }
  JsonWriter& number(std::uint64_t value) {
    comma();
    text_ += std::to_string(value);
    return *this;
  }
  JsonWriter& boolean(bool value) {
    comma();
    text_ += value ? "true" : "false";
    return *this;
  }
  JsonWriter& null() {
    comma();
    text_ += "null";
    return *this;
  }
  JsonWriter& number_or_null(const std::optional<std::uint32_t>& value) { return value ? number(*value) : null(); }
  JsonWriter& strings(const std::vector<std::string>& values) {
    open('[');
    for (const std::string& value : values) string(value);
    return close(']');
  }
  std::string take() && { return std::move(text_); }

 private:
  void comma() {
    if (!first_) text_ += ',';
    first_ = false;
  }
  void quoted(std::string_view value) {
    constexpr char digits[] = "0123456789abcdef";
    text_ += '"';
    while (!value.empty()) {
      std::uint32_t code = 0;
      const std::size_t length = decode_utf8(value, code);
      if (length == 0) {
        text_ += "\\ufffd";
        value.remove_prefix(1);
        continue;
      }
      if (code == '"' || code == '\\') {
        text_ += '\\';
        text_ += static_cast<char>(code);
      } else if (code < 0x20 || code == 0x7f) {
        text_ += "\\u00";
        text_ += digits[code >> 4];
        text_ += digits[code & 0xf];
      } else {
        text_ += value.substr(0, length);
      }
      value.remove_prefix(length);
    }
    text_ += '"';
  }

  std::string text_;
  bool first_ = true;
};

std::string_view name(WaitingReason reason) {
  switch (reason) {
    case WaitingReason::no_secret: return "no_secret";
    case WaitingReason::not_admitted: return "not_admitted";
    case WaitingReason::empty: return "empty";
  }
  return "";
}

std::string_view name(DeviceProof proof) {
  switch (proof) {
    case DeviceProof::pending: return "pending";
    case DeviceProof::proven: return "proven";
    case DeviceProof::refuted: return "refuted";
  }
  return "";
}

std::string_view name(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::entered: return "entered";
    case ChangeKind::changed: return "changed";
    case ChangeKind::refreshed: return "refreshed";
    case ChangeKind::new_era: return "new_era";
  }
  return "";
}

std::string_view name(RejoinReason reason) {
  switch (reason) {
    case RejoinReason::gone: return "gone";
    case RejoinReason::removed: return "removed";
    case RejoinReason::cannot_process: return "cannot_process";
    case RejoinReason::log_broken: return "log_broken";
    case RejoinReason::refused_tree: return "refused_tree";
    case RejoinReason::new_era: return "new_era";
    case RejoinReason::log_differs: return "log_differs";
  }
  return "";
}

std::string_view name(signaling::GoneCause cause) {
  switch (cause) {
    case signaling::GoneCause::goodbye: return "goodbye";
    case signaling::GoneCause::connection_lost: return "lost";
    case signaling::GoneCause::engine_stalled: return "stalled";
    case signaling::GoneCause::could_not_follow: return "could_not_follow";
    case signaling::GoneCause::reported: return "reported";
  }
  return "";
}

JsonWriter event(std::string_view type) {
  JsonWriter json;
  json.open('{').key("type").string(type);
  return json;
}

std::string write(const ReadyEvent& ready) {
  JsonWriter json = event("ready");
  json.key("incarnation").string(ready.incarnation.hex()).key("resumed").boolean(ready.resumed).close('}');
  return std::move(json).take();
}

std::string write(const WaitingEvent& waiting) {
  JsonWriter json = event("waiting");
  json.key("reason").string(name(waiting.reason)).close('}');
  return std::move(json).take();
}

void device(JsonWriter& json, const RosterEntry& member) {
  json.key("device").string(member.profile.proof == DeviceProof::proven ? to_hex(member.profile.device_key) : "");
  json.key("proof").string(name(member.profile.proof));
}

std::string write(const EpochEvent& epoch) {
  JsonWriter json = event("epoch");
  json.key("era").number(epoch.era).key("epoch").number(epoch.epoch).key("self").number(epoch.self).key("roster").open('[');
  for (const RosterEntry& member : epoch.roster) {
    json.open('{').key("leaf").number(member.leaf).key("incarnation").string(member.who.hex());
    json.key("name").string(member.profile.name);
    device(json, member);
    json.key("self").boolean(member.leaf == epoch.self).close('}');
  }
  json.close(']').key("safety_number").string(epoch.safety_number.digits);
  json.key("authenticator").string(to_hex(epoch.safety_number.bits)).key("previous");
  if (epoch.previous) json.string(*epoch.previous);
  else json.null();
  json.key("reason").open('{').key("kind").string(name(epoch.kind));
  json.key("joined").strings(epoch.joined).key("left").strings(epoch.left).close('}');
  json.key("committer").number_or_null(epoch.committer).key("designated").number_or_null(epoch.designated).close('}');
  return std::move(json).take();
}

std::string write(const DevicesEvent& devices) {
  JsonWriter json = event("devices");
  json.key("checked").open('[');
  for (const RosterEntry& member : devices.checked) {
    json.open('{').key("incarnation").string(member.who.hex());
    device(json, member);
    json.close('}');
  }
  json.close(']').close('}');
  return std::move(json).take();
}

std::string write(const DepartedEvent& departed) {
  JsonWriter json = event("departed");
  json.key("incarnation").string(departed.who.hex()).key("leaf").number(departed.leaf);
  json.key("name").string(departed.name).key("cause").string(name(departed.cause)).key("committer").string(departed.committer).close('}');
  return std::move(json).take();
}

std::string write(const OverdueEvent& late) {
  JsonWriter json = event("overdue");
  json.key("overdue").boolean(late.overdue).close('}');
  return std::move(json).take();
}

std::string write(const PresentEvent& present) {
  JsonWriter json = event("present");
  json.key("incarnation").string(present.who.hex()).key("connected").boolean(present.connected).close('}');
  return std::move(json).take();
}

std::string write(const ApplicationEvent& message) {
  JsonWriter json = event("application");
  json.key("leaf").number(message.leaf).key("incarnation").string(message.who.hex()).key("text").string(message.text).close('}');
  return std::move(json).take();
}

std::string write(const KeysEvent& keys) {
  JsonWriter json = event("keys");
  json.key("sending");
  if (keys.sending) json.open('{').key("era").number(keys.sending->era).key("epoch").number(keys.sending->epoch).close('}');
  else json.null();
  json.close('}');
  return std::move(json).take();
}

std::string write(const StreamEvent& stream) {
  const auto type = [&]() -> std::string_view {
    switch (stream.judgement.verdict) {
      case StreamVerdict::confirmed: return "stream_confirmed";
      case StreamVerdict::unconfirmed: return "stream_unconfirmed";
      case StreamVerdict::forged: return "stream_forged";
    }
    return "";
  }();
  JsonWriter json = event(type);
  json.key("leaf").number(stream.judgement.leaf).key("incarnation").string(stream.who.hex());
  json.key("context").number(static_cast<std::uint64_t>(stream.judgement.context)).close('}');
  return std::move(json).take();
}

std::string write(const RejoiningEvent& rejoining) {
  const auto delay = std::chrono::duration_cast<std::chrono::milliseconds>(rejoining.delay).count();
  JsonWriter json = event("rejoining");
  json.key("reason").string(name(rejoining.reason)).key("delay_ms").number(static_cast<std::uint64_t>(delay));
  json.key("committer").string(rejoining.committer).close('}');
  return std::move(json).take();
}

std::string write(const ErrorEvent& error) {
  JsonWriter json = event("error");
  json.key("code").number(error.code).key("text").string(error.text).key("fatal").boolean(error.fatal).close('}');
  return std::move(json).take();
}

std::string write(const LeftEvent&) {
  JsonWriter json = event("left");
  json.close('}');
  return std::move(json).take();
}

std::string write(const SendBinary&) { return {}; }
std::string write(const Reconnect&) { return {}; }
std::string write(const Close&) { return {}; }

} // namespace

std::string event_json(const SessionOutput& output) {
  return std::visit([](const auto& event) { return write(event); }, output);
}

} // namespace satsuma::call
