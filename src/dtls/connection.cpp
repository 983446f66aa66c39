#include "dtls/connection.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/srtp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstring>

namespace satsuma::dtls {

namespace {

constexpr std::string_view exporter_label = "EXTRACTOR-dtls_srtp"; // RFC 5764 s.4.2
constexpr std::size_t srtp_key_size = 16;
constexpr std::size_t max_srtp_salt_size = 14;
constexpr UnixSeconds day = 24 * 60 * 60;

template <auto Function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    Function(object);
  }
};
using PKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;

std::size_t salt_size(SrtpProfile profile) { return profile == SrtpProfile::aead_aes_128_gcm ? 12 : 14; }

std::string_view openssl_name(SrtpProfile profile) {
  switch (profile) {
    case SrtpProfile::aead_aes_128_gcm: return "SRTP_AEAD_AES_128_GCM";
    case SrtpProfile::aes128_cm_sha1_80: return "SRTP_AES128_CM_SHA1_80";
  }
  return {};
}

bool fingerprint_of(const X509* certificate, Fingerprint& out) {
  unsigned size = 0;
  return X509_digest(certificate, EVP_sha256(), out.sha256.data(), &size) == 1 && size == out.sha256.size();
}

// What identifies the server is the fingerprint in the signaling, so that the certificate says as little as it can.
Certificate make_certificate(EVP_PKEY* key, UnixSeconds now) {
  Certificate certificate(X509_new());
  if (!certificate) return nullptr;
  std::array<std::uint8_t, 8> serial;
  if (RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1) return nullptr;
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7f) | 0x40); // positive and not zero (RFC 5280 s.4.1.2.2)
  std::uint64_t number = 0;
  for (std::uint8_t byte : serial) number = number << 8 | byte;
  X509_NAME* name = X509_get_subject_name(certificate.get());
  const bool good =
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), number) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(certificate.get()), static_cast<time_t>(now - std::min(now, day))) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), static_cast<time_t>(now + 365 * day)) != nullptr &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("WebRTC"), -1, -1, 0) == 1 &&
      X509_set_issuer_name(certificate.get(), name) == 1 && X509_set_pubkey(certificate.get(), key) == 1 &&
      X509_sign(certificate.get(), key, EVP_sha256()) > 0;
  return good ? std::move(certificate) : nullptr;
}

} // namespace

// ---- Fingerprint

