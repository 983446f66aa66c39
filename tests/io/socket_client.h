#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

/// A client on a bare socket, so that tests can send what no library would.
namespace satsuma::test {

inline constexpr int patience_ms = 8000;

struct Reply {
  int status = 0;
  std::map<std::string, std::string> fields; ///< names in lower case
  std::string body;
};

struct Message {
  std::uint8_t opcode = 0; ///< 1 text, 2 binary, 8 close
  std::string payload;
  int close_code() const { return payload.size() < 2 ? 0 : static_cast<std::uint8_t>(payload[0]) << 8 | static_cast<std::uint8_t>(payload[1]); }
};

class SocketClient {
 public:
  explicit SocketClient(std::uint16_t port, bool tls = false) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    if (tls && connected_) {
      context_ = SSL_CTX_new(TLS_client_method());
      ssl_ = SSL_new(context_);
      SSL_set_fd(ssl_, fd_);
      connected_ = SSL_connect(ssl_) == 1;
    }
  }
  SocketClient(const SocketClient&) = delete;
  ~SocketClient() {
    if (ssl_) SSL_free(ssl_);
    if (context_) SSL_CTX_free(context_);
    if (fd_ >= 0) ::close(fd_);
  }

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  SSL* ssl() const { return ssl_; }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const long sent = ssl_ ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())) : ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  /// Reads until `count` bytes wait, the connection ends or patience does.
  bool fill(std::size_t count, int timeout_ms = patience_ms) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (input_.size() < count) {
      if (!(ssl_ && SSL_pending(ssl_) > 0)) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
        pollfd wait{fd_, POLLIN, 0};
        if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) <= 0) return false;
      }
      char chunk[16384];
      const long got = ssl_ ? SSL_read(ssl_, chunk, sizeof chunk) : ::recv(fd_, chunk, sizeof chunk, 0);
      if (got <= 0) {
        ended_ = true;
        return false;
      }
      input_.append(chunk, static_cast<std::size_t>(got));
    }
    return true;
  }

  /// What came and was not taken as a reply.
  const std::string& received() const { return input_; }
  /// Its first bytes, which are gone then.
  std::string take(std::size_t count) {
    std::string taken = input_.substr(0, count);
    input_.erase(0, count);
    return taken;
  }

  /// The peer ended the connection within the time; what came before is still in the input.
  bool ends(int timeout_ms = patience_ms) {
    fill(SIZE_MAX, timeout_ms);
    return ended_;
  }

  std::optional<Reply> read_reply(bool head = false) {
    std::size_t end;
    while ((end = input_.find("\r\n\r\n")) == std::string::npos)
      if (!fill(input_.size() + 1)) return std::nullopt;
    Reply reply;
    std::string_view text(input_.data(), end + 2);
    reply.status = std::atoi(std::string(text.substr(9, 3)).c_str());
    text.remove_prefix(text.find("\r\n") + 2);
    while (!text.empty()) {
      const std::size_t line = text.find("\r\n");
      const std::size_t colon = text.find(':');
      std::string name(text.substr(0, colon));
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      reply.fields[name] = std::string(text.substr(colon + 2, line - colon - 2));
      text.remove_prefix(line + 2);
    }
    input_.erase(0, end + 4);
    if (!head && reply.status != 304 && reply.status != 101) {
      const std::size_t size = static_cast<std::size_t>(std::atoll(reply.fields["content-length"].c_str()));
      if (!fill(size)) return std::nullopt;
      reply.body = input_.substr(0, size);
      input_.erase(0, size);
    }
    return reply;
  }

  std::optional<Reply> get(std::string_view target, std::string_view extra = "", std::string_view method = "GET") {
    send(std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + std::string(extra) + "\r\n");
    return read_reply(method == "HEAD");
  }

  std::optional<Reply> upgrade(std::string_view extra = "Sec-WebSocket-Protocol: satsuma.1\r\n", std::string_view target = "/ws") {
    return get(target, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + std::string(extra));
  }

  static std::string frame(std::uint8_t opcode, std::string_view payload, bool final = true) {
    std::string out;
    out += static_cast<char>((final ? 0x80 : 0) | opcode);
    if (payload.size() < 126) {
      out += static_cast<char>(0x80 | payload.size());
    } else if (payload.size() < 65536) {
      out += static_cast<char>(0x80 | 126);
      out += static_cast<char>(payload.size() >> 8);
      out += static_cast<char>(payload.size());
    } else {
      out += static_cast<char>(0x80 | 127);
      for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> shift);
    }
    out.append(4, '\0'); // a mask of zeros
    out += payload;
    return out;
  }
  bool send_text(std::string_view text) { return send(frame(1, text)); }
  bool send_binary(ByteView bytes) { return send(frame(2, as_text(bytes))); }

  /// The next message that is no ping or pong.
  std::optional<Message> read_message(int timeout_ms = patience_ms) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
      if (!fill(2, static_cast<int>(left))) return std::nullopt;
      std::size_t header = 2;
      std::size_t size = static_cast<std::uint8_t>(input_[1]) & 0x7f;
      if (size == 126) {
        if (!fill(4)) return std::nullopt;
        size = static_cast<std::size_t>(static_cast<std::uint8_t>(input_[2])) << 8 | static_cast<std::uint8_t>(input_[3]);
        header = 4;
      } else if (size == 127) {
        if (!fill(10)) return std::nullopt;
        size = 0;
        for (std::size_t i = 2; i < 10; ++i) size = size << 8 | static_cast<std::uint8_t>(input_[i]);
        header = 10;
      }
      if (!fill(header + size)) return std::nullopt;
      Message message{static_cast<std::uint8_t>(input_[0] & 0x0f), input_.substr(header, size)};
      input_.erase(0, header + size);
      if (message.opcode == 9) {
        ++pings_;
        if (answer_pings) send(frame(10, message.payload));
        continue;
      }
      if (message.opcode == 10) continue;
      if (message.opcode == 8) send(frame(8, message.payload.substr(0, 2)));
      return message;
    }
  }
  int pings() const { return pings_; }
  bool answer_pings = true;

 private:
  int fd_ = -1;
  bool connected_ = false;
  bool ended_ = false;
  int pings_ = 0;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  std::string input_;
};

} // namespace satsuma::test
