#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "io/media_loop.h"
#include "io/random.h"

namespace satsuma::server {

/// One thread that forwards the media of whole rooms, with its sockets bound and announced.
class MediaShard {
 public:
  struct Options {
    std::vector<std::string> addresses; ///< numeric, announced; bound too where they are this machine's
    bool all_addresses_needed = false;  ///< otherwise those that cannot be bound are left out, as long as one is
    std::uint16_t port = 0;             ///< UDP; 0: any free one
    std::size_t part = 0;               ///< sfu::Config::part
    bool tcp = true;                    ///< listen at the same port for TCP too, where it is free
    /// Where media over TCP is taken besides, by who calls loop().adopt().
    std::uint16_t page_port = 0;        ///< 0: nowhere
    std::string page_address;           ///< the page's listening address, numeric
    io::MediaStreamLimits stream_limits;
    sfu::Limits limits;
#ifdef SATSUMA_TEST_HOOKS
    sfu::PacketTap* tap = nullptr;      ///< outlives the shard
#endif
  };
  struct Failure {
    std::string sentence; ///< for the operator
    bool port_taken = false;
  };
  /// Binds and starts the thread. `context` outlives the shard.
  static std::expected<std::unique_ptr<MediaShard>, Failure> start(const Options& options, const dtls::Context& context);

  std::uint16_t port() const { return port_; }
  /// What browsers are told, for UDP.
  const std::vector<TransportAddress>& candidates() const { return candidates_; }
  io::MediaLoop& loop() { return *loop_; }

 private:
  MediaShard() = default;

  io::SystemRandom random_;
  std::uint16_t port_ = 0;
  std::vector<TransportAddress> candidates_;
  std::unique_ptr<io::MediaLoop> loop_;
};

} // namespace satsuma::server