Result<Fingerprint> Fingerprint::parse(std::string_view text) {
  Fingerprint fingerprint;
  if (text.size() != 32 * 3 - 1) return dtls_bad_fingerprint;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  for (std::size_t i = 0; i < 32; ++i) {
    const int high = digit(text[3 * i]);
    const int low = digit(text[3 * i + 1]);
    if (high < 0 || low < 0 || (i < 31 && text[3 * i + 2] != ':')) return dtls_bad_fingerprint;
    fingerprint.sha256[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return fingerprint;
}

std::string Fingerprint::text() const {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (std::uint8_t byte : sha256) {
    if (!out.empty()) out += ':';
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

// ---- Io: a BIO that keeps datagrams apart, which OpenSSL's memory BIO does not

struct Connection::Io {
  ByteView incoming; ///< one datagram at a time, taken by one read
  std::vector<Bytes> outgoing;
  std::size_t sent = 0;
  /// What the peer has to answer: sent again as it is when it does not. OpenSSL has a timer for this, but on the wall clock.
  std::vector<Bytes> flight;

  /// What was polled is done with at the next input.
  void recycle() {
    if (sent < outgoing.size()) return;
    outgoing.clear();
    sent = 0;
  }

  static int read(BIO* bio, char* out, int size) {
    Io& io = *static_cast<Io*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (io.incoming.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const std::size_t take = std::min(io.incoming.size(), static_cast<std::size_t>(size));
    std::memcpy(out, io.incoming.data(), take);
    io.incoming = {}; // as with a socket, what did not fit is lost
    return static_cast<int>(take);
  }

  static int write(BIO* bio, const char* data, int size) {
    Io& io = *static_cast<Io*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    // Beyond the bound it is lost, as on the network.
    if (io.outgoing.size() < max_pending_datagrams) io.outgoing.emplace_back(data, data + size);
    return size;
  }

  static long control(BIO*, int command, long, void*) {
    switch (command) {
      case BIO_CTRL_FLUSH:
      case BIO_CTRL_DUP: return 1;
      case BIO_CTRL_DGRAM_QUERY_MTU:
      case BIO_CTRL_DGRAM_GET_FALLBACK_MTU: return static_cast<long>(handshake_mtu);
      default: return 0;
    }
  }

  static const BIO_METHOD* method() {
    static BIO_METHOD* const instance = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "datagram");
      SATSUMA_CHECK(made != nullptr && BIO_meth_set_read(made, read) == 1 && BIO_meth_set_write(made, write) == 1 &&
                    BIO_meth_set_ctrl(made, control) == 1);
      return made;
    }();
    return instance;
  }
};

// ---- Context

void Context::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;
Context::~Context() = default;

int Connection::verify_certificate(x509_store_ctx_st* store, void*) {
  const auto* ssl = static_cast<const SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* connection = static_cast<Connection*>(SSL_get_app_data(ssl));
  Fingerprint fingerprint;
  // Self-signed certificates are the rule (RFC 8827 s.6.5), so the fingerprint is the whole check; that the peer has the key is the handshake's.
  if (connection != nullptr && fingerprint_of(X509_STORE_CTX_get0_cert(store), fingerprint) && fingerprint == connection->peer_) {
    connection->peer_verified_ = true;
    return 1;
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
  return 0;
}

Result<Context> Context::create(UnixSeconds now, std::vector<SrtpProfile> profiles) {
  Context context;
  std::string profile_names;
  for (SrtpProfile profile : profiles) {
    if (!profile_names.empty()) profile_names += ':';
    profile_names += openssl_name(profile);
  }
  ERR_clear_error();
  const PKey key(EVP_EC_gen("P-256"));
  if (!key) return dtls_library_failed;
  const Certificate certificate = make_certificate(key.get(), now);
  if (!certificate || !fingerprint_of(certificate.get(), context.fingerprint_)) return dtls_library_failed;
  context.ssl_.reset(SSL_CTX_new(DTLS_method()));
  SSL_CTX* ssl = context.ssl_.get();
  const bool good = ssl != nullptr && SSL_CTX_set_min_proto_version(ssl, DTLS1_2_VERSION) == 1 &&
                    SSL_CTX_set_max_proto_version(ssl, DTLS1_2_VERSION) == 1 &&
                    SSL_CTX_set_cipher_list(ssl, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384") == 1 &&
                    SSL_CTX_set1_groups_list(ssl, "X25519:P-256") == 1 && SSL_CTX_use_certificate(ssl, certificate.get()) == 1 &&
                    SSL_CTX_use_PrivateKey(ssl, key.get()) == 1 && SSL_CTX_check_private_key(ssl) == 1 &&
                    SSL_CTX_set_tlsext_use_srtp(ssl, profile_names.c_str()) == 0; // 0 is its success
  if (!good) return dtls_library_failed;
  SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_QUERY_MTU |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_cert_list(ssl, static_cast<long>(max_handshake_message)); // bounds every handshake message of the peer
  SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(ssl, Connection::verify_certificate, nullptr);
  return context;
}

// ---- Connection

void Connection::Free::operator()(ssl_st* ssl) const { SSL_free(ssl); }

Connection::Connection(TimePoint now, const Context& context, Role role, const Fingerprint& peer)
    : role_(role), peer_(peer), io_(std::make_unique<Io>()), gives_up_(now + handshake_timeout) {
  ERR_clear_error();
  ssl_.reset(SSL_new(context.ssl_.get()));
  BIO* bio = BIO_new(Io::method());
  SATSUMA_CHECK(ssl_ != nullptr && bio != nullptr);
  BIO_set_data(bio, io_.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_mtu(ssl_.get(), handshake_mtu);
  // OpenSSL's own timer must never run out, since it reads the wall clock: the longest there is, an hour.
  DTLS_set_timer_cb(ssl_.get(), [](SSL*, unsigned) { return 3'600'000'000U; });
  if (role == Role::client) {
    SSL_set_connect_state(ssl_.get());
    advance(now);
  } else {
    SSL_set_accept_state(ssl_.get());
  }
}

Connection::~Connection() = default;

namespace {

/// An encrypted record too short for its tag was made by nobody who has the keys. OpenSSL before 3.0.20 ends the connection for one, where RFC 6347 s.4.1.2.7
/// would have it dropped.
bool has_impossible_record(ByteView datagram) {
  constexpr std::size_t header_size = 13, tag_size = 16;
  while (datagram.size() >= header_size) {
    const bool encrypted = datagram[3] != 0 || datagram[4] != 0; // epoch
    const std::size_t size = std::size_t{datagram[11]} << 8 | datagram[12];
    if (encrypted && size <= tag_size) return true;
    datagram = datagram.subspan(std::min(datagram.size(), header_size + size));
  }
  return false;
}

} // namespace

void Connection::handle_datagram(TimePoint now, ByteView datagram) {
  if (state_ == State::closed || datagram.empty() || has_impossible_record(datagram)) return;
  io_->recycle();
  // RFC 6347 s.4.2.4: who sent the last flight has no timer for it, and sends it again when the peer repeats the one before, of which
  // some is unencrypted handshake (type 22, epoch 0). OpenSSL does so only if the peer numbers its records anew.
  const bool repeated = state_ == State::established && role_ == Role::server && datagram.size() >= 5 && datagram[0] == 22 &&
                        datagram[3] == 0 && datagram[4] == 0;
  if (repeated && last_flight_repeats_ < max_last_flight_repeats) {
    ++last_flight_repeats_;
    repeat_flight();
  }
  if (!ssl_) return;
  io_->incoming = datagram;
  advance(now);
  io_->incoming = {};
}

void Connection::forget() {
  ERR_clear_error();
  const std::size_t before = io_->outgoing.size();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
  if (io_->outgoing.size() > before) {
    goodbye_ = std::move(io_->outgoing.back());
    io_->outgoing.resize(before);
  }
  ssl_.reset();
}

void Connection::advance(TimePoint now) {
  const std::size_t written_before = io_->outgoing.size();
  ERR_clear_error();
  if (state_ == State::handshaking) {
    // One datagram may hold several records; OpenSSL takes them one by one.
    const int result = SSL_do_handshake(ssl_.get());
    const bool wrote = io_->outgoing.size() > written_before;
    if (wrote) {
      io_->flight.assign(io_->outgoing.begin() + static_cast<std::ptrdiff_t>(written_before), io_->outgoing.end());
      retransmit_after_ = first_retransmission;
      retransmit_at_ = now + retransmit_after_;
    }
    if (result != 1) {
      if (SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) {
        // The alert, if OpenSSL wrote one, still goes out.
        finish(SSL_get_verify_result(ssl_.get()) == X509_V_OK ? dtls_handshake_failed : dtls_fingerprint_mismatch);
      }
      ERR_clear_error();
      return;
    }
    Result<SrtpKeys> keys = export_keys();
    if (!keys) {
      finish(keys.error());
      return;
    }
    announce_established_ = std::move(*keys);
    state_ = State::established;
    if (role_ == Role::client) io_->flight.clear();
    retransmit_at_.reset();
    if (role_ == Role::server) return forget();
  }
  // Nothing is carried inside DTLS; what comes is dropped. Reading lets OpenSSL see close_notify and repeated flights.
  std::array<std::uint8_t, 2048> dropped;
  for (std::size_t records = 0; records < 16; ++records) {
    const int result = SSL_read(ssl_.get(), dropped.data(), static_cast<int>(dropped.size()));
    if (result > 0) continue;
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_ZERO_RETURN) {
      finish(dtls_closed);
    } else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
      finish(dtls_handshake_failed);
    }
    break;
  }
  // Thirty kilobytes that nothing will be in before the end; reading takes them anew.
  SSL_free_buffers(ssl_.get());
  ERR_clear_error();
}

Result<SrtpKeys> Connection::export_keys() const {
  // The callback has compared it already; without that no key leaves, whatever OpenSSL thinks of the handshake.
  const std::unique_ptr<X509, dtls::Free<X509_free>> certificate(SSL_get1_peer_certificate(ssl_.get()));
  Fingerprint fingerprint;
  if (!peer_verified_ || !certificate || !fingerprint_of(certificate.get(), fingerprint) || fingerprint != peer_) {
    return dtls_fingerprint_mismatch;
  }
  const SRTP_PROTECTION_PROFILE* agreed = SSL_get_selected_srtp_profile(ssl_.get());
  if (agreed == nullptr) return dtls_no_srtp_profile;
  SrtpKeys keys;
  switch (agreed->id) {
    case SRTP_AEAD_AES_128_GCM: keys.profile = SrtpProfile::aead_aes_128_gcm; break;
    case SRTP_AES128_CM_SHA1_80: keys.profile = SrtpProfile::aes128_cm_sha1_80; break;
    default: return dtls_no_srtp_profile;
  }
  // RFC 5764 s.4.2: client's key, server's key, client's salt, server's salt.
  const std::size_t salt = salt_size(keys.profile);
  SecretArray<2 * (srtp_key_size + max_srtp_salt_size)> block;
  const std::size_t size = 2 * (srtp_key_size + salt);
  if (SSL_export_keying_material(ssl_.get(), block.mutable_view().data(), size, exporter_label.data(), exporter_label.size(), nullptr, 0,
                                 0) != 1) {
    return dtls_library_failed;
  }
  const ByteView all = block.view();
  const ByteView client_key = all.first(srtp_key_size);
  const ByteView server_key = all.subspan(srtp_key_size, srtp_key_size);
  const ByteView client_salt = all.subspan(2 * srtp_key_size, salt);
  const ByteView server_salt = all.subspan(2 * srtp_key_size + salt, salt);
  const bool server = role_ == Role::server;
  keys.send_key = SecretBytes::copy_of(server ? server_key : client_key);
  keys.send_salt = SecretBytes::copy_of(server ? server_salt : client_salt);
  keys.receive_key = SecretBytes::copy_of(server ? client_key : server_key);
  keys.receive_salt = SecretBytes::copy_of(server ? client_salt : server_salt);
  return keys;
}

void Connection::handle_timeout(TimePoint now) {
  if (state_ != State::handshaking) return;
  if (now >= gives_up_) {
    finish(dtls_timed_out);
    return;
  }
  if (!retransmit_at_ || now < *retransmit_at_) return;
  io_->recycle();
  repeat_flight();
  retransmit_after_ = std::min(2 * retransmit_after_, max_retransmission);
  retransmit_at_ = now + retransmit_after_;
}

void Connection::repeat_flight() {
  for (const Bytes& datagram : io_->flight) {
    if (io_->outgoing.size() < max_pending_datagrams) io_->outgoing.push_back(datagram);
  }
}

std::optional<TimePoint> Connection::next_deadline() const {
  if (state_ != State::handshaking) return std::nullopt;
  return retransmit_at_ ? std::min(*retransmit_at_, gives_up_) : gives_up_;
}

std::optional<Connection::Output> Connection::poll_output() {
  if (io_->sent < io_->outgoing.size()) return Send{io_->outgoing[io_->sent++]};
  if (announce_established_) {
    Established established{std::move(*announce_established_)};
    announce_established_.reset();
    return established;
  }
  if (announce_closed_) {
    const Error reason = *announce_closed_;
    announce_closed_.reset();
    return Closed{reason};
  }
  return std::nullopt;
}

void Connection::finish(Error reason) {
  if (state_ == State::closed) return;
  state_ = State::closed;
  announce_established_.reset();
  announce_closed_ = reason;
  retransmit_at_.reset();
  io_->flight.clear();
}

void Connection::close() {
  if (state_ == State::closed) return;
  io_->recycle();
  ERR_clear_error();
  // Writing does not take the buffers anew by itself.
  if (!ssl_) {
    if (!goodbye_.empty()) io_->outgoing.push_back(std::move(goodbye_));
  } else if (state_ == State::established && SSL_alloc_buffers(ssl_.get()) == 1) {
    SSL_shutdown(ssl_.get());
  }
  ERR_clear_error();
  finish(dtls_closed);
}

} // namespace satsuma::dtls
