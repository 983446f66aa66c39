// All of Asio and Beast is in this file and the headers that only it has: it takes as long to compile as everything else together.

#include "io/http_server.h"

#include <unistd.h>

#include <csignal>

#include <boost/asio/ip/v6_only.hpp>

#include "io/http/connection.h"

namespace satsuma::io {

using namespace internal;

std::optional<std::string> HttpServer::Implementation::open() {
  const HttpLimits& limits = options.limits;
  if (!options.web_folder.empty()) {
    auto loaded = StaticFiles::load(options.web_folder, limits.static_file, limits.static_total);
    if (!loaded) return loaded.error();
    files = std::move(*loaded);
  }
  if (!options.certificate_pem.empty()) {
    auto context = make_tls_context(options.certificate_pem, options.key_pem);
    if (!context) return context.error();
    tls = std::move(*context);
  }
  error_code error;
  const auto address = asio::ip::make_address(options.address, error);
  if (error) return "The address to listen on, \"" + options.address + "\", is not an IP address. Use for example --listen 127.0.0.1:8080 or --listen [::]:8443.";
  const tcp::endpoint endpoint(address, options.port);
  const std::string place = (address.is_v6() ? "[" + options.address + "]" : options.address) + ":" + std::to_string(options.port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error); // a restart must not wait for TIME_WAIT
  if (!error && address.is_v6() && address.is_unspecified()) acceptor.set_option(asio::ip::v6_only(false), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error == asio::error::address_in_use) {
    const std::string other = std::to_string(options.port == 65535 ? 8081 : options.port + 1);
    return place + " is in use by another program. Stop it, or choose another port: --listen " + (address.is_v6() ? "[" + options.address + "]" : options.address) + ":" + other;
  }
  if (error == asio::error::access_denied) {
    return "The system does not allow this user to listen on " + place + " (ports below 1024 need a privilege). Choose a higher port: --listen " +
           (address.is_v6() ? "[" + options.address + "]" : options.address) + ":8443";
  }
  if (error) return "Listening on " + place + " failed: " + error.message() + ". Is this an address of this machine? Choose one with --listen ADDRESS:PORT.";
  port = acceptor.local_endpoint(error).port();
  std::signal(SIGPIPE, SIG_IGN); // OpenSSL writes to descriptors whose other end may be gone
  if (options.handle_signals) {
    signals.add(SIGINT);
    signals.add(SIGTERM);
    const auto on_signal = [this](error_code failed, int) {
      if (failed) return;
      begin_stop();
      signals.async_wait([this](error_code second, int) {
        if (!second) io.stop(); // asked twice: at once
      });
    };
    signals.async_wait(on_signal);
  }
  accept();
  return std::nullopt;
}

void HttpServer::Implementation::accept() {
  acceptor.async_accept([this](error_code error, Socket socket) {
    if (stopping || error == asio::error::operation_aborted) return;
    if (error) {
      // Out of descriptors, most likely: a pause instead of a busy loop.
      auto pause = std::make_shared<Timer>(io.get_executor());
      pause->expires_after(std::chrono::milliseconds(100));
      pause->async_wait([this, pause](error_code) {
        if (!stopping) accept();
      });
      return;
    }
    error_code ignored;
    const auto peer = socket.remote_endpoint(ignored).address();
    const TimePoint now = monotonic_now();
    Address& from_there = address(peer, now)->second;
    const bool too_fast = !from_there.fresh.take(now, 1);
    if (ignored || too_fast || connections.size() >= options.limits.connections || from_there.connections >= options.limits.connections_per_address) {
      ++statistics.refused;
      if (too_fast) ++statistics.refused_too_fast;
      static constexpr std::string_view busy = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n";
      if (!tls) static_cast<void>(::send(socket.native_handle(), busy.data(), busy.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
      socket.close(ignored);
    } else {
      ++from_there.connections;
      ++statistics.accepted;
      socket.non_blocking(true, ignored);
      socket.native_non_blocking(true, ignored);
      socket.set_option(tcp::no_delay(true), ignored);
      const ConnectionId id = next_id++;
      auto connection = std::make_shared<Connection>(*this, id, std::move(socket), peer);
      connections.emplace(id, connection);
      statistics.connections = connections.size();
      connection->start();
    }
    accept();
  });
}

auto HttpServer::Implementation::address(const asio::ip::address& peer, TimePoint now) -> Addresses::iterator {
  const HttpLimits& limits = options.limits;
  if (per_address.size() >= limits.remembered_addresses + connections.size()) {
    std::erase_if(per_address, [now](auto& one) { return one.second.connections == 0 && one.second.fresh.full(now); });
    // Were only a few forgotten, this would be done again at the next accept.
    if (per_address.size() >= limits.remembered_addresses / 2 + connections.size()) {
      std::erase_if(per_address, [](const auto& one) { return one.second.connections == 0; });
    }
  }
  const Address fresh{0, TokenBucket(static_cast<double>(limits.new_connections_per_second), static_cast<double>(limits.new_connection_burst))};
  return per_address.try_emplace(to_transport_address(peer, 0).household(), fresh).first;
}

void HttpServer::Implementation::forget(Connection& connection) {
  const auto from_there = per_address.find(to_transport_address(connection.peer(), 0).household());
  if (from_there != per_address.end()) --from_there->second.connections;
  connections.erase(connection.id());
  statistics.connections = connections.size();
  if (stopping && connections.empty()) io.stop();
}

Connection* HttpServer::Implementation::web_socket(ConnectionId id) {
  const auto found = connections.find(id);
  return found != connections.end() && found->second->is_web_socket() ? found->second.get() : nullptr;
}

void HttpServer::Implementation::make_room_to_send(std::size_t size) {
  while (queued_bytes + size > options.limits.send_queues) {
    Connection* most = nullptr;
    for (const auto& [id, connection] : connections)
      if (most == nullptr || connection->queued_bytes() > most->queued_bytes()) most = connection.get();
    if (most == nullptr || most->queued_bytes() == 0) return;
    most->close_slow(); // at the second time it ends
  }
}

void HttpServer::Implementation::make_room_to_receive() {
  while (receive_bytes > options.limits.receive_buffers) {
    Connection* first = nullptr;
    for (const auto& [id, connection] : connections)
      if (connection->message_since() && (first == nullptr || *connection->message_since() < *first->message_since())) first = connection.get();
    if (first == nullptr) return;
    ++statistics.closed_too_large;
    first->abort();
  }
}

void HttpServer::Implementation::begin_stop() {
  if (stopping) return;
  stopping = true;
  error_code ignored;
  acceptor.close(ignored);
  handler.on_stop();
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [id, connection] : connections) all.push_back(connection);
  for (const auto& connection : all) {
    if (connection->is_web_socket()) {
      connection->close(static_cast<std::uint16_t>(CloseCode::restarting), "the server restarts; connect again");
    } else {
      connection->abort();
    }
  }
  if (connections.empty()) return io.stop();
  stop_timer.expires_after(options.limits.close_handshake + std::chrono::seconds(1));
  stop_timer.async_wait([this](error_code error) {
    if (!error) io.stop();
  });
}

void HttpServer::Handler::on_media_stream(int descriptor, const TransportAddress&, Bytes) { ::close(descriptor); }
void HttpServer::Handler::on_relayed_stream(int descriptor, const TransportAddress&, const TransportAddress&, Bytes) { ::close(descriptor); }

HttpServer::HttpServer(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
HttpServer::~HttpServer() = default;

std::expected<std::unique_ptr<HttpServer>, std::string> HttpServer::create(HttpOptions options, Handler& handler) {
  try {
    auto implementation = std::make_unique<Implementation>(std::move(options), handler);
    if (auto problem = implementation->open()) return std::unexpected(std::move(*problem));
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(implementation)));
  } catch (const std::exception& problem) {
    return std::unexpected(std::string("The HTTP server cannot start: ") + problem.what() + ".");
  }
}

std::uint16_t HttpServer::port() const { return implementation_->port; }
bool HttpServer::has_tls() const { return implementation_->tls != nullptr; }
void HttpServer::set_turn(turn::Server& turn) { implementation_->turn = &turn; }
bool HttpServer::has_page() const { return implementation_->files.has_page(); }
void HttpServer::run() { implementation_->io.run(); }
void HttpServer::stop() {
  asio::post(implementation_->io, [this] { implementation_->begin_stop(); });
}
void HttpServer::post(std::function<void()> work) { asio::post(implementation_->io, std::move(work)); }

void HttpServer::watch(int descriptor, std::function<void()> ready) {
  struct Watch {
    Descriptor descriptor;
    std::function<void()> ready;
    static void wait(std::shared_ptr<Watch> self) {
      Descriptor& watched = self->descriptor;
      watched.async_wait(Descriptor::wait_read, [self = std::move(self)](error_code error) mutable {
        if (error) return;
        self->ready();
        wait(std::move(self));
      });
    }
  };
  const int duplicate = ::dup(descriptor);
  SATSUMA_CHECK(duplicate >= 0);
  Watch::wait(std::make_shared<Watch>(Descriptor(implementation_->io.get_executor(), duplicate), std::move(ready)));
}

void HttpServer::send_text(ConnectionId id, std::string_view text) {
  if (Connection* connection = implementation_->web_socket(id)) connection->send(true, to_bytes(as_bytes(text)));
}
void HttpServer::send_binary(ConnectionId id, Bytes bytes) {
  if (Connection* connection = implementation_->web_socket(id)) connection->send(false, std::move(bytes));
}
void HttpServer::close(ConnectionId id, CloseCode code, std::string_view reason) {
  if (Connection* connection = implementation_->web_socket(id)) connection->close(static_cast<std::uint16_t>(code), reason);
}
void HttpServer::set_ready(ConnectionId id) {
  if (Connection* connection = implementation_->web_socket(id)) connection->set_ready();
}

void HttpServer::set_deadline(std::optional<TimePoint> deadline) {
  Timer& timer = implementation_->deadline;
  timer.cancel();
  if (!deadline) return;
  const Duration ahead = std::max(Duration::zero(), *deadline - monotonic_now());
  timer.expires_after(ahead);
  timer.async_wait([this](error_code error) {
    if (!error) implementation_->handler.on_deadline(monotonic_now());
  });
}

HttpStatistics HttpServer::statistics() const { return implementation_->statistics; }

} // namespace satsuma::io
