#include "room_link.h"

#include <utility>

#include "call/identity.h"
#include "signaling/delivery_messages.h"

namespace satsuma::client {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"; // base64url

std::optional<Bytes> decode_secret(std::string_view text) {
  if (text.size() != 22) return std::nullopt;
  Bytes out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const std::size_t value = alphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      out.push_back(static_cast<std::uint8_t>(bits >> held));
    }
  }
  if ((bits & 15U) != 0) return std::nullopt; // one spelling of each secret
  return out;
}

} // namespace

std::expected<RoomLink, std::string> parse_room_link(std::string_view text) {
  const std::string example = "A room's link looks like https://meet.example.org/r/orchard-river-42#SECRET; copy it whole, with what stands behind the #.";
  if (!text.starts_with("http://") && !text.starts_with("https://")) return std::unexpected("This is no link to a room. " + example);
  auto url = parse_url(text);
  if (!url) return std::unexpected("This link cannot be used: " + url.error() + ". " + example);
  RoomLink link;
  const std::string behind = std::exchange(url->path, {});
  link.server = std::move(*url);
  text = behind;
  if (!text.starts_with("/r/")) return std::unexpected("This link names a server and no room. " + example);
  text.remove_prefix(3);
  const std::size_t hash = text.find('#');
  link.room = text.substr(0, hash);
  if (!signaling::is_room_name(link.room)) return std::unexpected("\"" + link.room + "\" cannot be a room's name: 1 to 64 of a-z, 0-9 and -.");
  if (hash == std::string_view::npos) return std::unexpected("The link has no part behind a #, so nobody would admit us (did the shell take it for a comment? put the link in quotes).");
  text.remove_prefix(hash + 1);
  const std::size_t dot = text.find('.');
  const auto secret = decode_secret(text.substr(0, dot));
  if (!secret) return std::unexpected("The part of the link behind the # is damaged: it has 22 letters, digits, - or _, and perhaps the suite behind a dot.");
  link.secret = SecretBytes::copy_of(*secret);
  const auto suite = call::room_suite_named(dot == std::string_view::npos ? std::string_view() : text.substr(dot + 1));
  if (!suite || (dot != std::string_view::npos && text.substr(dot + 1).empty())) return std::unexpected("The link names an encryption suite that this program does not know.");
  link.suite = *suite;
  return link;
}

std::string make_room_link(std::string_view server, ByteView random16, std::string_view name) {
  SATSUMA_CHECK(random16.size() == call::room_secret_size);
  while (server.ends_with('/')) server.remove_suffix(1);
  std::string out = std::string(server) + "/r/" + std::string(name) + "#";
  std::uint32_t bits = 0;
  int held = 0;
  for (const std::uint8_t byte : random16) {
    bits = bits << 8 | byte;
    held += 8;
    while (held >= 6) {
      held -= 6;
      out += alphabet[bits >> held & 63];
    }
  }
  if (held > 0) out += alphabet[bits << (6 - held) & 63];
  return out;
}

} // namespace satsuma::client
