// satsumad: the page, the delivery service and the media forwarding in one program.

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "addresses.h"
#include "delivery/delivery_service.h"
#include "delivery/memory_store.h"
#include "delivery/mls_group_gate.h"
#include "dtls/connection.h"
#include "io/certificate.h"
#include "io/clock.h"
#include "io/http_server.h"
#include "io/random.h"
#include "io/sqlite_store.h"
#include "media_limits.h"
#include "media_shard.h"
#include "meeting_server.h"
#include "options.h"
#include "packet_dump.h"
#include "room_trace_file.h"
#include "version.h"

namespace satsuma::server {
namespace {

int fail(const std::string& sentence) {
  std::fprintf(stderr, "satsumad: %s\n", sentence.c_str());
  return 1;
}

void start_log(const std::string& level) {
  auto logger = std::make_shared<spdlog::logger>("satsumad", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("time=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::from_str(level == "warn" ? "warning" : level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

std::string in_url(const std::string& address) { return address.find(':') == std::string::npos ? address : "[" + address + "]"; }

/// By what this server may be called in a browser's address bar.
std::vector<std::string> certificate_names(const Options& options) {
  std::vector<std::string> names = options.tls_names;
  names.insert(names.end(), options.public_addresses.begin(), options.public_addresses.end());
  if (is_unspecified_address(options.listen_address)) {
    names.push_back("localhost");
    names.push_back("127.0.0.1");
    char host[256] = {};
    if (::gethostname(host, sizeof host - 1) == 0 && host[0] != '\0' && std::string_view(host).find('_') == std::string_view::npos) names.emplace_back(host);
    for (const std::string& address : machine_addresses()) names.push_back(address);
  } else {
    names.push_back(options.listen_address);
  }
  return names;
}

int run(const Options& options) {
  start_log(options.log_level);
  rlimit files{}; // a connection is one, and 1024 are soon used
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
  }
  std::error_code error;
  std::filesystem::create_directories(options.data_folder, error);
  if (error) return fail("the data folder " + options.data_folder + " cannot be made: " + error.message() + ". Choose another with --data.");
  ::umask(0077);

  std::unique_ptr<delivery::Store> store;
  if (options.store == StoreKind::memory) {
    store = std::make_unique<delivery::MemoryStore>();
  } else {
    auto opened = io::SqliteStore::open(options.data_folder + "/rooms.sqlite");
    if (!opened) return fail(opened.error());
    store = std::move(*opened);
  }

  io::HttpOptions http_options;
  http_options.address = options.listen_address;
  http_options.port = options.listen_port;
  http_options.web_folder = options.web_folder;
  http_options.allowed_origins = options.allowed_origins;
  http_options.metrics = options.metrics;
  http_options.handle_signals = true;
  http_options.media_streams = options.media_tcp;
  http_options.limits.connections = options.max_connections;
  http_options.limits.connections_per_address = options.max_connections_per_address;
  // Whoever lets one address have many, a proxy for example, lets it have them soon as well: all at once, and all anew in ten seconds.
  http_options.limits.new_connection_burst = options.max_connections_per_address;
  http_options.limits.new_connections_per_second = (options.max_connections_per_address + 9) / 10;
  const bool given = !options.tls_certificate.empty();
  const bool tls = given || (options.tls == TlsMode::automatic && !is_loopback_address(options.listen_address));
  if (tls) {
    const auto certificate = given ? io::load_certificate(options.tls_certificate, options.tls_key, io::unix_now())
                                   : io::own_certificate(options.data_folder, certificate_names(options), io::unix_now());
    if (!certificate) return fail(certificate.error());
    http_options.certificate_pem = certificate->chain_pem;
    http_options.key_pem = certificate->key_pem;
    if (!given) {
      std::printf("Browsers will warn once: this server made its certificate itself. Its SHA-256 fingerprint is\n  %s\n", certificate->sha256_fingerprint.c_str());
    }
  }

  const auto dtls_context = dtls::Context::create(io::unix_now());
  if (!dtls_context) return fail("OpenSSL could not make the certificate for media.");

  delivery::MlsGroupGateFactory gates;
  delivery::DeliveryOptions delivery_options;
  delivery_options.grace = options.grace;
  delivery_options.restart_grace = options.restart_grace;
  delivery_options.stall = options.stall;
  delivery_options.forget_after = options.forget_after;
  delivery_options.max_connections = options.max_connections;
#ifdef SATSUMA_TEST_HOOKS
  std::unique_ptr<RoomTraceFile> room_trace;
  delivery::Store* kept = store.get();
  if (!options.room_trace.empty()) {
    room_trace = std::make_unique<RoomTraceFile>(options.room_trace, *store);
    if (!room_trace->ok()) return fail("the file of --test-room-trace cannot be written.");
    kept = &room_trace->store();
  }
  delivery::DeliveryService service(delivery_options, *kept, gates);
#else
  delivery::DeliveryService service(delivery_options, *store, gates);
#endif

#ifdef SATSUMA_TEST_HOOKS
  std::unique_ptr<PacketDump> dump; // outlives the media threads
  if (!options.dump_media.empty()) {
    dump = std::make_unique<PacketDump>(options.dump_media);
    if (!dump->ok()) return fail("the file of --test-dump-media cannot be written.");
  }
#endif

  // The sequence of `slots` rises across restarts: seconds make room for a million changes each, below 2^53.
  io::SystemRandom random;
  std::unique_ptr<turn::Server> turn; // outlives the connections
  MeetingServer meetings(service, io::unix_now() << 20, options.media_room_people);
#ifdef SATSUMA_TEST_HOOKS
  meetings.set_room_trace(room_trace.get());
#endif
  auto http = io::HttpServer::create(std::move(http_options), meetings);
  if (!http) return fail(http.error());
  io::HttpServer& server = **http;
  meetings.attach(server);

  std::vector<TransportAddress> media_addresses;
  const std::vector<std::string> addresses = options.public_addresses.empty() ? default_media_addresses(options.listen_address) : options.public_addresses;
  for (std::size_t i = 0; i < options.media_threads; ++i) {
    MediaShard::Options shard_options;
    shard_options.addresses = addresses;
    shard_options.limits = media_limits(delivery_options);
    shard_options.limits.max_audio_slots = options.voices;
    shard_options.limits.audio_slots = std::min(shard_options.limits.audio_slots, options.voices);
    if (options.last_n > 0) shard_options.limits.last_n = options.last_n;
    shard_options.all_addresses_needed = !options.public_addresses.empty();
    shard_options.part = i;
    shard_options.tcp = options.media_tcp;
    shard_options.page_port = server.port();
    shard_options.page_address = options.listen_address;
    shard_options.stream_limits.connections = options.max_connections;
    shard_options.stream_limits.connections_per_address = options.max_connections_per_address;
    shard_options.stream_limits.new_connection_burst = http_options.limits.new_connection_burst;
    shard_options.stream_limits.new_connections_per_second = http_options.limits.new_connections_per_second;
    shard_options.port = options.media_port == 0 ? std::uint16_t{0} : static_cast<std::uint16_t>(options.media_port + i);
#ifdef SATSUMA_TEST_HOOKS
    shard_options.tap = dump.get();
#endif
    auto shard = MediaShard::start(shard_options, *dtls_context);
    if (!shard && shard.error().port_taken && !options.media_port_given) {
      spdlog::warn("event=media_port_taken port={} instead=any", shard_options.port);
      shard_options.port = 0;
      shard = MediaShard::start(shard_options, *dtls_context);
    }
    if (!shard) return fail(shard.error().sentence);
    spdlog::info("event=media_ready thread={} udp_port={} addresses={}", i, (*shard)->port(), addresses.size());
    media_addresses.insert(media_addresses.end(), (*shard)->candidates().begin(), (*shard)->candidates().end());
    meetings.add_shard(std::move(*shard));
  }
  if (options.turn && server.has_tls()) {
    turn = std::make_unique<turn::Server>(std::move(media_addresses), random);
    server.set_turn(*turn);
    meetings.set_turn(*turn);
  }

  if (auto loaded = service.load(io::monotonic_now()); !loaded) {
    return fail("the rooms in " + options.data_folder + " cannot be read. Is another satsumad using this folder? Choose another with --data, or start with --store memory.");
  }
  meetings.begin();

  if (!server.has_page()) {
    std::fprintf(stderr, "satsumad: there is no web page to serve%s. Build it (./run does) and name its folder with --web.\n", options.web_folder.empty() ? "" : " in the folder of --web");
  }
  const std::string host = is_unspecified_address(options.listen_address) ? (addresses.empty() ? "127.0.0.1" : addresses.front()) : options.listen_address;
  spdlog::info("event=ready version={} rooms={} tls={}", version, service.room_count(), tls);
  std::printf("Satsuma is ready: %s://%s:%u/\n", tls ? "https" : "http", in_url(host).c_str(), static_cast<unsigned>(server.port()));
  std::fflush(stdout);

  server.run();
  meetings.end_media();
  spdlog::info("event=stopped");
  return 0;
}

} // namespace
} // namespace satsuma::server

int main(int argc, char** argv) {
  const auto options = satsuma::server::parse_options(argc, argv);
  if (!options) {
    std::fputs(options.error().text.c_str(), options.error().status == 0 ? stdout : stderr);
    return options.error().status;
  }
  try {
    return satsuma::server::run(*options);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "satsumad: unexpected failure: %s\n", problem.what());
    return 1;
  }
}
