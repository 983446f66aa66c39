#include "turn/server.h"

#include <gtest/gtest.h>

#include "../base/seeded_random.h"
#include "requests.h"

namespace satsuma::turn {
namespace {

using namespace std::chrono_literals;
using test::channel_data;
using test::Request;

const TransportAddress media = TransportAddress::v4({192, 0, 2, 1}, 8443);
const TransportAddress second_media = TransportAddress::v4({192, 0, 2, 1}, 8444);
const TransportAddress media6 = *TransportAddress::parse("2001:db8::1", 8443);
const TransportAddress browser = TransportAddress::v4({198, 51, 100, 7}, 40000);
const TransportAddress stranger = TransportAddress::v4({203, 0, 113, 9}, 53);

/// One client of a server, that answers what it is asked.
class Client {
 public:
  Client(Server& server, TimePoint now, const TransportAddress& from = browser) : connection(now, server, from), now_(now) {}

  std::optional<Message> ask(const Request& request) {
    const auto event = put(test::write(request));
    if (!event || !event->reply) return std::nullopt;
    answer_ = to_bytes(event->reply->bytes);
    const auto parsed = parse(answer_);
    EXPECT_TRUE(parsed);
    if (!parsed) return std::nullopt;
    if (parsed->nonce) nonce = *parsed->nonce;
    return *parsed;
  }
  std::uint16_t code(const Request& request) {
    const auto answer = ask(request);
    if (!answer) return 0;
    if (answer->message_class == stun::MessageClass::success) return 200;
    return answer->error_code.value_or(1);
  }
  std::optional<ServerConnection::Event> put(Bytes bytes) {
    input_ = std::move(bytes);
    MutableByteView rest = input_;
    auto event = connection.next(now_, rest);
    ended = !event.has_value();
    return event ? *event : std::nullopt;
  }

  void use(const Credentials& credentials) {
    username = credentials.username;
    key = to_bytes(long_term_key(credentials.username, Server::realm, credentials.password.view())->view());
  }
  Request signed_request(std::uint16_t method) const {
    Request request;
    request.method = method;
    request.username = username;
    request.realm = std::string(Server::realm);
    request.nonce = nonce;
    request.key = key;
    if (method == allocate) request.transport = 17;
    return request;
  }
  std::uint16_t enter() {
    EXPECT_EQ(code({.method = allocate, .transport = 17}), 401);
    return code(signed_request(allocate));
  }
  void pass(Duration time) { now_ += time; }
  TimePoint now() const { return now_; }

  ServerConnection connection;
  std::string username, nonce;
  Bytes key;
  bool ended = false;

 private:
  TimePoint now_;
  Bytes input_, answer_;
};

class TurnTest : public testing::Test {
 protected:
  SeededRandom random_{7};
  Limits limits_;
  std::vector<TransportAddress> own_{media, second_media, media6};
  std::optional<Server> server_;
  TimePoint start_{1h};

