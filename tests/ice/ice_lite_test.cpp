#include "ice/ice_lite.h"

#include <gtest/gtest.h>

namespace satsuma::ice {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{};

class CountingSource final : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    for (std::uint8_t& byte : out) byte = next_++;
  }

 private:
  std::uint8_t next_ = 0;
};

NetworkPath path(std::uint8_t last, std::uint16_t port = 5000, std::uint32_t socket = 0) {
  return {TransportAddress::v4({192, 0, 2, last}, port), socket};
}

const Credentials local{"serv", "0123456789abcdefghijkl"};
const Credentials local_again{"othr", "lkjihgfedcba9876543210"};

struct Check {
  std::string username = "serv:peer";
  std::string password = local.password;
  std::uint32_t priority = 100;
  bool controlling = true;
  bool use_candidate = false;
  std::uint8_t transaction = 1;
};

Bytes write(const Check& check) {
  Bytes out(stun::max_written_size);
  stun::BindingRequest request{.transaction = {check.transaction},
                               .username = check.username,
                               .priority = check.priority,
                               .controlling = check.controlling,
                               .tie_breaker = 77,
                               .use_candidate = check.use_candidate};
  const auto written = stun::write_binding_request(request, as_bytes(check.password), out);
  EXPECT_TRUE(written);
  out.resize(written->size());
  return out;
}

struct Outputs {
  std::vector<std::pair<NetworkPath, Bytes>> sent;
  std::vector<NetworkPath> selected;
  int expired = 0;
};

Outputs drain(IceLite& agent) {
  Outputs outputs;
  while (auto output = agent.poll_output()) {
    if (const auto* send = std::get_if<IceLite::Send>(&*output)) {
      outputs.sent.emplace_back(send->path, to_bytes(send->datagram));
    } else if (const auto* selected = std::get_if<IceLite::Selected>(&*output)) {
      outputs.selected.push_back(selected->path);
    } else {
      ++outputs.expired;
    }
  }
  return outputs;
}

class IceLiteTest : public testing::Test {
 protected:
  IceLiteTest() { EXPECT_TRUE(agent.set_remote_ufrag("peer")); }
  Result<void> check(TimePoint now, const NetworkPath& from, const Check& c) { return agent.handle_stun(now, from, write(c)); }

  IceLite agent{local};
};

TEST(IceCredentials, AreLongEnoughAndOfTheCharactersOfIce) {
  CountingSource random;
  const Credentials a = Credentials::generate(random);
  const Credentials b = Credentials::generate(random);
  EXPECT_EQ(a.ufrag.size(), 8u);
  EXPECT_EQ(a.password.size(), 24u);
  EXPECT_NE(a.ufrag, b.ufrag);
  IceLite agent(a); // CHECKs them
  EXPECT_EQ(agent.local().ufrag, a.ufrag);
}

TEST_F(IceLiteTest, AnswersAnAuthenticatedCheckWithTheAddressItCameFrom) {
  ASSERT_TRUE(check(start, path(1), {.transaction = 42}));
  const Outputs outputs = drain(agent);
  ASSERT_EQ(outputs.sent.size(), 1u);
  EXPECT_EQ(outputs.sent[0].first, path(1));
  const auto message = stun::parse(outputs.sent[0].second);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->message_class, stun::MessageClass::success);
  EXPECT_EQ(message->transaction[0], 42);
  EXPECT_EQ(message->xor_mapped_address, path(1).remote);
  EXPECT_TRUE(stun::verify(*message, as_bytes(local.password)));
  EXPECT_TRUE(agent.validated(path(1)));
  EXPECT_FALSE(agent.selected());
  EXPECT_TRUE(outputs.selected.empty());
}

TEST_F(IceLiteTest, ValidatesOnlyTheVeryPathThatWasChecked) {
  ASSERT_TRUE(check(start, path(1, 5000, 0), {}));
  EXPECT_FALSE(agent.validated(path(1, 5001, 0)));
  EXPECT_FALSE(agent.validated(path(1, 5000, 1)));
  EXPECT_FALSE(agent.validated(path(2, 5000, 0)));
}

TEST_F(IceLiteTest, SelectsTheNominatedPair) {
  ASSERT_TRUE(check(start, path(1), {}));
  ASSERT_TRUE(check(start, path(2), {.use_candidate = true}));
  const Outputs outputs = drain(agent);
  EXPECT_EQ(outputs.sent.size(), 2u);
  ASSERT_EQ(outputs.selected.size(), 1u);
  EXPECT_EQ(outputs.selected[0], path(2));
  EXPECT_EQ(agent.selected(), path(2));
}

