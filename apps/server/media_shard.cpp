#include "media_shard.h"

#include <algorithm>

#include "addresses.h"
#include "dtls/connection.h"

namespace satsuma::server {

std::expected<std::unique_ptr<MediaShard>, MediaShard::Failure> MediaShard::start(const Options& options, const dtls::Context& context) {
  const std::vector<std::string> own = machine_addresses();
  const auto is_own = [&own](const std::string& address) { return is_loopback_address(address) || std::ranges::find(own, address) != own.end(); };

  // An address that is not this machine's is that of a router which passes the port on: it arrives at one of ours.
  std::vector<std::string> bound;
  for (const std::string& address : options.addresses) {
    if (is_own(address) && std::ranges::find(bound, address) == bound.end()) bound.push_back(address);
  }
  if (!std::ranges::all_of(options.addresses, is_own)) {
    for (const std::string& address : own) {
      if (std::ranges::find(bound, address) == bound.end()) bound.push_back(address);
    }
  }

  std::vector<io::UdpSocket> sockets;
  io::MediaStreams streams(options.stream_limits);
  std::vector<std::string> without_tcp;
  sfu::Config config;
  config.limits = options.limits;
  config.part = options.part;
  std::uint16_t port = options.port;
  for (const std::string& address : bound) {
    const auto local = TransportAddress::parse(address, port);
    if (!local) continue;
    auto socket = io::UdpSocket::open(*local);
    if (!socket && options.port == 0) socket = io::UdpSocket::open(TransportAddress{local->ip, 0}); // the first socket's port is taken there
    if (!socket) {
      if (options.port == 0 && !options.all_addresses_needed) continue;
      const std::string place = (address.find(':') == std::string::npos ? address : "[" + address + "]") + ":" + std::to_string(port);
      return std::unexpected(Failure{"UDP " + place + " cannot be used for media; another program may have it. Choose another port with --media-port (0 takes any), or other addresses with --public-address.",
                                     options.port != 0});
    }
    if (port == 0) port = socket->local().port;
    const bool announced = std::ranges::find(options.addresses, address) != options.addresses.end();
    if (announced) config.candidates.push_back(socket->local());
    // The port may be another program's for TCP, or the page's own; media comes to the page's port too.
    if (options.tcp && !streams.listen(socket->local())) without_tcp.push_back(address);
    sockets.push_back(std::move(*socket));
  }
  for (const std::string& address : options.addresses) {
    if (is_own(address)) continue;
    if (const auto announced = TransportAddress::parse(address, port)) config.candidates.push_back(*announced);
  }
  if (sockets.empty() || config.candidates.empty()) {
    return std::unexpected(Failure{"No address was found on which media could be received. Name one of this machine's with --public-address.", false});
  }

  for (const TransportAddress& candidate : config.candidates) {
    if (!options.tcp) break;
    const std::string ip = candidate.ip_text();
    const bool page_there = options.page_port != 0 && (is_unspecified_address(options.page_address) || options.page_address == ip ||
                                                       (!is_own(ip) && !is_loopback_address(options.page_address)));
    if (page_there) config.tcp_candidates.push_back({candidate.ip, options.page_port});
    const bool same = page_there && options.page_port == candidate.port;
    if (!same && streams.has_listeners() && std::ranges::find(without_tcp, ip) == without_tcp.end()) config.tcp_candidates.push_back(candidate);
  }

  std::unique_ptr<MediaShard> shard(new MediaShard);
  shard->port_ = port;
  shard->candidates_ = config.candidates;
  sfu::Sfu sfu(std::move(config), context, shard->random_);
#ifdef SATSUMA_TEST_HOOKS
  if (options.tap != nullptr) sfu.set_packet_tap(options.tap);
#endif
  auto loop = io::MediaLoop::start(std::move(sockets), std::move(sfu), std::move(streams));
  if (!loop) return std::unexpected(Failure{"The media thread could not start: the system has no descriptors left (see ulimit -n).", false});
  shard->loop_ = std::move(*loop);
  return shard;
}

} // namespace satsuma::server