  Server& server() {
    if (!server_) server_.emplace(own_, random_, limits_);
    return *server_;
  }
  std::unique_ptr<Client> client(std::string_view session = "ada", const TransportAddress& from = browser) {
    auto one = std::make_unique<Client>(server(), start_, from);
    one->use(server().credentials(start_, session));
    return one;
  }
  /// Knows realm and nonce.
  std::unique_ptr<Client> challenged() {
    auto one = client();
    EXPECT_EQ(one->code({.method = allocate, .transport = 17}), 401);
    return one;
  }
  std::unique_ptr<Client> allocated(std::string_view session = "ada", const TransportAddress& from = browser) {
    auto one = client(session, from);
    EXPECT_EQ(one->enter(), 200);
    return one;
  }
};

TEST_F(TurnTest, AClientWithCredentialsGetsAnAllocationAtOneOfOurAddresses) {
  auto one = client();
  const auto challenge = one->ask({.method = allocate, .transport = 17});
  ASSERT_TRUE(challenge);
  EXPECT_EQ(challenge->error_code, 401);
  EXPECT_EQ(challenge->realm, Server::realm);
  ASSERT_TRUE(challenge->nonce);
  const auto answer = one->ask(one->signed_request(allocate));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->message_class, stun::MessageClass::success);
  EXPECT_TRUE(is_authentic(*answer, one->key));
  EXPECT_EQ(answer->mapped_address, browser);
  ASSERT_TRUE(answer->relayed_address);
  EXPECT_EQ(answer->relayed_address->ip, media.ip);
  EXPECT_GE(answer->relayed_address->port, 49152);
  EXPECT_EQ(answer->lifetime_seconds, 600U);
  EXPECT_EQ(one->connection.relayed(), *answer->relayed_address);
  EXPECT_EQ(server().allocations(), 1U);
}

TEST_F(TurnTest, EndsItsAllocationWithTheConnection) {
  allocated().reset();
  EXPECT_EQ(server().allocations(), 0U);
}

TEST_F(TurnTest, RefusesAWrongPassword) {
  auto one = client();
  one->key[0] ^= 1;
  EXPECT_EQ(one->enter(), 401);
  EXPECT_EQ(server().counters().unauthorized, 1U);
}

TEST_F(TurnTest, RefusesAUsernameThatItDidNotMake) {
  auto one = client();
  one->username = "99999999999:ada";
  EXPECT_EQ(one->enter(), 401);
}

TEST_F(TurnTest, RefusesAUsernameThatSaysNoTime) {
  auto one = client();
  for (const char* name : {"ada", ":ada", "x1:ada", "1x:ada"}) {
    one->username = name;
    EXPECT_EQ(one->enter(), 401) << name;
  }
}

TEST_F(TurnTest, RefusesAnotherServersCredentials) {
  auto one = client();
  SeededRandom other_random(8);
  Server other(own_, other_random);
  one->use(other.credentials(start_, "ada"));
  EXPECT_EQ(one->enter(), 401);
}

TEST_F(TurnTest, RefusesCredentialsThatAreTooOldForANewAllocation) {
  auto one = client();
  one->pass(limits_.credentials + 1s);
  EXPECT_EQ(one->enter(), 401);
  EXPECT_EQ(server().allocations(), 0U);
}

TEST_F(TurnTest, AnAllocationGoesOnWithTheCredentialsThatBeganIt) {
  auto one = allocated();
  for (Duration passed{}; passed < limits_.credentials + 1h; passed += 9min) {
    one->pass(9min);
    ASSERT_TRUE(one->connection.handle_timeout(one->now()));
    const auto code = one->code(one->signed_request(refresh));
    if (code == 438) {
      ASSERT_EQ(one->code(one->signed_request(refresh)), 200);
    } else {
      ASSERT_EQ(code, 200);
    }
  }
  EXPECT_EQ(one->connection.allocated(), true);
}

TEST_F(TurnTest, RefusesAuthenticationWithoutUsernameRealmOrNonce) {
  auto one = challenged();
  for (auto field : {&Request::username, &Request::realm, &Request::nonce}) {
    Request request = one->signed_request(allocate);
    (request.*field).reset();
    EXPECT_EQ(one->code(request), 400);
  }
}

TEST_F(TurnTest, RefusesAnotherRealm) {
  auto one = challenged();
  Request request = one->signed_request(allocate);
  request.realm = "elsewhere";
  EXPECT_EQ(one->code(request), 401);
}

TEST_F(TurnTest, ANonceEnds) {
  auto one = allocated();
  const std::string before = one->nonce;
  for (int i = 0; i < 7; ++i) {
    one->pass(9min);
    const auto code = one->code(one->signed_request(refresh));
    if (code == 438) break;
    ASSERT_EQ(code, 200);
  }
  EXPECT_NE(one->nonce, before);
  EXPECT_EQ(one->code(one->signed_request(refresh)), 200);
}

TEST_F(TurnTest, RefusesANonceThatItDidNotMake) {
  auto one = challenged();
  one->nonce = "0123456789abcdef0123456789abcdef";
  EXPECT_EQ(one->code(one->signed_request(allocate)), 438);
  EXPECT_EQ(one->code(one->signed_request(allocate)), 200) << "with the nonce of the answer";
}

TEST_F(TurnTest, RefusesASecondAllocationOfAConnection) {
  auto one = allocated();
  EXPECT_EQ(one->code(one->signed_request(allocate)), 437);
  EXPECT_EQ(server().allocations(), 1U);
}

TEST_F(TurnTest, RefusesAnAllocationWithoutATransport) {
  auto one = challenged();
  Request request = one->signed_request(allocate);
  request.transport.reset();
  EXPECT_EQ(one->code(request), 400);
}

TEST_F(TurnTest, RefusesToRelayTcp) {
  auto one = challenged();
  Request request = one->signed_request(allocate);
  request.transport = 6;
  EXPECT_EQ(one->code(request), 442);
}

TEST_F(TurnTest, RefusesWhatItMustUnderstandAndDoesNot) {
  auto one = challenged();
  Request request = one->signed_request(allocate);
  request.further = 0x0033;
  EXPECT_EQ(one->code(request), 420);
}

TEST_F(TurnTest, TakesDontFragmentSinceNothingIsFragmented) {
  auto one = challenged();
  Request request = one->signed_request(allocate);
  request.further = dont_fragment;
  EXPECT_EQ(one->code(request), 200);
}

TEST_F(TurnTest, RefusesEvenPortsAndReservations) {
  auto one = challenged();
  Request request = one->signed_request(allocate);
  request.even_port = true;
  EXPECT_EQ(one->code(request), 508);
  request.token = true;
  EXPECT_EQ(one->code(request), 400) << "both at once";
  request.even_port = false;
  EXPECT_EQ(one->code(request), 508);
  request.family = 1;
  EXPECT_EQ(one->code(request), 400) << "a reservation has its family";
}

TEST_F(TurnTest, AllocatesInTheFamilyThatIsAskedFor) {
  auto one = challenged();
  Request request = one->signed_request(allocate);
  request.family = 3;
  EXPECT_EQ(one->code(request), 440) << "there is no such family";
  request.family = 2;
  const auto answer = one->ask(request);
  ASSERT_TRUE(answer && answer->relayed_address);
  EXPECT_EQ(answer->relayed_address->ip, media6.ip);
}

TEST_F(TurnTest, RefusesAFamilyInWhichItHasNoAddress) {
  own_ = {media};
  auto one = challenged();
  Request request = one->signed_request(allocate);
  request.family = 2;
  EXPECT_EQ(one->code(request), 440);
}

TEST_F(TurnTest, GivesIpv6ToWhoAsksForNothingWhereThereIsNoIpv4) {
  own_ = {media6};
  auto one = allocated();
  EXPECT_EQ(one->connection.relayed().ip, media6.ip);
}

TEST_F(TurnTest, BoundsTheAllocationsOfASession) {
  limits_.allocations_per_session = 2;
  const auto a = allocated(), b = allocated();
  EXPECT_EQ(client()->enter(), 486);
  EXPECT_EQ(client("bo")->enter(), 200);
  EXPECT_EQ(server().counters().refused_by_limit, 1U);
}

TEST_F(TurnTest, BoundsTheAllocationsOfAnAddress) {
  limits_.allocations_per_address = 2;
  const auto a = allocated("ada"), b = allocated("bo");
  EXPECT_EQ(client("cy")->enter(), 486);
  EXPECT_EQ(client("cy", stranger)->enter(), 200);
}

TEST_F(TurnTest, CountsASlash64AsOneAddress) {
  limits_.allocations_per_address = 1;
  const auto a = allocated("ada", *TransportAddress::parse("2001:db8:1:2::3", 1));
  EXPECT_EQ(client("bo", *TransportAddress::parse("2001:db8:1:2:9::4", 1))->enter(), 486);
  EXPECT_EQ(client("bo", *TransportAddress::parse("2001:db8:1:3::4", 1))->enter(), 200);
}

TEST_F(TurnTest, BoundsAllAllocations) {
  limits_.allocations = 1;
  const auto a = allocated("ada");
  EXPECT_EQ(client("bo", stranger)->enter(), 508);
}

TEST_F(TurnTest, BoundsLifetimes) {
  auto one = allocated();
  Request request = one->signed_request(refresh);
  for (const auto& [asked, granted] : {std::pair<std::uint32_t, std::uint32_t>{1, 600}, {777, 777}, {0xffffffff, 3600}}) {
    request.lifetime_seconds = asked;
    const auto answer = one->ask(request);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->lifetime_seconds, granted);
  }
}

