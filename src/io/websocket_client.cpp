#include "io/websocket_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace satsuma::io {

void TlsClient::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
void WebSocketClient::FreeSsl::operator()(ssl_st* ssl) const { SSL_free(ssl); }

Result<TlsClient> TlsClient::create(Trust trust, std::array<std::uint8_t, 32> pin) {
  TlsClient client;
  client.context_ = std::shared_ptr<ssl_ctx_st>(SSL_CTX_new(TLS_client_method()), Free());
  SSL_CTX* const context = client.context_.get();
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) return tls_settings_failed;
  if (trust == Trust::authorities) {
    if (SSL_CTX_set_default_verify_paths(context) != 1) return tls_settings_failed;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  }
  client.trust_ = trust;
  client.pin_ = pin;
  return client;
}

Result<std::unique_ptr<WebSocketClient>> WebSocketClient::connect(Target target, const TlsClient* tls, RandomSource& random) {
  std::unique_ptr<WebSocketClient> client(new WebSocketClient(std::move(target), random));
  const TransportAddress& address = client->target_.address;
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (address.is_v4()) {
    auto* const v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    std::memcpy(&v4->sin_addr, address.ip.data() + 12, 4);
    size = sizeof *v4;
  } else {
    auto* const v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    std::memcpy(&v6->sin6_addr, address.ip.data(), 16);
    size = sizeof *v6;
  }
  client->descriptor_ = ::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (client->descriptor_ < 0) return websocket_connect_failed;
  const int yes = 1;
  (void)setsockopt(client->descriptor_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (::connect(client->descriptor_, reinterpret_cast<const sockaddr*>(&storage), size) != 0 && errno != EINPROGRESS) return websocket_connect_failed;
  client->key_ = websocket_key(random);
  if (tls != nullptr) {
    client->ssl_.reset(SSL_new(tls->context_.get()));
    client->trust_ = tls->trust_;
    client->pin_ = tls->pin_;
    SSL* const ssl = client->ssl_.get();
    if (ssl == nullptr || SSL_set_fd(ssl, client->descriptor_) != 1) return tls_settings_failed;
    const std::string& name = client->target_.name;
    const bool numeric = TransportAddress::parse(name, 0).has_value();
    if (!numeric) SSL_set_tlsext_host_name(ssl, name.c_str());
    if (tls->trust_ == TlsClient::Trust::authorities) {
      X509_VERIFY_PARAM* const parameters = SSL_get0_param(ssl);
      const int named = numeric ? X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str()) : X509_VERIFY_PARAM_set1_host(parameters, name.c_str(), name.size());
      if (named != 1) return tls_settings_failed;
    }
    SSL_set_connect_state(ssl);
  }
  return client;
}

WebSocketClient::~WebSocketClient() {
  ssl_.reset();
  if (descriptor_ >= 0) ::close(descriptor_);
}

void WebSocketClient::finish(Error reason, std::uint16_t code) {
  if (closed_) return;
  state_ = State::closed;
  closed_ = Closed{reason, code};
  outgoing_.clear();
}

std::ptrdiff_t WebSocketClient::read_some(MutableByteView out) {
  if (ssl_) {
    ERR_clear_error();
    const int got = SSL_read(ssl_.get(), out.data(), static_cast<int>(out.size()));
    if (got > 0) return got;
    const int error = SSL_get_error(ssl_.get(), got);
    if (error == SSL_ERROR_WANT_WRITE) wants_write_ = true;
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
  const ssize_t got = ::recv(descriptor_, out.data(), out.size(), 0);
  if (got > 0) return got;
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : -1;
}

std::ptrdiff_t WebSocketClient::write_some(ByteView bytes) {
  if (ssl_) {
    ERR_clear_error();
    SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    const int put = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1U << 20)));
    if (put > 0) return put;
    const int error = SSL_get_error(ssl_.get(), put);
    if (error == SSL_ERROR_WANT_WRITE) wants_write_ = true;
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
  const ssize_t put = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (put > 0) return put;
  return put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : -1;
}

// True when TLS stands, or is not wanted.
bool WebSocketClient::handshake() {
  if (!ssl_) return true;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) {
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_WANT_WRITE) wants_write_ = true;
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
      const bool certificate = SSL_get_verify_result(ssl_.get()) != X509_V_OK && trust_ == TlsClient::Trust::authorities;
      finish(certificate ? Error(websocket_wrong_certificate) : Error(websocket_tls_failed));
    }
    return false;
  }
  if (trust_ == TlsClient::Trust::pinned) {
    X509* const certificate = SSL_get1_peer_certificate(ssl_.get());
    std::array<std::uint8_t, 32> digest{};
    unsigned size = 0;
    const bool same = certificate != nullptr && X509_digest(certificate, EVP_sha256(), digest.data(), &size) == 1 && size == digest.size() && digest == pin_;
    X509_free(certificate);
    if (!same) {
      finish(websocket_wrong_certificate);
      return false;
    }
  }
  return true;
}

