#include "io/client_stream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "io/socket_address.h"

namespace satsuma::io {

namespace {

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

} // namespace

void TlsClient::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
void ClientStream::FreeSsl::operator()(ssl_st* ssl) const { SSL_free(ssl); }

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

Result<ClientStream> ClientStream::connect(const TransportAddress& address, const TlsClient* tls, const std::string& name) {
  ClientStream stream(::socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (stream.descriptor_ < 0) return stream_connect_failed;
  const int yes = 1;
  (void)::setsockopt(stream.descriptor_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes); // a packet of sound is not to wait for the next
  SocketAddress to;
  const socklen_t size = to_socket_address(address, !address.is_v4(), to);
  if (::connect(stream.descriptor_, &to.base, size) != 0 && errno != EINPROGRESS) return stream_connect_failed;
  if (tls == nullptr) return stream;

  stream.trust_ = tls->trust_;
  stream.pin_ = tls->pin_;
  stream.ssl_.reset(SSL_new(tls->context_.get()));
  SSL* const ssl = stream.ssl_.get();
  if (ssl == nullptr || SSL_set_fd(ssl, stream.descriptor_) != 1) return tls_settings_failed;
  SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const bool numeric = TransportAddress::parse(name, 0).has_value();
  if (!numeric) SSL_set_tlsext_host_name(ssl, name.c_str());
  if (tls->trust_ == TlsClient::Trust::authorities) {
    X509_VERIFY_PARAM* const parameters = SSL_get0_param(ssl);
    const int named = numeric ? X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str()) : X509_VERIFY_PARAM_set1_host(parameters, name.c_str(), name.size());
    if (named != 1) return tls_settings_failed;
  }
  SSL_set_connect_state(ssl);
  return stream;
}

ClientStream::ClientStream(ClientStream&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      ssl_(std::move(other.ssl_)),
      trust_(other.trust_),
      pin_(other.pin_),
      connected_(other.connected_),
      ready_(other.ready_),
      wants_write_(other.wants_write_) {}

ClientStream::~ClientStream() {
  ssl_.reset();
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<bool> ClientStream::advance() {
  wants_write_ = false;
  if (ready_) return true;
  if (!connected_) {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) return stream_connect_failed;
    SocketAddress peer;
    socklen_t peer_size = sizeof peer;
    if (::getpeername(descriptor_, &peer.base, &peer_size) != 0) return false; // not yet
    connected_ = true;
  }
  SATSUMA_TRY(ready_, handshake());
  return ready_;
}

// True when TLS stands, or is not wanted.
Result<bool> ClientStream::handshake() {
  if (!ssl_) return true;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result != 1) {
    const int error = SSL_get_error(ssl_.get(), result);
    wants_write_ = error == SSL_ERROR_WANT_WRITE;
    if (wants_write_ || error == SSL_ERROR_WANT_READ) return false;
    if (trust_ == TlsClient::Trust::authorities && SSL_get_verify_result(ssl_.get()) != X509_V_OK) return stream_wrong_certificate;
    return stream_tls_failed;
  }
  if (trust_ == TlsClient::Trust::pinned) {
    X509* const certificate = SSL_get1_peer_certificate(ssl_.get());
    std::array<std::uint8_t, 32> digest{};
    unsigned size = 0;
    const bool same = certificate != nullptr && X509_digest(certificate, EVP_sha256(), digest.data(), &size) == 1 && size == digest.size() && digest == pin_;
    X509_free(certificate);
    if (!same) return stream_wrong_certificate;
  }
  return true;
}

// What SSL_read() or SSL_write() did.
Result<std::size_t> ClientStream::tls_result(int result) {
  if (result > 0) return static_cast<std::size_t>(result);
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_WRITE) wants_write_ = true;
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return std::size_t{0};
  return stream_lost;
}

Result<std::size_t> ClientStream::read(MutableByteView out) {
  if (ssl_) {
    ERR_clear_error();
    return tls_result(SSL_read(ssl_.get(), out.data(), static_cast<int>(out.size())));
  }
  const ssize_t got = ::recv(descriptor_, out.data(), out.size(), 0);
  if (got > 0) return static_cast<std::size_t>(got);
  return got < 0 && would_block() ? Result<std::size_t>(std::size_t{0}) : stream_lost;
}

Result<std::size_t> ClientStream::write(ByteView bytes) {
  if (ssl_) {
    ERR_clear_error();
    return tls_result(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1U << 20))));
  }
  const ssize_t put = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (put > 0) return static_cast<std::size_t>(put);
  return put < 0 && would_block() ? Result<std::size_t>(std::size_t{0}) : stream_lost;
}

bool ClientStream::holds_back() const { return ssl_ && SSL_pending(ssl_.get()) > 0; }

} // namespace satsuma::io