TEST_F(TurnTest, AnAllocationThatIsNotRefreshedEnds) {
  auto one = allocated();
  one->pass(599s);
  EXPECT_TRUE(one->connection.handle_timeout(one->now()));
  one->pass(1s);
  const auto ended = one->connection.handle_timeout(one->now());
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error(), Error(turn_idle));
  EXPECT_EQ(server().allocations(), 0U);
  EXPECT_EQ(server().counters().ended_idle, 0U); // which counts those that never had one
}

TEST_F(TurnTest, ARefreshOfZeroEndsTheAllocation) {
  auto one = allocated();
  Request request = one->signed_request(refresh);
  request.lifetime_seconds = 0;
  const auto answer = one->ask(request);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->lifetime_seconds, 0U);
  EXPECT_EQ(server().allocations(), 0U);
  EXPECT_FALSE(one->connection.handle_timeout(one->now()));
  EXPECT_EQ(one->code(one->signed_request(allocate)), 437) << "the connection had its allocation";
}

TEST_F(TurnTest, AConnectionThatDoesNotAllocateEnds) {
  auto one = client();
  EXPECT_EQ(one->connection.next_deadline(), start_ + limits_.without_allocation);
  one->pass(limits_.without_allocation - 1ms);
  EXPECT_TRUE(one->connection.handle_timeout(one->now()));
  one->pass(1ms);
  EXPECT_FALSE(one->connection.handle_timeout(one->now()));
  EXPECT_EQ(server().counters().ended_idle, 1U);
}

