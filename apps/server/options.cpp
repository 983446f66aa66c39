#include "options.h"

#include <arpa/inet.h>

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <memory>
#include <sstream>
#include <thread>
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "addresses.h"
#include "delivery/delivery_service.h"
#include "signaling/control_messages.h"
#include "version.h"

namespace satsuma::server {
namespace {

/// Lets CLI11 read its configuration file through toml++: `listen = "[::]:8443"`, the names of the options without the dashes.
class TomlConfig final : public CLI::Config {
 public:
  /// Of the program's options, which outlive this.
  explicit TomlConfig(const CLI::App& options) : options_(&options) {}

  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }

  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    std::vector<CLI::ConfigItem> items;
    toml::table table;
    try {
      table = toml::parse(input);
    } catch (const toml::parse_error& problem) {
      std::ostringstream where;
      where << problem.description() << " (line " << problem.source().begin.line << ")";
      throw CLI::ConfigError("The configuration file is not TOML: " + where.str());
    }
    for (const auto& [key, value] : table) {
      CLI::ConfigItem item;
      item.name = std::string(key.str());
      if (value.is_table()) throw CLI::ConfigError("The configuration file has no sections: write what stands below [" + item.name + "] at its top, without that line.");
      if (options_->get_option_no_throw("--" + item.name) == nullptr) throw CLI::ConfigError("The configuration file names an option that does not exist: " + item.name);
      if (const toml::array* list = value.as_array()) {
        for (const toml::node& element : *list) item.inputs.push_back(text_of(element, item.name));
      } else {
        item.inputs.push_back(text_of(value, item.name));
      }
      items.push_back(std::move(item));
    }
    return items;
  }

 private:
  const CLI::App* options_;

  static std::string text_of(const toml::node& node, const std::string& name) {
    if (const auto text = node.value_exact<std::string>()) return *text;
    if (const auto number = node.value_exact<std::int64_t>()) return std::to_string(*number);
    if (const auto flag = node.value_exact<bool>()) return *flag ? "true" : "false";
    throw CLI::ConfigError("In the configuration file, " + name + " must be a text, a whole number, true or false, or a list of these.");
  }
};

std::string default_data_folder() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && data[0] == '/') return std::string(data) + "/satsuma";
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') return std::string(home) + "/.local/share/satsuma";
  return "satsuma-data";
}

bool is_numeric(const std::string& address) {
  std::array<unsigned char, 16> out;
  return inet_pton(AF_INET, address.c_str(), out.data()) == 1 || inet_pton(AF_INET6, address.c_str(), out.data()) == 1;
}

std::string check_address(const std::string& text) { return is_numeric(text) ? std::string() : "\"" + text + "\" is not an IP address (a host name is not enough here)"; }

} // namespace

std::expected<ListenAddress, std::string> parse_listen(const std::string& text, std::uint16_t default_port) {
  const auto explain = [&] {
    return std::unexpected("--listen: \"" + text + "\" is not an address with a port. Examples: 127.0.0.1:8080, [::]:8443, 192.0.2.1:443, 8080.");
  };
  std::string address = text;
  std::string port;
  if (is_numeric(text)) {
    return ListenAddress{text, default_port};
  } else if (text.starts_with('[')) {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string::npos) return explain();
    address = text.substr(1, bracket - 1);
    if (bracket + 1 == text.size()) {
      port = std::to_string(default_port);
    } else if (text[bracket + 1] == ':') {
      port = text.substr(bracket + 2);
    }
  } else if (const std::size_t colon = text.rfind(':'); colon != std::string::npos) {
    address = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (address.empty() || address == "*") address = "::";
  } else if (!text.empty() && text.find_first_not_of("0123456789") == std::string::npos) {
    address = "127.0.0.1";
    port = text;
  } else {
    port = std::to_string(default_port);
  }
  if (address == "localhost") address = "127.0.0.1";
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (port.empty() || error != std::errc() || end != port.data() + port.size() || !is_numeric(address)) return explain();
  return ListenAddress{address, number};
}

