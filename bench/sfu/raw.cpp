#include <openssl/evp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "bench.h"
#include "io/clock.h"
#include "io/udp_socket.h"
#include "srtp/packet_aead.h"

namespace satsuma::bench {
namespace {

struct FreeCipher {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;

double thread_seconds() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Takes what comes to the sockets, in a process of its own as the receivers of the others are, until it is killed.
[[noreturn]] void take_all(std::vector<io::UdpSocket>& sockets) {
  const int epoll = epoll_create1(0);
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i].descriptor(), &event);
  }
  std::array<epoll_event, 256> ready;
  while (getppid() != 1) {
    const int count = epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), 1000);
    for (int i = 0; i < count; ++i) (void)sockets[ready[static_cast<std::size_t>(i)].data.u64].receive();
  }
  _exit(0);
}

struct Sending {
  io::UdpSocket& sender;
  std::vector<io::UdpSocket>& receivers;
  std::vector<Cipher>& ciphers;
  std::vector<srtp::PacketAead>& servers_ciphers;
  std::size_t fan_out, run, packet_bytes;
  Bytes nonce = Bytes(12), payload, arena;
  std::vector<io::Datagram> datagrams;

  /// What one frame becomes for all who get it.
  std::size_t turn(bool servers_cipher = false) {
    constexpr std::size_t header = 24;
    const std::size_t body = packet_bytes - header - 16;
    payload.resize(body, 9);
    arena.resize(fan_out * run * packet_bytes);
    datagrams.clear();
    std::size_t at = 0;
    for (std::size_t s = 0; s < fan_out; ++s) {
      for (std::size_t p = 0; p < run; ++p) {
        std::uint8_t* const out = arena.data() + at;
        ++nonce[11];
        datagrams.push_back({receivers[s].local(), ByteView(out, packet_bytes)});
        at += packet_bytes;
        if (servers_cipher) {
          std::copy_n(payload.data(), header, out);
          servers_ciphers[s].seal(nonce, {out, header}, payload, {out + header, packet_bytes - header});
          continue;
        }
        int size = 0;
        EVP_CIPHER_CTX* const cipher = ciphers[s].get();
        EVP_EncryptInit_ex(cipher, nullptr, nullptr, nullptr, nonce.data());
        std::copy_n(payload.data(), header, out);
        EVP_EncryptUpdate(cipher, nullptr, &size, out, header);
        EVP_EncryptUpdate(cipher, out + header, &size, payload.data(), static_cast<int>(body));
        EVP_EncryptFinal_ex(cipher, out + header + body, &size);
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, out + header + body);
      }
    }
    sender.send(datagrams);
    return datagrams.size();
  }
};

} // namespace

int raw(const Shape& shape) {
  const std::size_t subscribers = shape.participants - (shape.publishers == 1 ? 1 : 0);
  // In one turn of a server: what one frame of one publisher becomes for all who get it.
  const std::size_t fan_out = shape.publishers == 1 ? subscribers : shape.participants - 1;
  const std::size_t run = shape.audio ? 1 : shape.packets_per_frame;
  std::vector<io::UdpSocket> receivers;
  for (std::size_t i = 0; i < subscribers; ++i) {
    io::UdpSocket::Options options;
    if (!receivers.empty()) options.buffers_of = &receivers.front();
    auto socket = io::UdpSocket::open(TransportAddress::v4({127, 0, 0, 1}, 0), options);
    if (!socket) return 1;
    receivers.push_back(std::move(*socket));
  }
  auto sender = io::UdpSocket::open(TransportAddress::v4({127, 0, 0, 1}, 0));
  if (!sender) return 1;
  const pid_t taking = fork();
  if (taking < 0) return 1;
  if (taking == 0) take_all(receivers);

  std::vector<Cipher> ciphers;
  std::vector<srtp::PacketAead> servers_ciphers;
  Bytes key(16, 3);
  const Bytes nonce(12);
  for (std::size_t i = 0; i < subscribers; ++i) {
    ciphers.emplace_back(EVP_CIPHER_CTX_new());
    key[0] = static_cast<std::uint8_t>(i);
    EVP_EncryptInit_ex(ciphers.back().get(), EVP_aes_128_gcm(), nullptr, key.data(), nonce.data());
    servers_ciphers.emplace_back(key);
  }
  Sending sending{*sender, receivers, ciphers, servers_ciphers, fan_out, run, shape.packet_bytes, nonce, {}, {}, {}};
  const double turns_per_second = (shape.audio ? 50 : shape.packets_per_second / shape.packets_per_frame) * shape.publishers;
  const Duration interval(static_cast<Duration::rep>(1e6 / turns_per_second));
  std::uint64_t packets = 0;
  const auto seconds_per_packet = [&](bool servers_cipher) {
    const double cpu = thread_seconds();
    std::uint64_t sent = 0;
    TimePoint due = io::monotonic_now();
    const TimePoint end = due + Duration(static_cast<Duration::rep>(shape.seconds * 1e6 / 10));
    for (; due < end; due += interval) {
      std::this_thread::sleep_for(due - io::monotonic_now());
      sent += sending.turn(servers_cipher);
    }
    packets += sent;
    return (thread_seconds() - cpu) / static_cast<double>(sent);
  };
  // The best of several short rounds: whatever else runs on the machine only adds.
  double paced = 1e9, with_servers_cipher = 1e9, unpaced = 1e9;
  for (int round = 0; round < 5; ++round) {
    paced = std::min(paced, seconds_per_packet(false));
    with_servers_cipher = std::min(with_servers_cipher, seconds_per_packet(true));
    // As fast as it goes: nobody could take it.
    const double cpu = thread_seconds();
    std::uint64_t sent = 0;
    for (const TimePoint stop = io::monotonic_now() + std::chrono::milliseconds(100); io::monotonic_now() < stop;) sent += sending.turn();
    unpaced = std::min(unpaced, (thread_seconds() - cpu) / static_cast<double>(sent));
  }
  kill(taking, SIGKILL);
  waitpid(taking, nullptr, 0);
  nlohmann::json j{{"us_per_packet", paced * 1e6}, {"us_per_packet_servers_cipher", with_servers_cipher * 1e6}, {"us_per_packet_unpaced", unpaced * 1e6}, {"packets", packets}, {"segments", run}};
  std::printf("%s\n", j.dump().c_str());
  return 0;
}

} // namespace satsuma::bench