TEST_F(TurnTest, RefusesRequestsForAnAllocationThatIsNotThere) {
  auto one = challenged();
  for (std::uint16_t method : {refresh, create_permission, channel_bind}) EXPECT_EQ(one->code(one->signed_request(method)), 437) << method;
}

TEST_F(TurnTest, RefusesAnotherUsersRequestsForAnAllocation) {
  auto one = allocated("ada");
  one->use(server().credentials(start_, "bo"));
  for (std::uint16_t method : {refresh, create_permission, channel_bind}) EXPECT_EQ(one->code(one->signed_request(method)), 441) << method;
}

TEST_F(TurnTest, RefusesARefreshInAnotherFamily) {
  auto one = allocated();
  Request request = one->signed_request(refresh);
  request.family = 2;
  EXPECT_EQ(one->code(request), 443);
  request.family = 1;
  EXPECT_EQ(one->code(request), 200);
}

TEST_F(TurnTest, IsNoRelayToAnybodyButOurselves) {
  auto one = allocated();
  Request request = one->signed_request(create_permission);
  request.peers = {stranger};
  EXPECT_EQ(one->code(request), 403);
  request.peers = {TransportAddress::v4({127, 0, 0, 1}, 8443)};
  EXPECT_EQ(one->code(request), 403);
  request.peers = {media, stranger};
  EXPECT_EQ(one->code(request), 403);
  request = one->signed_request(channel_bind);
  request.channel = 0x4000;
  request.peers = {stranger};
  EXPECT_EQ(one->code(request), 403);
  request.peers = {TransportAddress{media.ip, 22}};
  EXPECT_EQ(one->code(request), 403) << "another port of our address";
  EXPECT_EQ(server().counters().forbidden_peers, 5U);
  for (const TransportAddress& peer : {stranger, media}) { // a refused message permits none of its peers
    EXPECT_FALSE(one->put(test::write({.method = send, .message_class = stun::MessageClass::indication, .peers = {peer}, .data = Bytes{1, 2, 3}})));
  }
  EXPECT_EQ(server().counters().dropped, 2U);
}

