#pragma once

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/role.hpp>

namespace satsuma::io::internal {

namespace asio = boost::asio;
using boost::system::error_code;
using asio::ip::tcp;

// The concrete executor instead of any_io_executor: no indirection at run time, less to compile.
using Executor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<tcp, Executor>;

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
template <class T>
using Ssl = std::unique_ptr<T, SslFree>;

/// A TCP connection with or without TLS, as the stream that Beast runs on. OpenSSL works on the descriptor itself and we wait for
/// readiness: no buffers besides OpenSSL's own, which it releases when idle. One type for both, so Beast is compiled once.
class Stream {
 public:
  using executor_type = Executor;

  explicit Stream(Socket socket) : socket_(std::move(socket)) {}

  executor_type get_executor() noexcept { return socket_.get_executor(); }
  Socket& socket() { return socket_; }
  bool encrypted() const { return ssl_ != nullptr; }

  bool start_tls(SSL_CTX* context) {
    ssl_.reset(SSL_new(context));
    return ssl_ && SSL_set_fd(ssl_.get(), socket_.native_handle()) == 1;
  }

  /// Calls handler(error_code) when the client's handshake is done.
  template <class CompletionHandler>
  void async_handshake(CompletionHandler handler) {
    ERR_clear_error();
    const int result = SSL_accept(ssl_.get());
    if (result == 1) return asio::post(get_executor(), [handler = std::move(handler)]() mutable { handler(error_code()); });
    const int reason = SSL_get_error(ssl_.get(), result);
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) {
      return socket_.async_wait(reason == SSL_ERROR_WANT_READ ? Socket::wait_read : Socket::wait_write,
                                [this, handler = std::move(handler)](error_code error) mutable {
                                  if (error) return handler(error);
                                  // Closed while this waited its turn: the descriptor's number may be another connection's by now.
                                  if (!socket_.is_open()) return handler(asio::error::bad_descriptor);
                                  async_handshake(std::move(handler));
                                });
    }
    ERR_clear_error();
    asio::post(get_executor(), [handler = std::move(handler)]() mutable { handler(asio::error::no_protocol_option); });
  }