TEST_F(IceLiteTest, FollowsThePeerToAnotherPair) {
  ASSERT_TRUE(check(start, path(1), {.priority = 200, .use_candidate = true}));
  // Lower, and the first is still nominated: aggressive nomination does this.
  ASSERT_TRUE(check(start + 100ms, path(2), {.priority = 100, .use_candidate = true}));
  EXPECT_EQ(agent.selected(), path(1));
  // Higher wins at once.
  ASSERT_TRUE(check(start + 200ms, path(3), {.priority = 300, .use_candidate = true}));
  EXPECT_EQ(agent.selected(), path(3));
  drain(agent);
  // Lower, after the peer stopped to nominate the other.
  ASSERT_TRUE(check(start + 1300ms, path(2), {.priority = 100, .use_candidate = true}));
  EXPECT_EQ(agent.selected(), path(2));
  EXPECT_EQ(drain(agent).selected, std::vector{path(2)});
}

// Peers name a pair once, and only check it from then on.
TEST_F(IceLiteTest, FollowsAPeerWhoseAddressTranslatorForgotIt) {
  EXPECT_TRUE(check(start, path(1), {.priority = 100, .use_candidate = true}));
  drain(agent);
  EXPECT_TRUE(check(start + 1s, path(1, 6000), {.priority = 99})); // another pair of the peer's
  EXPECT_TRUE(check(start + 1s, path(1, 6001, 1), {.priority = 100})); // the same, to another of our candidates
  EXPECT_EQ(agent.selected(), path(1));
  EXPECT_TRUE(check(start + 2s, path(1, 6002), {.priority = 100}));
  EXPECT_EQ(agent.selected(), path(1, 6002));
  EXPECT_EQ(drain(agent).selected, std::vector{path(1, 6002)});

  // After a restart it is for the peer to name one.
  EXPECT_TRUE(agent.restart(local_again, "peer"));
  EXPECT_TRUE(check(start + 3s, path(1, 6003), {.username = "othr:peer", .password = local_again.password, .priority = 100}));
  EXPECT_EQ(agent.selected(), path(1, 6002));
}

TEST_F(IceLiteTest, WhenThePairIsGoneAnyOtherThatIsCheckedWillDo) {
  EXPECT_TRUE(check(start, path(1), {.priority = 50}));
  EXPECT_FALSE(agent.selected()); // nobody named one yet
  EXPECT_TRUE(check(start, path(1), {.priority = 50, .use_candidate = true}));
  drain(agent);
  agent.handle_path_closed(path(1));
  EXPECT_EQ(drain(agent).expired, 1);
  EXPECT_TRUE(check(start + 1s, path(2), {.priority = 60}));
  EXPECT_EQ(agent.selected(), path(2));
}

TEST_F(IceLiteTest, AnswersNothingBeforeItKnowsThePeer) {
  IceLite fresh(local);
  EXPECT_EQ(fresh.handle_stun(start, path(1), write({.use_candidate = true})).error(), Error(ice_no_remote_yet));
  EXPECT_FALSE(fresh.poll_output());
  EXPECT_FALSE(fresh.validated(path(1)));
}

TEST_F(IceLiteTest, DoesNotAnswerOrRememberWhatIsNotAuthentic) {
  EXPECT_EQ(check(start, path(1), {.password = "0123456789abcdefghijkX", .use_candidate = true}).error(), Error(stun::stun_unauthenticated));
  EXPECT_EQ(check(start, path(1), {.username = "serv:pee"}).error(), Error(ice_wrong_username));
  EXPECT_EQ(check(start, path(1), {.username = "serv:peer2"}).error(), Error(ice_wrong_username));
  EXPECT_EQ(check(start, path(1), {.username = "serv"}).error(), Error(ice_wrong_username));
  EXPECT_EQ(check(start, path(1), {.username = "peer:serv"}).error(), Error(ice_wrong_username));
  EXPECT_FALSE(agent.handle_stun(start, path(1), as_bytes("no STUN at all, but long enough to look at")));
  EXPECT_FALSE(agent.poll_output());
  EXPECT_FALSE(agent.validated(path(1)));
  EXPECT_FALSE(agent.next_deadline());
}

TEST_F(IceLiteTest, IgnoresResponsesSinceItNeverAsks) {
  Bytes out(stun::max_written_size);
  const auto response = stun::write_binding_success({1}, path(1).remote, as_bytes(local.password), out);
  EXPECT_EQ(agent.handle_stun(start, path(1), *response).error(), Error(ice_not_a_check));
  EXPECT_FALSE(agent.validated(path(1)));
}

TEST_F(IceLiteTest, TellsAPeerThatWantsToBeControlledToSwitch) {
  ASSERT_TRUE(check(start, path(1), {.controlling = false, .use_candidate = true}));
  const Outputs outputs = drain(agent);
  ASSERT_EQ(outputs.sent.size(), 1u);
  const auto message = stun::parse(outputs.sent[0].second);
  EXPECT_EQ(message->error_code, 487);
  EXPECT_FALSE(agent.selected());
  EXPECT_FALSE(agent.validated(path(1)));
}