TEST_F(TurnTest, SendsNothingToAnotherPortOfAPermittedAddress) {
  auto one = allocated();
  Request request = one->signed_request(create_permission);
  request.peers = {media};
  ASSERT_EQ(one->code(request), 200);
  EXPECT_FALSE(one->put(test::write({.method = send, .message_class = stun::MessageClass::indication, .peers = {TransportAddress{media.ip, 22}}, .data = Bytes{1}})));
}

TEST_F(TurnTest, RefusesPeersOfTheOtherFamily) {
  auto one = allocated();
  Request request = one->signed_request(create_permission);
  request.peers = {media6};
  EXPECT_EQ(one->code(request), 443);
  request.method = channel_bind;
  request.channel = 0x4000;
  EXPECT_EQ(one->code(request), 443);
}

TEST_F(TurnTest, RefusesAPermissionWithoutAPeer) {
  auto one = allocated();
  EXPECT_EQ(one->code(one->signed_request(create_permission)), 400);
}

TEST_F(TurnTest, RefusesChannelsThatAreNone) {
  auto one = allocated();
  Request request = one->signed_request(channel_bind);
  request.peers = {media};
  EXPECT_EQ(one->code(request), 400) << "no number";
  for (const int number : {0, 0x3fff, 0x5000, 0xffff}) {
    request.channel = static_cast<std::uint16_t>(number);
    EXPECT_EQ(one->code(request), 400) << number;
  }
  request.channel = 0x4000;
  request.peers.clear();
  EXPECT_EQ(one->code(request), 400) << "no peer";
}

TEST_F(TurnTest, RefusesToBindAChannelOrAPeerTwice) {
  auto one = allocated();
  Request request = one->signed_request(channel_bind);
  request.channel = 0x4000;
  request.peers = {media};
  EXPECT_EQ(one->code(request), 200);
  EXPECT_EQ(one->code(request), 200) << "the same again refreshes it";
  request.peers = {second_media};
  EXPECT_EQ(one->code(request), 400) << "the channel has another peer";
  request.channel = 0x4001;
  request.peers = {media};
  EXPECT_EQ(one->code(request), 400) << "the peer has another channel";
}

TEST_F(TurnTest, BoundsPermissionsAndChannels) {
  limits_.peers = 1;
  own_ = {media, second_media, TransportAddress::v4({192, 0, 2, 2}, 8443)};
  auto one = allocated();
  Request request = one->signed_request(channel_bind);
  request.channel = 0x4000;
  request.peers = {media};
  ASSERT_EQ(one->code(request), 200);
  request.channel = 0x4001;
  request.peers = {second_media};
  EXPECT_EQ(one->code(request), 508);
  request.method = create_permission;
  request.channel.reset();
  request.peers = {own_[2]};
  EXPECT_EQ(one->code(request), 508);
}

