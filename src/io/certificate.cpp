#include "io/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>

namespace satsuma::io {
namespace {

struct Free {
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Created with mode 0600 under another name and then moved: never readable by others, never half there.
std::optional<std::string> write_private_file(const std::string& path, const std::string& content) {
  const std::string draft = path + ".new";
  ::unlink(draft.c_str());
  const int file = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return "Writing " + path + " failed: " + std::strerror(errno) + ". Choose another folder with --data.";
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t written = ::write(file, content.data() + done, content.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    done += static_cast<std::size_t>(written);
  }
  const bool ok = done == content.size() && ::fsync(file) == 0;
  ::close(file);
  if (!ok || ::rename(draft.c_str(), path.c_str()) != 0) return "Writing " + path + " failed: " + std::strerror(errno) + ".";
  return std::nullopt;
}

Owned<X509> parse_certificate(const std::string& pem) {
  Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return Owned<X509>(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

Owned<EVP_PKEY> parse_key(const std::string& pem) {
  Owned<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // A key under a passphrase is refused instead of asked for at the terminal.
  return Owned<EVP_PKEY>(PEM_read_bio_PrivateKey(bio.get(), nullptr, [](char*, int, int, void*) { return -1; }, nullptr));
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

std::string fingerprint(X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return {};
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    if (i != 0) text += ':';
    text += digits[digest[i] >> 4];
    text += digits[digest[i] & 15];
  }
  return text;
}

bool ends_before(X509* certificate, UnixSeconds moment) {
  auto when = static_cast<time_t>(moment);
  return X509_cmp_time(X509_get0_notAfter(certificate), &when) <= 0;
}

bool is_numeric_address(const std::string& name) {
  std::array<unsigned char, 16> out;
  return inet_pton(AF_INET, name.c_str(), out.data()) == 1 || inet_pton(AF_INET6, name.c_str(), out.data()) == 1;
}

bool names_it(X509* certificate, const std::string& name) {
  if (is_numeric_address(name)) return X509_check_ip_asc(certificate, name.c_str(), 0) == 1;
  return X509_check_host(certificate, name.data(), name.size(), 0, nullptr) == 1;
}

bool is_host_name(const std::string& name) {
  if (name.empty() || name.size() > 253) return false;
  for (const char c : name) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    if (!fine) return false; // a comma would begin another entry of the extension
  }
  return true;
}

bool add_extension(X509* certificate, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  Owned<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

std::expected<Certificate, std::string> make_certificate(const std::vector<std::string>& names, UnixSeconds now) {
  const auto failed = [] {
    ERR_clear_error();
    return std::unexpected(std::string("Making a TLS certificate failed inside OpenSSL. Give one with --tls-cert and --tls-key, or listen on 127.0.0.1."));
  };
  std::string alternatives;
  for (const std::string& name : names) {
    if (!is_numeric_address(name) && !is_host_name(name)) return std::unexpected("\"" + name + "\" is neither a host name nor an address; a certificate cannot be made for it.");
    if (!alternatives.empty()) alternatives += ',';
    alternatives += (is_numeric_address(name) ? "IP:" : "DNS:") + name;
  }
  Owned<EVP_PKEY> key(EVP_EC_gen("P-256"));
  Owned<X509> certificate(X509_new());
  if (!key || !certificate) return failed();
  std::array<unsigned char, 16> serial_bytes;
  if (RAND_bytes(serial_bytes.data(), serial_bytes.size()) != 1) return failed();
  serial_bytes[0] &= 0x7f; // RFC 5280 s.4.1.2.2: positive
  BIGNUM* serial = BN_bin2bn(serial_bytes.data(), serial_bytes.size(), nullptr);
  const bool numbered = serial != nullptr && BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate.get())) != nullptr;
  BN_free(serial);
  if (!numbered || X509_set_version(certificate.get(), X509_VERSION_3) != 1) return failed();
  constexpr UnixSeconds backdated = 3600; // for clients whose clock is a little behind
  if (ASN1_TIME_set(X509_getm_notBefore(certificate.get()), static_cast<time_t>(now - backdated)) == nullptr) return failed();
  if (ASN1_TIME_set(X509_getm_notAfter(certificate.get()), static_cast<time_t>(now + certificate_lifetime)) == nullptr) return failed();
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  static constexpr unsigned char common_name[] = "Satsuma";
  if (X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, common_name, sizeof common_name - 1, -1, 0) != 1) return failed();
  if (X509_set_issuer_name(certificate.get(), subject) != 1 || X509_set_pubkey(certificate.get(), key.get()) != 1) return failed();
  if (!add_extension(certificate.get(), NID_basic_constraints, "critical,CA:FALSE") || !add_extension(certificate.get(), NID_key_usage, "critical,digitalSignature") ||
      !add_extension(certificate.get(), NID_ext_key_usage, "serverAuth") || !add_extension(certificate.get(), NID_subject_key_identifier, "hash") ||
      !add_extension(certificate.get(), NID_subject_alt_name, alternatives.c_str())) {
    return failed();
  }
  if (X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0) return failed();
  Owned<BIO> chain(BIO_new(BIO_s_mem()));
  Owned<BIO> key_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(chain.get(), certificate.get()) != 1 || PEM_write_bio_PKCS8PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) return failed();
  return Certificate{text_of(chain.get()), text_of(key_text.get()), fingerprint(certificate.get())};
}

} // namespace

