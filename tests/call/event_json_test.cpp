#include "call/event_json.h"

#include <gtest/gtest.h>

namespace satsuma::call {
namespace {

TEST(EventJson, WritesAnEpochAsTheReadmeSays) {
  EpochEvent event;
  event.era = 4;
  event.epoch = 3;
  event.self = 1;
  event.roster = {{0, {}, {{}, "Ada", DeviceProof::proven}}, {1, {}, {{}, "Bo", DeviceProof::pending}}};
  event.safety_number = {"12345 67890", Bytes{0xab}};
  event.kind = ChangeKind::changed;
  event.joined = {"Bo"};
  event.committer = 0;
  const std::string zeros(32, '0');
  const std::string device(64, '0');
  EXPECT_EQ(event_json(event),
            R"({"type":"epoch","era":4,"epoch":3,"self":1,"roster":[{"leaf":0,"incarnation":")" + zeros + R"(","name":"Ada","device":")" + device +
                R"(","proof":"proven","self":false},{"leaf":1,"incarnation":")" + zeros + R"(","name":"Bo","device":"","proof":"pending","self":true}],"safety_number":"12345 67890","authenticator":"ab","previous":null,"reason":{"kind":"changed","joined":["Bo"],"left":[]},"committer":0,"designated":null})");
}

TEST(EventJson, GivesTheKeyOfADeviceThatProvedItAndOfNoOther) {
  DevicesEvent event;
  event.checked = {{0, {}, {{}, "Ada", DeviceProof::proven}}, {1, {}, {{}, "Bo", DeviceProof::refuted}}};
  const std::string who = R"({"incarnation":")" + std::string(32, '0');
  EXPECT_EQ(event_json(event), R"({"type":"devices","checked":[)" + who + R"(","device":")" + std::string(64, '0') + R"(","proof":"proven"},)" + who +
                                   R"(","device":"","proof":"refuted"}]})");
}

TEST(EventJson, EscapesWhatOthersWrote) {
  EXPECT_EQ(event_json(ErrorEvent{3, "a\"b\\c\n\x7f\xff" "é", false}),
            R"({"type":"error","code":3,"text":"a\"b\\c\u000a\u007f\ufffdé","fatal":false})");
}

TEST(EventJson, IsEmptyForWhatIsNoEvent) {
  EXPECT_EQ(event_json(SendBinary{{1}}), "");
  EXPECT_EQ(event_json(Reconnect{}), "");
  EXPECT_EQ(event_json(KeysEvent{}), R"({"type":"keys","sending":null})");
}

} // namespace
} // namespace satsuma::call