TEST_F(TurnTest, CarriesDatagramsInIndicationsBothWays) {
  auto one = allocated();
  Request permission = one->signed_request(create_permission);
  permission.peers = {media};
  ASSERT_EQ(one->code(permission), 200);
  const Bytes datagram(1200, 9);
  const auto event = one->put(test::write({.method = send, .message_class = stun::MessageClass::indication, .peers = {media}, .data = datagram}));
  ASSERT_TRUE(event && event->to_peer);
  EXPECT_EQ(event->to_peer->peer, media);
  EXPECT_EQ(to_bytes(event->to_peer->datagram), datagram);

  Bytes out(max_frame_size);
  const auto wrapped = one->connection.wrap(one->now(), media, datagram, out);
  ASSERT_TRUE(wrapped);
  const auto message = parse(*wrapped);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->message_class, stun::MessageClass::indication);
  EXPECT_EQ(message->method, turn::data);
  EXPECT_EQ(message->peers[0], media);
  EXPECT_EQ(to_bytes(*message->data), datagram);
}

TEST_F(TurnTest, CarriesDatagramsInAChannelBothWays) {
  auto one = allocated();
  Request request = one->signed_request(channel_bind);
  request.channel = 0x4abc;
  request.peers = {media};
  ASSERT_EQ(one->code(request), 200);
  const Bytes datagram = {0x80, 1, 2, 3, 4, 5};
  const auto event = one->put(channel_data(0x4abc, datagram));
  ASSERT_TRUE(event && event->to_peer);
  EXPECT_EQ(event->to_peer->peer, media);
  EXPECT_EQ(to_bytes(event->to_peer->datagram), datagram);
  Bytes out(max_frame_size);
  const auto wrapped = one->connection.wrap(one->now(), media, datagram, out);
  ASSERT_TRUE(wrapped);
  EXPECT_EQ(to_bytes(*wrapped), channel_data(0x4abc, datagram));
}

TEST_F(TurnTest, DropsWhatComesByAChannelThatIsNotBound) {
  auto one = allocated();
  EXPECT_FALSE(one->put(channel_data(0x4abc, Bytes{1, 2, 3, 4})));
  auto without = client();
  EXPECT_FALSE(without->put(channel_data(0x4abc, Bytes{1, 2, 3, 4})));
  EXPECT_EQ(server().counters().dropped, 2U);
}

TEST_F(TurnTest, PermissionsAndChannelsEnd) {
  auto one = allocated();
  Request bind = one->signed_request(channel_bind);
  bind.channel = 0x4000;
  bind.peers = {media};
  ASSERT_EQ(one->code(bind), 200);
  Bytes out(max_frame_size);
  one->pass(limits_.permission);
  EXPECT_FALSE(one->put(channel_data(0x4000, Bytes{1, 2, 3, 4}))) << "a channel's permission ends before it";
  EXPECT_FALSE(one->connection.wrap(one->now(), media, Bytes{1}, out));
  Request permission = one->signed_request(create_permission);
  permission.peers = {media};
  ASSERT_EQ(one->code(permission), 200);
  EXPECT_TRUE(one->put(channel_data(0x4000, Bytes{1, 2, 3, 4})));
  one->pass(limits_.channel - limits_.permission);
  ASSERT_EQ(one->code(permission), 200);
  EXPECT_FALSE(one->put(channel_data(0x4000, Bytes{1, 2, 3, 4})));
  const auto wrapped = one->connection.wrap(one->now(), media, Bytes{1}, out);
  ASSERT_TRUE(wrapped);
  EXPECT_TRUE(stun::looks_like_stun(*wrapped)) << "no channel any more";
}

TEST_F(TurnTest, WrapsNothingThatDoesNotFit) {
  auto one = allocated();
  Request permission = one->signed_request(create_permission);
  permission.peers = {media};
  ASSERT_EQ(one->code(permission), 200);
  Bytes out(max_frame_size + 100);
  EXPECT_FALSE(one->connection.wrap(one->now(), media, Bytes(max_frame_size), out));
  EXPECT_FALSE(one->connection.wrap(one->now(), media, Bytes(100), MutableByteView(out).first(99)));
}