std::expected<Certificate, std::string> load_certificate(const std::string& chain_path, const std::string& key_path, UnixSeconds now) {
  const auto chain = read_file(chain_path);
  if (!chain) return std::unexpected("The certificate " + chain_path + " cannot be read. Check --tls-cert.");
  const auto key = read_file(key_path);
  if (!key) return std::unexpected("The private key " + key_path + " cannot be read. Check --tls-key and who may read the file.");
  const auto certificate = parse_certificate(*chain);
  const auto private_key = parse_key(*key);
  ERR_clear_error();
  if (!certificate) return std::unexpected(chain_path + " holds no certificate in PEM form.");
  if (!private_key) return std::unexpected(key_path + " holds no private key in PEM form without a passphrase.");
  if (X509_check_private_key(certificate.get(), private_key.get()) != 1) {
    ERR_clear_error();
    return std::unexpected("The private key " + key_path + " does not belong to the certificate " + chain_path + ".");
  }
  if (ends_before(certificate.get(), now)) return std::unexpected("The certificate " + chain_path + " is no longer valid. Renew it, or leave out --tls-cert and --tls-key to have one made.");
  return Certificate{*chain, *key, fingerprint(certificate.get())};
}

std::expected<Certificate, std::string> own_certificate(const std::string& folder, const std::vector<std::string>& names, UnixSeconds now) {
  if (names.empty()) return std::unexpected(std::string("A certificate needs at least one name."));
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return std::unexpected("The data folder " + folder + " cannot be made: " + error.message() + ". Choose another with --data.");
  const std::string chain_path = folder + "/certificate.pem";
  const std::string key_path = folder + "/key.pem";
  if (auto present = load_certificate(chain_path, key_path, now)) {
    const auto certificate = parse_certificate(present->chain_pem);
    bool keep = !ends_before(certificate.get(), now + certificate_renewal);
    for (const std::string& name : names) keep = keep && names_it(certificate.get(), name);
    if (keep) {
      ::chmod(key_path.c_str(), 0600);
      return present;
    }
  }
  auto made = make_certificate(names, now);
  if (!made) return made;
  // The key first: a crash in between leaves a pair that does not fit, which is made anew.
  if (auto problem = write_private_file(key_path, made->key_pem)) return std::unexpected(*problem);
  if (auto problem = write_private_file(chain_path, made->chain_pem)) return std::unexpected(*problem);
  return made;
}

} // namespace satsuma::io