std::expected<Options, EndOfProgram> parse_options(int argc, const char* const* argv) {
  Options options;
  options.data_folder = default_data_folder();
  const delivery::DeliveryOptions delivery_defaults;
  const auto milliseconds = [](Duration duration) { return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count(); };
  std::string listen = "127.0.0.1:8080";
  std::int64_t grace_ms = milliseconds(delivery_defaults.grace);
  std::int64_t restart_grace_ms = milliseconds(delivery_defaults.restart_grace);
  std::int64_t stall_ms = milliseconds(delivery_defaults.stall);
  std::int64_t forget_ms = milliseconds(delivery_defaults.forget_after);
  const CLI::Range bounded_ms(std::int64_t{100}, std::int64_t{24} * 3600 * 1000);

  CLI::App app{"satsumad serves end-to-end encrypted video meetings: the page, the ordering of key agreement, and the media, none of which it can read.", "satsumad"};
  app.get_formatter()->column_width(34);
  app.set_version_flag("--version", std::string("satsumad ") + version);
  app.set_config("--config", "", "a TOML file with these options, by their names without the dashes; the command line wins");
  app.config_formatter(std::make_shared<TomlConfig>(app));
  app.allow_config_extras(CLI::config_extras_mode::error);

  app.add_option("--listen", listen, "ADDRESS:PORT for the page and its WebSocket (TCP). 127.0.0.1 is for this machine alone and needs no TLS; [::]:8443 is for everybody")->capture_default_str();
  app.add_option("--public-address", options.public_addresses, "an address that browsers send media to; may be given several times. Default: the address of --listen, or all of this machine")
      ->check(CLI::Validator(check_address, "ADDRESS"));
  CLI::Option* media_port =
      app.add_option("--media-port", options.media_port, "UDP (and TCP) port for media, the first of --media-threads; 0: any. When it is not given and 8443 is taken, any")
          ->check(CLI::Range(0, 65535))
          ->capture_default_str();
  app.add_option("--media-threads", options.media_threads, "threads that forward media, each with a port of its own; 0: one for each core")->check(CLI::Range(0, 64))->capture_default_str();
  app.add_option("--media-room-people", options.media_room_people, "so many people of a room are on one media thread before others take some of them")->check(CLI::Range(1, 100'000))->capture_default_str();
  app.add_option("--media-tcp", options.media_tcp, "on: browsers without UDP send media over TCP, to --media-port or to the port of the page; off: UDP alone")
      ->transform(CLI::CheckedTransformer(std::map<std::string, bool>{{"on", true}, {"off", false}}).description("on|off"))
      ->default_str("on");
  app.add_option("--last-n", options.last_n, "cameras that are sent to a client which has not said what it shows: those of who spoke last; 0: all")->check(CLI::Range(0, 1000))->capture_default_str();
  app.add_option("--voices", options.voices, "microphones that each client is sent at most; with more on, those of who speak")->check(CLI::Range(signaling::least_voices, signaling::most_voices))->capture_default_str();
  app.add_option("--turn", options.turn, "on: browsers on networks that pass nothing but TLS send media inside it, to the port of the page (TURN, relaying to this server alone); needs HTTPS from here, with a certificate that they trust")
      ->transform(CLI::CheckedTransformer(std::map<std::string, bool>{{"on", true}, {"off", false}}).description("on|off"))
      ->default_str("on");
  app.add_option("--data", options.data_folder, "folder for what must outlive the program: rooms, certificate")->capture_default_str();
  app.add_option("--web", options.web_folder, "folder of the built web page");
  app.add_option("--tls", options.tls, "auto: HTTPS unless the address is this machine's own; off: plain HTTP, behind a proxy that does TLS")
      ->transform(CLI::CheckedTransformer(std::map<std::string, TlsMode>{{"auto", TlsMode::automatic}, {"off", TlsMode::off}}).description("auto|off"))
      ->default_str("auto");
  CLI::Option* certificate = app.add_option("--tls-cert", options.tls_certificate, "certificate chain (PEM); otherwise one is made and kept in --data");
  CLI::Option* key = app.add_option("--tls-key", options.tls_key, "its private key (PEM)");
  certificate->needs(key);
  key->needs(certificate);
  app.add_option("--tls-name", options.tls_names, "a host name for the certificate that is made; may be given several times");
  app.add_option("--allow-origin", options.allowed_origins, "a further origin, like https://meet.example.org, whose page may connect");
  app.add_option("--store", options.store, "where rooms are kept: sqlite (they outlive a restart) or memory")
      ->transform(CLI::CheckedTransformer(std::map<std::string, StoreKind>{{"sqlite", StoreKind::sqlite}, {"memory", StoreKind::memory}}).description("sqlite|memory"))
      ->default_str("sqlite");
  app.add_option("--log-level", options.log_level, "debug, info, warn, error or off; the log goes to stderr")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  bool metrics_for_everyone = false, no_metrics = false;
  CLI::Option* everyone = app.add_flag("--metrics-for-everyone", metrics_for_everyone, "answer /metrics to others than this machine");
  app.add_flag("--no-metrics", no_metrics, "answer /metrics to nobody: behind a proxy on this machine that passes TLS on unopened everybody seems to be this machine")->excludes(everyone);
  app.add_option("--max-connections", options.max_connections, "TCP connections at a time")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  app.add_option("--max-connections-per-address", options.max_connections_per_address, "... from one address")->check(CLI::Range(1, 1'000'000))->capture_default_str();
  app.add_option("--grace-ms", grace_ms, "how long a lost participant may come back before it is gone")->check(bounded_ms)->capture_default_str();
  app.add_option("--restart-grace-ms", restart_grace_ms, "the same after the server's own restart")->check(bounded_ms)->capture_default_str();
  app.add_option("--stall-ms", stall_ms, "how long a participant's encryption may be silent before it is gone")->check(bounded_ms)->capture_default_str();
  app.add_option("--forget-ms", forget_ms, "how long an empty room is remembered")->check(bounded_ms)->capture_default_str();
#ifdef SATSUMA_TEST_HOOKS
  if (const char* file = std::getenv("SATSUMA_DUMP_RTP")) options.dump_media = file;
  if (const char* file = std::getenv("SATSUMA_ROOM_TRACE")) options.room_trace = file;
  app.add_option("--test-room-trace", options.room_trace, "TESTS ONLY: append a line for each action in a room there, for satsuma_replay");
  app.add_option("--test-dump-media", options.dump_media, "TESTS ONLY: write each received RTP packet there, as 4 bytes of length and the packet with its SRTP undone");
#endif

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& end) {
    std::ostringstream out, problems;
    const int status = app.exit(end, out, problems);
    return std::unexpected(EndOfProgram{status == 0 ? 0 : 2, status == 0 ? out.str() : problems.str()});
  } catch (const std::exception& problem) {
    return std::unexpected(EndOfProgram{2, std::string(problem.what()) + "\n"});
  }
  if (no_metrics) options.metrics = io::MetricsFor::nobody;
  if (metrics_for_everyone) options.metrics = io::MetricsFor::everyone;
  const auto address = parse_listen(listen, 8080);
  if (!address) return std::unexpected(EndOfProgram{2, address.error() + "\n"});
  options.listen_address = address->address;
  options.listen_port = address->port;
  if (options.public_addresses.size() > max_media_addresses) {
    return std::unexpected(EndOfProgram{2, "--public-address: " + std::to_string(max_media_addresses) + " at most; each is in every description of a connection.\n"});
  }
  options.media_port_given = media_port->count() > 0;
  if (options.media_threads == 0) options.media_threads = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 64);
  if (options.media_port != 0 && options.media_port + options.media_threads - 1 > std::numeric_limits<std::uint16_t>::max()) {
    return std::unexpected(EndOfProgram{2, "--media-port: there are not enough ports above it for --media-threads.\n"});
  }
  options.grace = std::chrono::milliseconds(grace_ms);
  options.restart_grace = std::chrono::milliseconds(restart_grace_ms);
  options.stall = std::chrono::milliseconds(stall_ms);
  options.forget_after = std::chrono::milliseconds(forget_ms);
  return options;
}

} // namespace satsuma::server