TEST_F(TurnTest, AnIndicationWithoutAPeerDataOrAnAllocationIsDropped) {
  auto one = allocated();
  Request permission = one->signed_request(create_permission);
  permission.peers = {media};
  ASSERT_EQ(one->code(permission), 200);
  const auto indication = stun::MessageClass::indication;
  EXPECT_FALSE(one->put(test::write({.method = send, .message_class = indication, .data = Bytes{1}})));
  EXPECT_FALSE(one->put(test::write({.method = send, .message_class = indication, .peers = {media}})));
  EXPECT_FALSE(one->put(test::write({.method = send, .message_class = indication, .peers = {media}, .data = Bytes{1}, .further = 0x0033})));
  EXPECT_FALSE(client()->put(test::write({.method = send, .message_class = indication, .peers = {media}, .data = Bytes{1}})));
  EXPECT_EQ(server().counters().dropped, 4U);
}

TEST_F(TurnTest, AConnectionThatGuessesEnds) {
  auto one = client();
  one->key[0] ^= 1;
  std::size_t tries = 0;
  while (!one->ended && tries < 100) {
    one->code(one->signed_request(allocate));
    ++tries;
  }
  EXPECT_EQ(tries, limits_.failures + 1);
  EXPECT_EQ(server().counters().ended_strange, 1U);
}

TEST_F(TurnTest, StunMessagesThatAreNotTurnsGetNoAnswer) {
  auto one = client();
  EXPECT_FALSE(one->ask({.method = 1}));
  EXPECT_FALSE(one->ask({.method = allocate, .message_class = stun::MessageClass::success}));
  EXPECT_FALSE(one->ended);
}

TEST_F(TurnTest, AMalformedMessageEndsTheConnection) {
  auto one = client();
  Bytes message = test::write({.method = allocate, .transport = 17});
  message[message.size() - 1] ^= 1; // FINGERPRINT
  EXPECT_FALSE(one->put(message));
  EXPECT_TRUE(one->ended);
  EXPECT_EQ(server().counters().ended_strange, 1U);
}

TEST_F(TurnTest, NoAnswerToAStrangerIsMuchLongerThanTheQuestion) {
  auto one = client();
  const Bytes question = test::write({.method = allocate, .transport = 17});
  const auto event = one->put(question);
  ASSERT_TRUE(event && event->reply);
  EXPECT_LE(event->reply->bytes.size(), 2 * question.size() + 32);
}

TEST(TurnMessage, TheLongTermKeyIsMd5OfThePartsWithColons) {
  // Computed with another program: printf 'user:realm:pass' | md5sum
  EXPECT_EQ(to_hex(long_term_key("user", "realm", as_bytes("pass"))->view()), "8493fbc53ba582fb4c044c456bdc40eb");
}

TEST(TurnMessage, RefusesAttributesOfTheWrongSize) {
  for (const std::uint16_t type : {channel_number, lifetime, requested_address_family, requested_transport, even_port, reservation_token, xor_peer_address}) {
    EXPECT_FALSE(parse(test::write({.method = allocate, .further = type}))) << type;
  }
  Bytes out(256);
  SpanWriter writer(out);
  stun::write_header(writer, stun::MessageClass::request, allocate, {});
  stun::write_attribute(writer, dont_fragment, Bytes{1});
  EXPECT_FALSE(parse(*stun::seal(writer, std::nullopt, out)));
}

TEST(TurnMessage, RefusesTextsThatAreTooLong) {
  for (auto field : {&Request::username, &Request::realm, &Request::nonce}) {
    Request request;
    request.*field = std::string(max_text_size, 'x');
    EXPECT_TRUE(parse(test::write(request)));
    *(request.*field) += 'x';
    EXPECT_FALSE(parse(test::write(request)));
  }
}

TEST(TurnMessage, RefusesTooManyPeers) {
  Request request;
  request.peers.assign(max_peers_in_message, media);
  EXPECT_TRUE(parse(test::write(request)));
  request.peers.push_back(media);
  EXPECT_FALSE(parse(test::write(request)));
}

} // namespace
} // namespace satsuma::turn
