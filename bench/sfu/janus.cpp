// A peer without our signaling: Janus' VideoRoom by its HTTP interface, with our own ICE, DTLS, SRTP and RTP towards it.

#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bench.h"
#include "event_loop.h"
#include "io/clock.h"
#include "io/random.h"
#include "io/udp_socket.h"
#include "participant/media_receiver.h"
#include "participant/media_sender.h"
#include "signaling/client_sdp.h"
#include "statistics.h"

namespace satsuma::bench {
namespace {

using client::EventLoop;
using nlohmann::json;
using participant::MediaReceiver;
using participant::MediaSender;
using std::chrono::milliseconds;

constexpr std::uint64_t mark = 0x5a7501a0ca22ed00;
constexpr std::size_t packet_overhead = 4 + 12 + 4 + 8 + 16;

/// Requests one after the other, a connection each.
class Http {
 public:
  explicit Http(unsigned port) : port_(static_cast<std::uint16_t>(port)) {}

  json post(const std::string& path, const json& body) {
    const std::string text = body.dump();
    return exchange("POST " + path + " HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text);
  }
  json get(const std::string& path) { return exchange("GET " + path + " HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"); }

 private:
  json exchange(const std::string& request) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      if (fd >= 0) ::close(fd);
      throw std::runtime_error("Janus does not answer");
    }
    std::string response;
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
      std::array<char, 65536> part;
      for (ssize_t got; (got = ::recv(fd, part.data(), part.size(), 0)) > 0;) response.append(part.data(), static_cast<std::size_t>(got));
    }
    ::close(fd);
    const std::size_t end = response.find("\r\n\r\n");
    if (end == std::string::npos) throw std::runtime_error("Janus' answer is not HTTP");
    return json::parse(response.substr(end + 4));
  }
  std::uint16_t port_;
};

class Room {
 public:
  Room(const Shape& shape, unsigned port, const TransportAddress& address) : shape_(shape), address_(address), http_(port), context_(*dtls::Context::create(io::unix_now())) {}

  void run() {
    session_ = http_.post("/janus", {{"janus", "create"}, {"transaction", transaction()}}).at("data").at("id");
    const std::uint64_t manager = attach();
    request(manager, {{"request", "create"}, {"room", room_}, {"publishers", 200}, {"bitrate", 0}, {"bitrate_cap", false}, {"fir_freq", 0}, {"audiocodec", "opus"}, {"videocodec", "vp8"}, {"notify_joining", false}}, std::nullopt, false);
    for (unsigned i = 0; i < shape_.publishers; ++i) publish();
    loop_.run_for(milliseconds(300));
    for (unsigned i = shape_.publishers == 1 ? 1 : 0; i < shape_.participants; ++i) subscribe();
    // Until all are connected.
    for (int i = 0; i < 200 && connected_ < senders_.size() + receivers_.size(); ++i) loop_.run_for(milliseconds(50));
    if (connected_ < senders_.size() + receivers_.size()) throw std::runtime_error("only " + std::to_string(connected_) + " of " + std::to_string(senders_.size() + receivers_.size()) + " connections came about");
    for (auto& sender : senders_) tick(*sender, io::monotonic_now(), io::monotonic_now());
    keep_alive();
    loop_.run_for(milliseconds(1500));
    measure();
  }

 private:
  struct Sender {
    io::UdpSocket socket;
    std::unique_ptr<MediaSender> media;
    std::uint64_t feed = 0, frames = 0;
    std::optional<EventLoop::TimerId> timer;
  };
  struct Receiver {
    io::UdpSocket socket;
    std::unique_ptr<MediaReceiver> media;
    std::optional<EventLoop::TimerId> timer;
  };

  std::string transaction() { return "t" + std::to_string(++transactions_); }
  std::string session_path() const { return "/janus/" + std::to_string(session_); }

  std::uint64_t attach() {
    return http_.post(session_path(), {{"janus", "attach"}, {"plugin", "janus.plugin.videoroom"}, {"transaction", transaction()}}).at("data").at("id");
  }