void WebSocketClient::handle_ready() {
  if (closed_) return;
  wants_write_ = false;
  if (state_ == State::connecting) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) return finish(websocket_connect_failed);
    sockaddr_storage peer{};
    socklen_t peer_size = sizeof peer;
    if (getpeername(descriptor_, reinterpret_cast<sockaddr*>(&peer), &peer_size) != 0) return; // not yet
    state_ = State::tls;
  }
  if (state_ == State::tls) {
    if (!handshake()) return;
    const std::string request = websocket_request(target_.host, target_.path, target_.subprotocol, key_);
    outgoing_.assign(request.begin(), request.end());
    state_ = State::upgrading;
  }
  flush();
  read();
  flush();
}

void WebSocketClient::flush() {
  std::size_t done = 0;
  while (!closed_ && done < outgoing_.size()) {
    const std::ptrdiff_t put = write_some(ByteView(outgoing_).subspan(done));
    if (put < 0) return finish(websocket_connection_lost);
    if (put == 0) break;
    done += static_cast<std::size_t>(put);
  }
  outgoing_.erase(outgoing_.begin(), outgoing_.begin() + static_cast<std::ptrdiff_t>(std::min(done, outgoing_.size())));
}

void WebSocketClient::read() {
  std::array<std::uint8_t, 16 * 1024> bytes;
  // So that one busy connection leaves the others their turn; the descriptor stays readable.
  for (int turns = 0; turns < 16 && !closed_; ++turns) {
    const std::ptrdiff_t got = read_some(bytes);
    if (got < 0) return finish(websocket_connection_lost);
    if (got == 0) return;
    ByteView rest = ByteView(bytes).first(static_cast<std::size_t>(got));
    if (state_ == State::upgrading) {
      response_.append(as_text(rest));
      const std::size_t end = response_.find("\r\n\r\n");
      if (end == std::string::npos) {
        if (response_.size() > max_websocket_response) return finish(websocket_bad_response);
        continue;
      }
      const std::size_t behind = response_.size() - (end + 4);
      if (const auto checked = check_websocket_response(std::string_view(response_).substr(0, end + 4), target_.subprotocol, key_); !checked)
        return finish(checked.error());
      state_ = State::open;
      announce_open_ = true;
      rest = rest.last(behind);
      response_.clear();
    }
    reader_.append(rest);
    if (ssl_ && SSL_pending(ssl_.get()) > 0) --turns; // what OpenSSL holds back makes no descriptor readable
  }
}

std::optional<WebSocketClient::Output> WebSocketClient::poll_output() {
  if (announce_open_) {
    announce_open_ = false;
    return Open{};
  }
  // What arrived before the end is read to its end.
  while (state_ == State::open || (closed_ && !told_closed_)) {
    auto message = reader_.next();
    if (!message) {
      finish(message.error(), 1002);
      break;
    }
    if (!*message) break;
    switch ((*message)->opcode) {
      case WebSocketOpcode::text:
      case WebSocketOpcode::binary: return Message{(*message)->opcode == WebSocketOpcode::text, std::move((*message)->payload)};
      case WebSocketOpcode::ping:
        write_websocket_frame(WebSocketOpcode::pong, (*message)->payload, random_, outgoing_);
        flush();
        break;
      case WebSocketOpcode::close: {
        const Bytes& payload = (*message)->payload;
        const std::uint16_t code = payload.size() >= 2 ? static_cast<std::uint16_t>(payload[0] << 8 | payload[1]) : std::uint16_t{1005};
        if (!closed_) {
          write_websocket_frame(WebSocketOpcode::close, ByteView(payload).first(std::min<std::size_t>(payload.size(), 2)), random_, outgoing_);
          flush();
        }
        closed_.reset();
        finish(websocket_connection_lost, code);
        break;
      }
      case WebSocketOpcode::pong:
      case WebSocketOpcode::continuation: break;
    }
  }
  if (closed_ && !told_closed_) {
    told_closed_ = true;
    return *closed_;
  }
  return std::nullopt;
}

void WebSocketClient::send(bool text, ByteView payload) {
  if (state_ != State::open) return;
  if (outgoing_.size() + payload.size() > max_websocket_send_queue) return finish(websocket_send_queue_full);
  write_websocket_frame(text ? WebSocketOpcode::text : WebSocketOpcode::binary, payload, random_, outgoing_);
  flush();
}

void WebSocketClient::close() {
  if (state_ != State::open) return finish(websocket_connection_lost, 1000);
  const std::uint8_t code[2] = {1000 >> 8, 1000 & 0xff};
  write_websocket_frame(WebSocketOpcode::close, code, random_, outgoing_);
  flush();
  if (!closed_) finish(websocket_connection_lost, 1000);
}

} // namespace satsuma::io
