#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "base/time.h"
#include "io/http_server.h"

namespace satsuma::server {

enum class StoreKind : std::uint8_t { sqlite, memory };
enum class TlsMode : std::uint8_t { automatic, off };

/// What the operator may choose; the defaults serve one person trying it on their own machine.
struct Options {
  std::string listen_address = "127.0.0.1"; ///< numeric
  std::uint16_t listen_port = 8080;
  std::vector<std::string> public_addresses; ///< for media; empty: found out
  std::uint16_t media_port = 8443;           ///< UDP, the first of media_threads
  bool media_port_given = false;             ///< then it is that one or none
  std::size_t media_threads = 1;             ///< 0: one for each core
  std::size_t media_room_people = 64;        ///< of one room, before the other threads take some too
  bool media_tcp = true;                     ///< media over TCP as well, at the media ports and at the page's
  std::size_t voices = 40;                   ///< microphones that each is sent at most; not fewer than clients believe in
  std::size_t last_n = 0;                    ///< cameras sent to who did not say what it shows; 0: all
  bool turn = true;                          ///< where there is TLS, media inside it as well, at the page's port
  std::string data_folder;
  std::string web_folder;
  std::string tls_certificate;
  std::string tls_key;
  std::vector<std::string> tls_names; ///< further names for the certificate that the server makes
  TlsMode tls = TlsMode::automatic;
  StoreKind store = StoreKind::sqlite;
  std::string log_level = "info";
  std::vector<std::string> allowed_origins;
  io::MetricsFor metrics = io::MetricsFor::this_machine;
  Duration grace{};
  Duration restart_grace{};
  Duration stall{};
  Duration forget_after{};
  std::size_t max_connections = 4096;
  std::size_t max_connections_per_address = 512;
#ifdef SATSUMA_TEST_HOOKS
  std::string dump_media; ///< every received RTP packet goes there, its SRTP undone
  std::string room_trace; ///< what happens in the rooms is appended there
#endif
};

/// The program is to end with this status, `text` having been said to the person (on stdout for 0, otherwise on stderr).
struct EndOfProgram {
  int status = 0;
  std::string text;
};

/// From the command line and, with --config, a TOML file; the command line wins.
std::expected<Options, EndOfProgram> parse_options(int argc, const char* const* argv);

/// "192.0.2.1:8080", "[::1]:8080", ":8080" (every address), "8080" (this machine alone) or an address alone.
struct ListenAddress {
  std::string address;
  std::uint16_t port = 0;
};
std::expected<ListenAddress, std::string> parse_listen(const std::string& text, std::uint16_t default_port);

} // namespace satsuma::server
