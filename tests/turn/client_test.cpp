#include "turn/client.h"

#include <gtest/gtest.h>

#include "../base/seeded_random.h"
#include "stun/attributes.h"
#include "turn/server.h"

namespace satsuma::turn {
namespace {

using namespace std::chrono_literals;

const TransportAddress media = TransportAddress::v4({192, 0, 2, 1}, 8443);
const TransportAddress media6 = *TransportAddress::parse("2001:db8::1", 8443);
const TransportAddress from = TransportAddress::v4({198, 51, 100, 7}, 40000);

/// A client and our own server, and a stream between them that comes in pieces.
class TurnClientTest : public testing::Test {
 protected:
  SeededRandom random_{11};
  Limits limits_;
  TimePoint now_{1h};
  std::optional<Server> server_;
  std::optional<ServerConnection> theirs_;
  std::optional<ClientConnection> client_;
  std::size_t piece_ = 7;
  std::vector<Bytes> at_peer_; ///< what our media was sent
  std::optional<Error> client_ended_, server_ended_;
  std::size_t requests_ = 0;

  void start(const TransportAddress& peer = media, std::optional<Credentials> credentials = std::nullopt) {
    server_.emplace(std::vector{media, media6}, random_, limits_);
    theirs_.emplace(now_, *server_, from);
    client_.emplace(now_, credentials ? std::move(*credentials) : server_->credentials(now_, "ada"), peer, random_);
    pump();
  }
  /// Until neither has anything to say.
  void pump() {
    while (const auto request = client_->poll_output()) {
      ++requests_;
      to_server(*request);
    }
  }
  void to_server(ByteView bytes) {
    for (std::size_t at = 0; at < bytes.size() && !server_ended_; at += piece_) {
      Bytes part = to_bytes(bytes.subspan(at, std::min(piece_, bytes.size() - at)));
      MutableByteView rest = part;
      while (true) {
        const auto event = theirs_->next(now_, rest);
        if (!event) server_ended_ = event.error();
        if (!event || !*event) break;
        if ((*event)->to_peer) at_peer_.push_back(to_bytes((*event)->to_peer->datagram));
        if ((*event)->reply) to_client(to_bytes((*event)->reply->bytes));
      }
    }
  }
  std::vector<Bytes> to_client(Bytes bytes) {
    std::vector<Bytes> got;
    for (std::size_t at = 0; at < bytes.size() && !client_ended_; at += piece_) {
      Bytes part = to_bytes(ByteView(bytes).subspan(at, std::min(piece_, bytes.size() - at)));
      MutableByteView rest = part;
      while (true) {
        const auto datagram = client_->next(now_, rest);
        if (!datagram) client_ended_ = datagram.error();
        if (!datagram || !*datagram) break;
        got.push_back(to_bytes(**datagram));
      }
    }
    return got;
  }
  /// To its next deadline.
  void wait() {
    now_ = client_->next_deadline();
    if (const auto done = client_->handle_timeout(now_); !done) client_ended_ = done.error();
    pump();
  }
  bool both_ways() {
    std::array<std::uint8_t, max_frame_size> out;
    const Bytes up = {1, 2, 3, 4, 5};
    const auto sent = client_->wrap(up, out);
    if (!sent) return false;
    at_peer_.clear();
    to_server(*sent);
    const Bytes down = {9, 8, 7};
    const auto answer = theirs_->wrap(now_, client_peer_, down, out);
    return at_peer_ == std::vector<Bytes>{up} && answer && to_client(to_bytes(*answer)) == std::vector<Bytes>{down};
  }
  TransportAddress client_peer_ = media;
};

TEST_F(TurnClientTest, ThroughAServerDatagramsGoBothWays) {
  start();
  EXPECT_FALSE(client_ended_);
  EXPECT_TRUE(client_->ready());
  EXPECT_EQ(requests_, 3U); // Allocate twice, ChannelBind
  EXPECT_TRUE(theirs_->allocated() && theirs_->relayed().is_v4());
  EXPECT_TRUE(both_ways());
}

TEST_F(TurnClientTest, ForAPeerWithAnIpv6AddressOneOfThatFamilyIsAllocated) {
  client_peer_ = media6;
  start(media6);
  ASSERT_TRUE(client_->ready());
  EXPECT_FALSE(theirs_->relayed().is_v4());
  EXPECT_TRUE(both_ways());
}

TEST_F(TurnClientTest, NothingIsSentBeforeTheChannelStands) {
  server_.emplace(std::vector{media}, random_, limits_);
  client_.emplace(now_, server_->credentials(now_, "ada"), media, random_);
  std::array<std::uint8_t, max_frame_size> out;
  EXPECT_FALSE(client_->wrap(Bytes{1}, out));
}

TEST_F(TurnClientTest, AllocationChannelAndNonceAreKeptFreshForADay) {
  start();
  ASSERT_TRUE(client_->ready());
  for (const TimePoint end = now_ + 24h; now_ < end && !client_ended_;) {
    wait();
    ASSERT_TRUE(theirs_->handle_timeout(now_));
    ASSERT_TRUE(both_ways()) << now_.time_since_epoch() / 1min;
  }
  EXPECT_FALSE(client_ended_ || server_ended_);
}

TEST_F(TurnClientTest, WrongCredentialsAreTriedOnce) {
  start(media, Credentials{"9999999999:ada", SecretBytes::copy_of(as_bytes("guess"))});
  EXPECT_EQ(client_ended_, Error(turn_refused));
  EXPECT_EQ(client_->refused_with(), 401);
  EXPECT_EQ(requests_, 2U);
}

TEST_F(TurnClientTest, APeerThatTheServerDoesNotRelayToIsAnError) {
  start(TransportAddress::v4({203, 0, 113, 9}, 53));
  EXPECT_EQ(client_ended_, Error(turn_refused));
  EXPECT_EQ(client_->refused_with(), 403);
}

TEST_F(TurnClientTest, AServerThatSaysNothingIsGivenUp) {
  server_.emplace(std::vector{media}, random_, limits_);
  client_.emplace(now_, server_->credentials(now_, "ada"), media, random_);
  ASSERT_TRUE(client_->poll_output());
  EXPECT_TRUE(client_->handle_timeout(now_ + ClientConnection::answer_timeout - 1ms));
  EXPECT_EQ(client_->next_deadline(), now_ + ClientConnection::answer_timeout);
  const auto over = client_->handle_timeout(now_ + ClientConnection::answer_timeout);
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error(), Error(turn_no_answer));
}

TEST_F(TurnClientTest, ASuccessThatIsNotSignedUnderTheCredentialsIsRefused) {
  server_.emplace(std::vector{media}, random_, limits_);
  client_.emplace(now_, server_->credentials(now_, "ada"), media, random_);
  const auto request = client_->poll_output();
  ASSERT_TRUE(request);
  const auto asked = parse(*request);
  ASSERT_TRUE(asked);
  Bytes answer(stun::max_written_size);
  SpanWriter writer(answer);
  stun::write_header(writer, stun::MessageClass::success, allocate, asked->transaction);
  stun::write_number(writer, lifetime, 600);
  answer.resize(stun::seal(writer, std::nullopt, answer)->size());
  to_client(answer);
  EXPECT_EQ(client_ended_, Error(turn_unauthenticated));
}

TEST_F(TurnClientTest, ANonceThatIsAlwaysStaleDoesNotMakeALoop) {
  start();
  ASSERT_TRUE(client_->ready());
  now_ = client_->next_deadline();
  ASSERT_TRUE(client_->handle_timeout(now_));
  for (int i = 0; i < 10 && !client_ended_; ++i) {
    const auto request = client_->poll_output();
    ASSERT_TRUE(request);
    const auto asked = parse(*request);
    ASSERT_TRUE(asked);
    Bytes answer(stun::max_written_size);
    SpanWriter writer(answer);
    stun::write_header(writer, stun::MessageClass::error, asked->method, asked->transaction);
    stun::write_error_code(writer, 438, "Stale Nonce");
    stun::write_attribute(writer, stun::nonce, as_bytes("another"));
    answer.resize(stun::seal(writer, std::nullopt, answer)->size());
    to_client(answer);
    EXPECT_EQ(client_ended_.has_value(), i == 1);
  }
  EXPECT_EQ(client_ended_, Error(turn_refused));
}

TEST_F(TurnClientTest, AnswersToWhatWasNotAskedAndOtherChannelsAreNotHeeded) {
  start();
  ASSERT_TRUE(client_->ready());
  std::array<std::uint8_t, 64> out;
  EXPECT_TRUE(to_client(to_bytes(*write_channel_data(min_channel + 1, Bytes{1}, out))).empty());
  Bytes answer(stun::max_written_size);
  SpanWriter writer(answer);
  stun::write_header(writer, stun::MessageClass::error, channel_bind, {});
  stun::write_error_code(writer, 437, "Allocation Mismatch");
  answer.resize(stun::seal(writer, std::nullopt, answer)->size());
  to_client(answer);
  now_ = client_->next_deadline();
  ASSERT_TRUE(client_->handle_timeout(now_)); // a request is under way, of another transaction
  to_client(answer);
  EXPECT_FALSE(client_ended_);
  EXPECT_TRUE(both_ways());
}

TEST_F(TurnClientTest, AStreamThatIsNoTurnEndsIt) {
  start();
  to_client(to_bytes(as_bytes("HTTP/1.1 400 Bad Request\r\n\r\n")));
  EXPECT_EQ(client_ended_, Error(turn_bad_framing));
}

} // namespace
} // namespace satsuma::turn