  /// The plugin's answer to a message; `event`: it comes later, by the long poll.
  json request(std::uint64_t handle, const json& body, const std::optional<json>& jsep, bool event) {
    json message{{"janus", "message"}, {"transaction", transaction()}, {"body", body}};
    if (jsep) message["jsep"] = *jsep;
    const json answer = http_.post(session_path() + "/" + std::to_string(handle), message);
    if (!event) return check(answer);
    for (int i = 0; i < 5000; ++i) { // others come in between: who publishes, whose media is up
      const json next = http_.get(session_path() + "?maxev=1");
      const json one = next.is_array() && !next.empty() ? next.at(0) : next;
      if (one.value("janus", "") != "event" || one.value("sender", std::uint64_t{0}) != handle) continue;
      return check(one);
    }
    throw std::runtime_error("Janus does not answer a request");
  }
  static json check(const json& answer) {
    if (answer.contains("plugindata") && answer["plugindata"]["data"].contains("error")) throw std::runtime_error("Janus: " + answer["plugindata"]["data"]["error"].get<std::string>());
    if (answer.value("janus", "") == "error") throw std::runtime_error("Janus: " + answer.dump());
    return answer;
  }

  io::UdpSocket open() {
    io::UdpSocket::Options options;
    options.buffer_bytes = 1U << 20;
    if (buffers_) options.buffers_of = &*buffers_;
    auto socket = io::UdpSocket::open(address_, options);
    if (!socket) throw std::runtime_error("no socket");
    if (!buffers_) buffers_.emplace(*io::UdpSocket::open(address_));
    return std::move(*socket);
  }

  signaling::ClientDescription describe(const participant::Transport& transport, const io::UdpSocket& socket) {
    const ice::Credentials& local = transport.local_credentials();
    return {{local.ufrag, local.password}, context_.fingerprint().text(), random_.u64() >> 2, 1, {socket.local()}};
  }

  static std::vector<NetworkPath> paths(const signaling::RemoteTransport& remote) {
    std::vector<NetworkPath> out;
    for (const TransportAddress& candidate : remote.candidates) out.push_back({candidate, 0});
    if (out.empty()) throw std::runtime_error("Janus names no candidate: does it use the loopback interface?");
    return out;
  }

  void publish() {
    auto sender = std::make_unique<Sender>(Sender{open(), nullptr, 0, 0, {}});
    Sender& s = *sender;
    const TimePoint now = io::monotonic_now();
    s.media = std::make_unique<MediaSender>(now, context_, ice::Credentials::generate(random_), random_, shape_.packet_bytes - packet_overhead + 4);
    const std::uint64_t handle = attach();
    const json joined = request(handle, {{"request", "join"}, {"ptype", "publisher"}, {"room", room_}}, std::nullopt, true);
    s.feed = joined.at("plugindata").at("data").at("id");
    const std::vector<signaling::OfferedStream> streams{{shape_.audio ? signaling::MediaKind::audio : signaling::MediaKind::video, "0", static_cast<std::uint32_t>(random_.u64()) | 1,
                                                         shape_.audio ? 0 : static_cast<std::uint32_t>(random_.u64()) | 1}};
    const json answer = request(handle, {{"request", "publish"}}, json{{"type", "offer"}, {"sdp", signaling::write_publish_offer(streams, describe(s.media->transport(), s.socket))}}, true);
    const auto description = signaling::parse_sdp(answer.at("jsep").at("sdp").get<std::string>());
    if (!description) throw std::runtime_error("Janus' answer cannot be read");
    const auto parsed = signaling::interpret_publish_answer(*description, streams);
    if (!parsed || !parsed->streams[0].accepted) throw std::runtime_error("Janus' answer cannot be used");
    participant::Extensions extensions;
    if (parsed->mid_extension) extensions.mid = signaling::client_mid_extension;
    if (parsed->transport_cc_extension) extensions.transport_cc = signaling::client_transport_cc_extension;
    participant::OutgoingStream stream{!shape_.audio, "0", shape_.audio ? signaling::client_opus_payload_type : signaling::client_vp8_payload_type, {}, streams[0].ssrc, streams[0].rtx_ssrc};
    if (parsed->streams[0].retransmissions) stream.rtx_payload_type = signaling::client_rtx_payload_type;
    s.media->set_streams({stream}, extensions);
    const dtls::Role role = parsed->transport.setup == signaling::SetupRole::active ? dtls::Role::server : dtls::Role::client;
    if (!s.media->transport().set_remote(now, {parsed->transport.ice.ufrag, parsed->transport.ice.password}, *dtls::Fingerprint::parse(parsed->transport.fingerprint), role, paths(parsed->transport)))
      throw std::runtime_error("Janus' transport cannot be used");
    loop_.watch(s.socket.descriptor(), [this, &s] {
      const TimePoint at = io::monotonic_now();
      if (const auto received = s.socket.receive())
        for (const auto& datagram : *received) s.media->handle_packet(at, {datagram.remote, 0}, datagram.bytes);
      pump(s, at);
    });
    s.media->handle_timeout(now);
    pump(s, now);
    senders_.push_back(std::move(sender));
    loop_.run_for(milliseconds(20));
  }

