// Sequences on a whole shard with real sessions in virtual time: ICE, DTLS handshakes and SRTP keys are there, and the input chooses what members seal (valid SRTP around
// hostile RTP and RTCP), what strangers and members with made-up addresses send, control messages, descriptions, departures, and how time passes.
//
// Demanded, beside what the sanitizers see: media goes only where somebody completed a handshake, what goes elsewhere is in proportion to what came from there, and what
// waits is within the arena. Randomness is the input's, OpenSSL's too: with $SATSUMA_FUZZ_TWICE each input runs twice, and both must send the same bytes.

#include <openssl/rand.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "participant/transport.h"
#include "rtp/packet.h"
#include "sfu/sfu.h"
#include "sfu/transport.h"
#include "signaling/sdp.h"
#include "stun/message.h"

namespace {

using namespace satsuma;
using namespace satsuma::sfu;
using namespace std::chrono_literals;

std::uint64_t random_state = 1;
std::uint8_t next_random() {
  random_state = random_state * 6364136223846793005U + 1442695040888963407U;
  return static_cast<std::uint8_t>(random_state >> 56);
}
int fill_random(unsigned char* out, int size) {
  std::generate_n(out, size, next_random);
  return 1;
}

class Seeded final : public RandomSource {
 public:
  void fill(MutableByteView out) override { std::generate(out.begin(), out.end(), next_random); }
};

// OpenSSL 3 calls this deprecated for a provider, which is a library of its own to write.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
void use_seeded_openssl() {
  static const RAND_METHOD method{nullptr, fill_random, nullptr, nullptr, fill_random, [] { return 1; }};
  RAND_set_rand_method(&method);
}
#pragma GCC diagnostic pop

const dtls::Context& context(std::size_t which) {
  static const std::array<dtls::Context, 3> contexts{std::move(*dtls::Context::create(1'800'000'000)), std::move(*dtls::Context::create(1'800'000'000)),
                                                     std::move(*dtls::Context::create(1'800'000'000))};
  return contexts[which];
}

const NetworkPath server_path{TransportAddress::v4({127, 0, 0, 1}, 5000), 0};

void demand(bool condition) {
  if (!condition) std::abort();
}

/// One connection of a member, from the client's side.
struct Side {
  std::unique_ptr<participant::Transport> transport;
  ice::Credentials own, remote;
  std::size_t certificate = 1;
  NetworkPath path;
  Bytes last; ///< the datagram that it sent last
};

struct Member {
  IncarnationId id;
  Side publish, subscribe;
  std::optional<SubscribeOffer> offer;
};

struct Flow {
  std::size_t in = 0, out = 0;
  bool shown = false; ///< a handshake was completed there
};

class World {
 public:
  World(ByteView input) : rest_(input) {
    Limits limits;
    limits.send_arena_bytes = 1U << 20;
    limits.video_history_packets = 64;
    arena_ = limits.send_arena_bytes;
    sfu_ = std::make_unique<Sfu>(Config{{server_path.remote}, {}, 0, limits}, context(0), random_);
    for (std::uint8_t n = 1; n <= 3; ++n) {
      Member& m = members_[n - 1];
      m.id.bytes[0] = n;
      m.publish.path = {TransportAddress::v4({10, 0, 0, n}, 1000), 0};
      m.subscribe.path = {TransportAddress::v4({10, 0, 0, n}, 2000), 0};
      arrive(m);
    }
    publish(members_[0]);
    subscribe(members_[1]);
    for (int i = 0; i < 20; ++i) pass(20ms);
    demand(members_[0].publish.transport->connected() && members_[1].subscribe.transport->connected());
  }

  void run() {
    while (!rest_.empty()) {
      step();
      exchange();
    }
    for (Member& m : members_) static_cast<void>(sfu_->remove_participant(now_, m.id));
    exchange();
    demand(sfu_->participant_count() == 0 && sfu_->room_count() == 0);
  }
  std::uint64_t digest() const { return digest_; }

 private:
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const std::uint8_t b = rest_[0];
    rest_ = rest_.subspan(1);
    return b;
  }
  ByteView bytes() {
    const std::size_t size = std::min<std::size_t>(byte(), rest_.size());
    const ByteView out = rest_.first(size);
    rest_ = rest_.subspan(size);
    return out;
  }

  void arrive(Member& m) {
    static_cast<void>(sfu_->add_participant(now_, "room", m.id));
    static_cast<void>(sfu_->set_member(now_, m.id, true));
    static_cast<void>(sfu_->handle_sources(now_, m.id, {Source::microphone, Source::camera}));
  }

  std::string transport_lines(const Side& side, const char* setup) {
    return "a=ice-ufrag:" + side.own.ufrag + "\r\na=ice-pwd:" + side.own.password + "\r\na=fingerprint:sha-256 " + context(side.certificate).fingerprint().text() +
           "\r\na=setup:" + setup + "\r\n";
  }

  void begin(Side& side, const std::string& sdp, bool keep) {
    const auto description = signaling::parse_sdp(sdp);
    demand(description.has_value());
    const auto& m = description->media.front();
    side.remote = {m.ice_ufrag, m.ice_password};
    if (!keep || !side.transport) side.transport = std::make_unique<participant::Transport>(now_, context(side.certificate), side.own, random_);
    else static_cast<void>(side.transport->set_local(side.own));
    static_cast<void>(side.transport->set_remote(now_, side.remote, context(0).fingerprint(), dtls::Role::client, std::span(&server_path, 1)));
  }

  void publish(Member& m, bool keep = false) {
    m.publish.own = ice::Credentials::generate(random_);
    const std::string transport = transport_lines(m.publish, "actpass");
    const std::string extensions = "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
                                   "a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n"
                                   "a=extmap:7 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension\r\n";
    const std::string sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n" + transport +
                            "a=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:1 cname:x\r\n" + extensions +
                            "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\n" + transport +
                            "a=mid:1\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 AV1/90000\r\n" + extensions +
                            "a=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n";
    const auto answer = sfu_->handle_publish_offer(now_, m.id, sdp);
    if (!answer) return;
    if (!keep) ++opened_;
    begin(m.publish, *answer, keep);
  }

  void subscribe(Member& m, bool keep = false) {
    if (!sfu_->request_subscribe(now_, m.id)) return;
    exchange();
    if (!m.offer) return;
    m.subscribe.own = ice::Credentials::generate(random_);
    std::string group = "a=group:BUNDLE", media;
    const auto description = signaling::parse_sdp(m.offer->sdp);
    demand(description.has_value());
    for (const auto& line : description->media) {
      group += " " + line.mid;
      media += line.kind == signaling::MediaKind::audio ? "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n"
                                                        : "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n";
      media += "a=mid:" + line.mid + "\r\na=recvonly\r\na=rtcp-mux\r\n";
    }
    const std::string sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + group + "\r\n" + transport_lines(m.subscribe, "active") + media;
    if (!sfu_->handle_subscribe_answer(now_, m.id, m.offer->revision, sdp)) return;
    if (!keep) ++opened_;
    begin(m.subscribe, m.offer->sdp, keep);
  }

  void give(const NetworkPath& path, Bytes datagram) {
    flows_[path].in += datagram.size();
    sfu_->handle_packet(now_, path, datagram);
    deliver();
  }

  void deliver() {
    std::vector<std::pair<NetworkPath, Bytes>> out;
    std::size_t waiting = 0;
    for (const OutgoingDatagram& d : sfu_->pending_datagrams()) {
      out.emplace_back(d.path, to_bytes(d.bytes));
      waiting += d.bytes.size();
    }
    demand(waiting <= arena_);
    sfu_->clear_datagrams();
    for (auto& [path, datagram] : out) {
      for (const std::uint8_t b : datagram) digest_ = (digest_ ^ b) * 0x100000001b3;
      Flow& flow = flows_[path];
      flow.out += datagram.size();
      demand(flow.in > 0);
      for (Member& m : members_)
        for (Side* const side : {&m.publish, &m.subscribe})
          if (side->transport && side->path == path) {
            static_cast<void>(side->transport->handle_packet(now_, server_path, datagram));
            flow.shown = flow.shown || side->transport->connected();
          }
      const PacketKind kind = classify(datagram);
      const bool media = kind == PacketKind::rtp || kind == PacketKind::rtcp;
      // The keys' last flight and the first packet may come together.
      bool here = flow.shown;
      for (Member& m : members_) here = here || m.publish.path == path || m.subscribe.path == path;
      if (media) demand(here);
      if (!here) demand(flow.out <= 5 * flow.in + (handshake_allowance + 200) * opened_ + 400 * moved_);
    }
    while (auto output = sfu_->poll_output())
      for (Member& m : members_)
        if (auto* const offer = std::get_if<SubscribeOffer>(&*output); offer && offer->id == m.id) m.offer = std::move(*offer);
  }

  /// Lets everybody say what there is to say now.
  void exchange() {
    deliver();
    for (int round = 0; round < 8; ++round) {
      bool any = false;
      for (Member& m : members_)
        for (Side* const side : {&m.publish, &m.subscribe}) {
          if (!side->transport) continue;
          std::vector<Bytes> said;
          while (auto output = side->transport->poll_output())
            if (const auto* const send = std::get_if<participant::Transport::Send>(&*output)) said.push_back(to_bytes(send->datagram));
          for (Bytes& d : said) give(side->path, std::move(d));
          any = any || !said.empty();
        }
      if (!any) return;
    }
  }

  void pass(Duration time) {
    now_ += time;
    sfu_->handle_timeout(now_);
    for (Member& m : members_)
      for (Side* const side : {&m.publish, &m.subscribe})
        if (side->transport) side->transport->handle_timeout(now_);
    exchange();
  }

  /// Some address: a stranger's, or one of a member's.
  NetworkPath some_path() {
    const std::uint8_t which = byte();
    const Member& m = members_[which % members_.size()];
    switch (which / 4 % 5) {
      case 0: return m.publish.path;
      case 1: return m.subscribe.path;
      case 2: return {TransportAddress::v4({10, 0, 0, m.id.bytes[0]}, static_cast<std::uint16_t>(3000 + which)), 0};
      case 3: return {TransportAddress::v4({10, 9, 9, 9}, which), NetworkPath::first_stream + which};
      default: return {TransportAddress::v4({10, 66, 6, 6}, which), 0};
    }
  }

  Bytes sealed_rtp(Side& side) {
    if (!side.transport || !side.transport->connected()) return {};
    const std::uint8_t shape = byte();
    Bytes header(12);
    header[0] = static_cast<std::uint8_t>(0x80 | (shape & 0x20) | (shape & 0x10) | (shape & 3)); // padding, extension, CSRCs
    constexpr std::array<std::uint8_t, 4> types{111, 96, 97, 98};
    header[1] = static_cast<std::uint8_t>((shape & 0x80) | types[shape >> 2 & 3]);
    sequence_ = static_cast<std::uint16_t>(sequence_ + 1 + (shape & 0x40 ? byte() : 0));
    header[2] = static_cast<std::uint8_t>(sequence_ >> 8), header[3] = static_cast<std::uint8_t>(sequence_);
    header[6] = byte(), header[11] = byte();
    header.resize(12 + 4 * (shape & 3));
    if (shape & 0x10) {
      Bytes content = to_bytes(bytes());
      content.resize((content.size() + 3) / 4 * 4);
      const std::uint16_t profile = byte() & 1 ? 0x1000 : 0xbede;
      header.insert(header.end(), {static_cast<std::uint8_t>(profile >> 8), static_cast<std::uint8_t>(profile), 0, static_cast<std::uint8_t>(content.size() / 4)});
      header.insert(header.end(), content.begin(), content.end());
    }
    const ByteView payload = bytes();
    Bytes out(header.size() + payload.size() + 64);
    const auto sealed = side.transport->protect_rtp(header, payload, out);
    return sealed ? to_bytes(*sealed) : Bytes();
  }

  Bytes sealed_rtcp(Side& side) {
    if (!side.transport || !side.transport->connected()) return {};
    Bytes plain = to_bytes(bytes());
    if (plain.size() < 8) plain.resize(8);
    plain[0] = static_cast<std::uint8_t>(0x80 | (plain[0] & 0x3f));
    plain[1] = static_cast<std::uint8_t>(192 + plain[1] % 32);
    Bytes out(plain.size() + 64);
    const auto sealed = side.transport->protect_rtcp(plain, out);
    return sealed ? to_bytes(*sealed) : Bytes();
  }

  void send(Side& side, const NetworkPath& path, Bytes datagram) {
    if (datagram.empty()) return;
    side.last = datagram;
    give(path, std::move(datagram));
  }

  void step() {
    const std::uint8_t op = byte();
    Member& m = members_[op / 16 % members_.size()];
    const bool flag = (op & 0x80) != 0;
    Side& side = flag ? m.subscribe : m.publish;
    switch (op % 16) {
      case 0: pass(std::chrono::milliseconds(byte() % 64)); break;
      case 1: pass(std::chrono::milliseconds(byte() * 100)); break;
      case 2:
      case 3:
      case 4: send(side, side.path, sealed_rtp(side)); break;
      case 5:
      case 6: send(side, side.path, sealed_rtcp(side)); break;
      case 7: give(some_path(), to_bytes(bytes())); break;
      case 8: { // its packets from elsewhere, again, or with a bit turned
        Bytes datagram = byte() & 1 ? side.last : sealed_rtp(side);
        if (!datagram.empty() && byte() & 1) datagram[byte() % datagram.size()] ^= 1;
        const NetworkPath path = some_path();
        ++moved_;
        if (!datagram.empty()) give(path, std::move(datagram));
        break;
      }
      case 9: { // a check with its credentials and any address
        stun::BindingRequest request;
        random_.fill(request.transaction);
        const std::string username = side.remote.ufrag + ":" + side.own.ufrag;
        if (side.remote.ufrag.empty()) break;
        request.username = username;
        request.priority = byte() * 0x100U + 1;
        request.use_candidate = byte() & 1;
        Bytes out(stun::max_written_size);
        const auto written = stun::write_binding_request(request, as_bytes(side.remote.password), out);
        if (written) give(some_path(), to_bytes(*written));
        break;
      }
      case 10: {
        const std::uint8_t what = byte();
        if (what & 1) static_cast<void>(sfu_->handle_sources(now_, m.id, what & 2 ? SourceSet{Source::camera} : SourceSet{Source::microphone, Source::camera}));
        if (what & 4) static_cast<void>(sfu_->set_member(now_, m.id, what & 8));
        if (what & 16) static_cast<void>(sfu_->handle_key_frame_request(now_, m.id, "v0"));
        const std::array<TileView, 2> tiles{TileView{"v0", byte() * 8U + 1}, TileView{"v" + std::to_string(byte() % 9), 90}};
        if (what & 32) static_cast<void>(sfu_->handle_view(now_, m.id, tiles));
        static_cast<void>(sfu_->report(now_, m.id));
        break;
      }
      case 11: {
        const bool keep = side.transport != nullptr && byte() & 1;
        if (!keep) side.certificate = 1 + byte() % 2;
        if (flag) subscribe(m, keep);
        else publish(m, keep);
        break;
      }
      case 12:
        if (flag) static_cast<void>(sfu_->remove_participant(now_, m.id));
        else arrive(m);
        break;
      case 13: sfu_->handle_path_closed(now_, some_path()); break;
      case 14: {
        const ByteView text = bytes();
        const std::string sdp(text.begin(), text.end());
        if (flag) static_cast<void>(sfu_->handle_subscribe_answer(now_, m.id, byte(), sdp));
        else static_cast<void>(sfu_->handle_publish_offer(now_, m.id, sdp));
        break;
      }
      case 15:
        if (flag) sfu_->handle_epoch(now_, "room", byte());
        else static_cast<void>(sfu_->handle_followed(m.id, byte()));
        break;
    }
  }

  ByteView rest_;
  Seeded random_;
  TimePoint now_{1000s};
  std::size_t arena_ = 0, opened_ = 0, moved_ = 0;
  std::unique_ptr<Sfu> sfu_;
  std::array<Member, 3> members_;
  std::map<NetworkPath, Flow> flows_;
  std::uint16_t sequence_ = 0;
  std::uint64_t digest_ = 0xcbf29ce484222325;
};

std::uint64_t run(ByteView input) {
  random_state = 1;
  World world(input);
  world.run();
  return world.digest();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool twice = [] {
    use_seeded_openssl();
    static_cast<void>(context(0));
    return std::getenv("SATSUMA_FUZZ_TWICE") != nullptr;
  }();
  const std::uint64_t digest = run({data, size});
  if (twice) demand(run({data, size}) == digest);
  return 0;
}