  template <class Buffers, class Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    asio::mutable_buffer target;
    for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
      target = asio::mutable_buffer(*it);
      if (target.size() != 0) break;
    }
    return asio::async_compose<Token, void(error_code, std::size_t)>(
        Transfer{this, [target](Stream& stream) { return stream.read(target.data(), target.size()); }}, token, socket_);
  }

  template <class Buffers, class Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    return asio::async_compose<Token, void(error_code, std::size_t)>(Transfer{this, [buffers](Stream& stream) { return stream.write_gathered(buffers); }}, token,
                                                                     socket_);
  }

  void close() {
    error_code ignored;
    socket_.close(ignored);
  }

  /// Says goodbye in TLS and TCP; does not wait for the other side.
  void shut_down() {
    if (!socket_.is_open()) return;
    if (ssl_ && SSL_is_init_finished(ssl_.get())) {
      SSL_shutdown(ssl_.get());
      ERR_clear_error();
    }
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
  }

 private:
  enum class Wait : std::uint8_t { none, read, write };
  struct Step {
    Wait wait = Wait::none;
    error_code error;
    std::size_t size = 0;

    static Step done(std::size_t size) { return {Wait::none, {}, size}; }
    static Step later(Wait wait) { return {wait, {}, 0}; }
    static Step failed(error_code error) { return {Wait::none, error, 0}; }
  };

  /// Tries, waits for readiness if it must, tries again. What is done at the first try completes through the executor: Asio's rule.
  template <class Try>
  struct Transfer {
    Stream* stream;
    Try attempt;
    bool first = true;
    bool finished = false;
    Step step{};

    template <class Self>
    void operator()(Self& self, error_code error = {}, std::size_t = 0) {
      if (finished) return self.complete(step.error, step.size);
      if (error) return self.complete(error, 0);
      step = attempt(*stream);
      switch (step.wait) {
        case Wait::none:
          if (!first) return self.complete(step.error, step.size);
          finished = true;
          asio::post(stream->get_executor(), std::move(self));
          return;
        case Wait::read:
        case Wait::write: {
          first = false;
          Socket& socket = stream->socket_;
          socket.async_wait(step.wait == Wait::read ? Socket::wait_read : Socket::wait_write, std::move(self));
          return;
        }
      }
    }
  };
  template <class Try>
  Transfer(Stream*, Try) -> Transfer<Try>;

  Step read(void* data, std::size_t size) {
    if (size == 0) return {};
    if (!socket_.is_open()) return Step::failed(asio::error::bad_descriptor);
    if (!ssl_) {
      const ssize_t got = ::recv(socket_.native_handle(), data, size, 0);
      if (got > 0) return Step::done(static_cast<std::size_t>(got));
      if (got == 0) return Step::failed(asio::error::eof);
      return from_errno(Wait::read);
    }
    ERR_clear_error();
    const int got = SSL_read(ssl_.get(), data, static_cast<int>(std::min<std::size_t>(size, 1 << 30)));
    if (got > 0) return Step::done(static_cast<std::size_t>(got));
    return from_ssl(got);
  }

  Step write(const void* data, std::size_t size) {
    if (size == 0) return {};
    if (!socket_.is_open()) return Step::failed(asio::error::bad_descriptor);
    if (!ssl_) {
      const ssize_t sent = ::send(socket_.native_handle(), data, size, MSG_NOSIGNAL);
      if (sent >= 0) return Step::done(static_cast<std::size_t>(sent));
      return from_errno(Wait::write);
    }
    ERR_clear_error();
    const int sent = SSL_write(ssl_.get(), data, static_cast<int>(std::min<std::size_t>(size, 1 << 30)));
    if (sent > 0) return Step::done(static_cast<std::size_t>(sent));
    return from_ssl(sent);
  }

  /// Small pieces (a frame's header and its payload) go as one segment and one TLS record. Repeated with the same buffers it
  /// gives OpenSSL the same bytes, as SSL_write demands after WANT_WRITE.
  template <class Buffers>
  Step write_gathered(const Buffers& buffers) {
    std::array<std::uint8_t, gather_size> flat;
    std::size_t size = 0;
    for (auto it = asio::buffer_sequence_begin(buffers); it != asio::buffer_sequence_end(buffers); ++it) {
      const asio::const_buffer piece(*it);
      if (size == 0 && piece.size() >= flat.size()) return write(piece.data(), piece.size());
      const std::size_t part = std::min(piece.size(), flat.size() - size);
      if (part != 0) std::copy_n(static_cast<const std::uint8_t*>(piece.data()), part, flat.begin() + static_cast<std::ptrdiff_t>(size));
      size += part;
      if (size == flat.size()) break;
    }
    return write(flat.data(), size);
  }

  static Step from_errno(Wait wait) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return Step::later(wait);
    return Step::failed(error_code(errno, boost::system::system_category()));
  }

  Step from_ssl(int result) {
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ: return Step::later(Wait::read);
      case SSL_ERROR_WANT_WRITE: return Step::later(Wait::write);
      case SSL_ERROR_ZERO_RETURN: return Step::failed(asio::error::eof);
      default: ERR_clear_error(); return Step::failed(asio::error::connection_reset);
    }
  }

  // What websocket::stream asks of a stream that is not Asio's own.
  friend void beast_close_socket(Stream& stream) { stream.close(); }
  template <class TeardownHandler>
  friend void async_teardown(boost::beast::role_type, Stream& stream, TeardownHandler&& handler) {
    stream.shut_down();
    asio::post(stream.get_executor(), [handler = std::forward<TeardownHandler>(handler)]() mutable { handler(error_code()); });
  }

  static constexpr std::size_t gather_size = 16 * 1024; // a TLS record holds no more

  Socket socket_;
  Ssl<SSL> ssl_; // after socket_: it is freed first
};

/// What HTTPS is spoken with; or a sentence that says why not.
inline std::expected<Ssl<SSL_CTX>, std::string> make_tls_context(const std::string& certificate_pem, const std::string& key_pem) {
  const std::string failed = "The TLS certificate and key cannot be used: ";
  Ssl<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
  Ssl<BIO> chain(BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
  Ssl<BIO> key_text(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  if (!context || !chain || !key_text) return std::unexpected(failed + "out of memory.");
  Ssl<X509> certificate(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
  if (!certificate || SSL_CTX_use_certificate(context.get(), certificate.get()) != 1) return std::unexpected(failed + "no certificate in PEM form was found.");
  while (X509* next = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)) {
    if (SSL_CTX_add0_chain_cert(context.get(), next) != 1) {
      X509_free(next);
      return std::unexpected(failed + "the chain is not usable.");
    }
  }
  ERR_clear_error(); // the end of the chain is reported as an error
  Ssl<EVP_PKEY> key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
  if (!key || SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 || SSL_CTX_check_private_key(context.get()) != 1) {
    return std::unexpected(failed + "the private key is missing, or belongs to another certificate.");
  }
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context.get(), "ECDHE+AESGCM:ECDHE+CHACHA20");
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Browsers ask for TURN without a name; RFC 7443 has one for those that do. Which it is, the first byte inside says.
  static constexpr unsigned char protocols[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1', 9, 's', 't', 'u', 'n', '.', 't', 'u', 'r', 'n'};
  SSL_CTX_set_alpn_select_cb(
      context.get(),
      [](SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned int in_size, void*) {
        // RFC 7301 s.3.2. A client that offers only others is answered without ALPN rather than refused.
        unsigned char* selected = nullptr;
        if (SSL_select_next_proto(&selected, out_size, protocols, sizeof protocols, in, in_size) != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
        *out = selected;
        return SSL_TLSEXT_ERR_OK;
      },
      nullptr);
  return context;
}

} // namespace satsuma::io::internal