  void subscribe() {
    auto receiver = std::make_unique<Receiver>(Receiver{open(), nullptr, {}});
    Receiver& r = *receiver;
    const TimePoint now = io::monotonic_now();
    MediaReceiver::Options options;
    options.history_packets = 128;
    // As with ours: each twentieth looks at what it gets.
    options.audio_frames = options.video_frames = receivers_.size() % 20 == 0;
    r.media = std::make_unique<MediaReceiver>(now, context_, ice::Credentials::generate(random_), random_, options);
    const std::uint64_t handle = attach();
    json streams = json::array();
    for (std::size_t i = 0; i < senders_.size(); ++i)
      if (senders_.size() == 1 || i != receivers_.size()) streams.push_back({{"feed", senders_[i]->feed}});
    const json offered = request(handle, {{"request", "join"}, {"ptype", "subscriber"}, {"room", room_}, {"streams", streams}}, std::nullopt, true);
    const auto description = signaling::parse_sdp(offered.at("jsep").at("sdp").get<std::string>());
    if (!description) throw std::runtime_error("Janus' offer cannot be read");
    const auto parsed = signaling::interpret_subscribe_offer(*description);
    if (!parsed) throw std::runtime_error("Janus' offer cannot be used");
    std::vector<participant::IncomingStream> incoming;
    for (const auto& slot : parsed->slots)
      incoming.push_back({slot.kind == signaling::MediaKind::video, slot.mid, slot.payload_type.value_or(0), slot.rtx_payload_type, slot.ssrc, slot.rtx_ssrc});
    r.media->set_streams(std::move(incoming), {parsed->mid_extension, parsed->transport_cc_extension});
    if (!r.media->transport().set_remote(now, {parsed->transport.ice.ufrag, parsed->transport.ice.password}, *dtls::Fingerprint::parse(parsed->transport.fingerprint), dtls::Role::client,
                                         paths(parsed->transport)))
      throw std::runtime_error("Janus' transport cannot be used");
    loop_.watch(r.socket.descriptor(), [this, &r] {
      const TimePoint at = io::monotonic_now();
      for (int batch = 0; batch < 4; ++batch) {
        const auto received = r.socket.receive();
        if (!received || received->empty()) break;
        for (const auto& datagram : *received) {
          r.media->handle_packet(at, {datagram.remote, 0}, datagram.bytes, datagram.arrived);
          take(r, datagram.arrived);
        }
        if (received->size() < io::receive_batch_size) break;
      }
      pump(r, at);
    });
    request(handle, {{"request", "start"}}, json{{"type", "answer"}, {"sdp", signaling::write_subscribe_answer(*parsed, describe(r.media->transport(), r.socket))}}, true);
    r.media->handle_timeout(io::monotonic_now());
    pump(r, io::monotonic_now());
    receivers_.push_back(std::move(receiver));
    loop_.run_for(milliseconds(10));
  }

  template <class Peer>
  void flush(Peer& peer) {
    batch_.clear();
    for (const auto& datagram : peer.media->queue().datagrams()) batch_.push_back({datagram.path.remote, datagram.bytes});
    if (!batch_.empty()) peer.socket.send(batch_);
    peer.media->queue().clear();
  }
  template <class Peer>
  void arm(Peer& peer) {
    const auto deadline = peer.media->next_deadline();
    if (deadline && peer.timer && peer.timer->first == *deadline) return;
    if (peer.timer) loop_.cancel(*peer.timer);
    peer.timer.reset();
    if (!deadline) return;
    peer.timer = loop_.at(*deadline, [this, &peer](TimePoint now) {
      peer.timer.reset();
      peer.media->handle_timeout(now);
      pump(peer, now);
    });
  }
  void pump(Sender& sender, TimePoint) {
    while (const auto output = sender.media->poll_output())
      if (std::holds_alternative<MediaSender::Connected>(*output)) ++connected_;
    flush(sender);
    arm(sender);
  }
  void pump(Receiver& receiver, TimePoint now) {
    take(receiver, now);
    flush(receiver);
    arm(receiver);
  }
  void take(Receiver& receiver, TimePoint arrived) {
    while (const auto output = receiver.media->poll_output()) {
      if (std::holds_alternative<MediaReceiver::Connected>(*output)) ++connected_;
      const auto* const frame = std::get_if<MediaReceiver::Frame>(&*output);
      if (frame == nullptr || !measuring_) continue;
      ByteReader in(frame->payload);
      if (shape_.audio ? false : !in.u8()) continue; // the byte that says whether it is a key frame
      const auto found = in.u64();
      const auto made = in.u64();
      if (found && *found == mark && made) latency_.add(static_cast<double>(arrived.time_since_epoch().count() - static_cast<std::int64_t>(*made)) / 1000);
    }
  }