TEST_F(IceLiteTest, ConsentEndsThirtySecondsAfterTheLastCheck) {
  ASSERT_TRUE(check(start, path(1), {.use_candidate = true}));
  ASSERT_TRUE(check(start + 20s, path(1), {}));
  drain(agent);
  EXPECT_EQ(agent.next_deadline(), start + 50s);
  agent.handle_timeout(start + 50s - 1us);
  EXPECT_EQ(agent.selected(), path(1));
  agent.handle_timeout(start + 50s);
  EXPECT_FALSE(agent.selected());
  EXPECT_FALSE(agent.validated(path(1)));
  EXPECT_EQ(drain(agent).expired, 1);
  EXPECT_FALSE(agent.next_deadline());
  // And returns with the checks.
  ASSERT_TRUE(check(start + 60s, path(1), {.use_candidate = true}));
  EXPECT_EQ(drain(agent).selected, std::vector{path(1)});
}

TEST_F(IceLiteTest, AnUnauthenticatedCheckDoesNotProlongConsent) {
  ASSERT_TRUE(check(start, path(1), {.use_candidate = true}));
  EXPECT_FALSE(check(start + 29s, path(1), {.password = "0123456789abcdefghijkX"}));
  agent.handle_timeout(start + 30s);
  EXPECT_FALSE(agent.selected());
}

TEST_F(IceLiteTest, RestartsWithNewCredentialsAndKeepsTheOldPairUntilThen) {
  ASSERT_TRUE(check(start, path(1), {.use_candidate = true}));
  ASSERT_TRUE(agent.restart(local_again, "newp"));
  drain(agent);
  // The peer does not know yet: its old checks keep the pair, but choose no other.
  ASSERT_TRUE(check(start + 1s, path(1), {}));
  ASSERT_TRUE(check(start + 2s, path(2), {.priority = 900, .use_candidate = true}));
  EXPECT_EQ(agent.selected(), path(1));
  // Crossed credentials are neither.
  EXPECT_FALSE(check(start + 2s, path(3), {.username = "othr:peer", .password = local_again.password}));
  EXPECT_FALSE(check(start + 2s, path(3), {.username = "serv:newp"}));
  // Now it does.
  ASSERT_TRUE(check(start + 3s, path(3), {.username = "othr:newp", .password = local_again.password, .use_candidate = true}));
  EXPECT_EQ(agent.selected(), path(3));
  EXPECT_EQ(check(start + 4s, path(1), {}).error(), Error(ice_wrong_username));
}

TEST_F(IceLiteTest, AnswersEachGenerationUnderItsOwnPassword) {
  ASSERT_TRUE(agent.restart(local_again, "newp"));
  ASSERT_TRUE(check(start, path(1), {}));
  ASSERT_TRUE(check(start, path(1), {.username = "othr:newp", .password = local_again.password}));
  const Outputs outputs = drain(agent);
  ASSERT_EQ(outputs.sent.size(), 2u);
  EXPECT_TRUE(stun::verify(*stun::parse(outputs.sent[0].second), as_bytes(local.password)));
  EXPECT_TRUE(stun::verify(*stun::parse(outputs.sent[1].second), as_bytes(local_again.password)));
}

TEST_F(IceLiteTest, RefusesCredentialsThatAreNone) {
  EXPECT_EQ(agent.set_remote_ufrag("abc").error(), Error(ice_bad_credentials));
  EXPECT_EQ(agent.set_remote_ufrag("ab:cd").error(), Error(ice_bad_credentials));
  EXPECT_EQ(agent.set_remote_ufrag(std::string(257, 'a')).error(), Error(ice_bad_credentials));
  EXPECT_EQ(agent.restart({"serv", "short"}, "peer").error(), Error(ice_bad_credentials));
  EXPECT_TRUE(check(start, path(1), {})); // the first are still good
}

TEST_F(IceLiteTest, RemembersABoundedNumberOfPairsAndNeverForgetsTheSelectedOne) {
  ASSERT_TRUE(check(start, path(1), {.use_candidate = true}));
  for (std::uint8_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(check(start + std::chrono::seconds(1) + std::chrono::milliseconds(i), path(2, static_cast<std::uint16_t>(6000 + i)), {.priority = 90}));
    drain(agent);
  }
  EXPECT_TRUE(agent.validated(path(1)));
  EXPECT_TRUE(agent.validated(path(2, 6099)));
  EXPECT_FALSE(agent.validated(path(2, 6000)));
}

TEST_F(IceLiteTest, DropsChecksWhenNobodyTakesItsAnswers) {
  for (std::size_t i = 0; i < max_pending_answers; ++i) EXPECT_TRUE(check(start, path(1), {}));
  EXPECT_EQ(check(start, path(2), {}).error(), Error(ice_output_full));
  EXPECT_FALSE(agent.validated(path(2)));
  EXPECT_EQ(drain(agent).sent.size(), max_pending_answers);
  EXPECT_TRUE(check(start, path(2), {}));
}

TEST(ReceiverUfrag, IsTheFirstPartOfTheUsername) {
  const Bytes bytes = write({.username = "serv:peer"});
  EXPECT_EQ(receiver_ufrag(bytes), "serv");
  EXPECT_FALSE(receiver_ufrag(write({.username = "nocolon"})));
  EXPECT_FALSE(receiver_ufrag({}));
}

} // namespace
} // namespace satsuma::ice