  void tick(Sender& sender, TimePoint due, TimePoint now) {
    const std::size_t size = shape_.audio ? 100 : (shape_.packet_bytes - packet_overhead) * shape_.packets_per_frame;
    frame_.assign(size, 0);
    SpanWriter out(frame_);
    if (!shape_.audio) out.u8(sender.frames % 100 == 0 ? 0 : 1);
    out.u64(mark);
    out.u64(static_cast<std::uint64_t>(io::monotonic_now().time_since_epoch().count())); // `now` is as old as this turn of the loop
    const auto timestamp = static_cast<std::uint32_t>(now.time_since_epoch().count() * (shape_.audio ? 48 : 90) / 1000);
    if (sender.media->send_frame(now, 0, frame_, timestamp)) {
      ++sender.frames;
      sent_ += shape_.audio ? 1 : shape_.packets_per_frame;
    }
    flush(sender);
    const double rate = shape_.audio ? shape_.packets_per_second : shape_.packets_per_second / shape_.packets_per_frame;
    due += Duration(static_cast<Duration::rep>(1e6 / rate));
    if (due < now - milliseconds(200)) due = now;
    loop_.at(due, [this, &sender, due](TimePoint at) { tick(sender, due, at); });
  }

  void keep_alive() {
    loop_.at(io::monotonic_now() + std::chrono::seconds(20), [this](TimePoint) {
      http_.post(session_path(), {{"janus", "keepalive"}, {"transaction", transaction()}});
      keep_alive();
    });
  }

  void measure() {
    const auto count = [this] {
      std::uint64_t packets = 0;
      for (auto& receiver : receivers_) packets += receiver->media->counters().packets;
      return packets;
    };
    const auto lost = [this] {
      std::uint64_t packets = 0;
      for (auto& receiver : receivers_) packets += receiver->media->counters().lost_packets;
      return packets;
    };
    const std::uint64_t before = count(), lost_before = lost();
    measuring_ = true;
    const TimePoint begin = io::monotonic_now();
    if (!shape_.ready_file.empty()) std::ofstream(shape_.ready_file) << "ready\n";
    loop_.run_for(Duration(static_cast<Duration::rep>(shape_.seconds * 1e6)));
    const double seconds = std::chrono::duration<double>(io::monotonic_now() - begin).count();
    const std::uint64_t packets = count() - before;
    const json j{{"packets_received", packets}, {"packets_lost", lost() - lost_before}, {"measured_seconds", seconds}, {"packets_per_second", static_cast<double>(packets) / seconds},
                 {"latency_ms", {{"p50", latency_.at(0.5)}, {"p99", latency_.at(0.99)}, {"count", latency_.count()}}}};
    std::printf("%s\n", j.dump().c_str());
    std::fflush(stdout);
  }

  Shape shape_;
  TransportAddress address_;
  Http http_;
  dtls::Context context_;
  io::SystemRandom random_;
  EventLoop loop_;
  std::optional<io::UdpSocket> buffers_;
  std::uint64_t session_ = 0, transactions_ = 0, sent_ = 0;
  static constexpr std::uint64_t room_ = 4711;
  std::vector<std::unique_ptr<Sender>> senders_;
  std::vector<std::unique_ptr<Receiver>> receivers_;
  std::size_t connected_ = 0;
  std::vector<io::Datagram> batch_;
  Bytes frame_;
  bool measuring_ = false;
  client::Percentiles latency_;
};

} // namespace

int janus(const Shape& shape, unsigned port, const std::string& address) {
  const auto own = TransportAddress::parse(address, 0);
  if (!own) throw std::runtime_error("the address is none");
  Room room(shape, port, *own);
  room.run();
  return 0;
}

} // namespace satsuma::bench
