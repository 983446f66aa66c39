#include "call/event_json.h"
#include "sim/world.h"

namespace satsuma::sim {

namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

std::string short_name(const IncarnationId& who) { return who.hex().substr(0, 8); }
std::string number(std::uint64_t value) { return std::to_string(value); }
std::string sized(ByteView bytes) { return number(bytes.size()) + " bytes"; }

} // namespace

std::string describe(const signaling::ClientMessage& message) {
  return std::visit(Overloaded{
                        [](const signaling::Hello& hello) { return "hello, cursor " + number(hello.cursor); },
                        [](const signaling::Ack& ack) { return "ack " + number(ack.cursor); },
                        [](const signaling::Genesis&) { return std::string("genesis"); },
                        [](const signaling::Commit& commit) {
                          return "commit era " + number(commit.era) + " epoch " + number(commit.epoch) + ", " + sized(commit.commit) + ", welcome " +
                                 sized(commit.welcome);
                        },
                        [](const signaling::Application& application) { return "application, " + sized(application.message); },
                        [](const signaling::Goodbye&) { return std::string("goodbye"); },
                        [](const signaling::Report& report) { return "report of " + number(report.index); },
                    },
                    message);
}

std::string describe(const signaling::ServerMessage& message) {
  const auto entry = Overloaded{
      [](const signaling::JoinEntry& join) { return "join " + short_name(join.who); },
      [](const signaling::GoneEntry& gone) { return "gone " + short_name(gone.who) + " cause " + number(static_cast<std::uint64_t>(gone.cause)); },
      [](const signaling::GenesisEntry& genesis) { return "genesis by " + short_name(genesis.who); },
      [](const signaling::CommitEntry& commit) {
        return "commit by " + short_name(commit.who) + " era " + number(commit.era) + " epoch " + number(commit.epoch) + ", welcome " + sized(commit.welcome);
      },
  };
  return std::visit(Overloaded{
                        [](const signaling::Ready& ready) { return std::string(ready.resumed ? "ready, resumed" : "ready") + ", head " + number(ready.head); },
                        [&](const signaling::Entry& one) { return number(one.index) + ": " + std::visit(entry, one.body); },
                        [](const signaling::Rejected& rejected) {
                          return "rejected era " + number(rejected.era) + " epoch " + number(rejected.epoch) + " reason " +
                                 number(static_cast<std::uint64_t>(rejected.reason));
                        },
                        [](const signaling::Relayed& relayed) { return "message of " + short_name(relayed.sender); },
                        [](const signaling::ErrorMessage& error) { return "error " + number(static_cast<std::uint64_t>(error.code)) + ": " + error.text; },
                        [](const signaling::Present& present) { return short_name(present.who) + (present.connected ? " is connected" : " is not connected"); },
                        [](const signaling::WaitingPart& part) { return number(part.waiting.size()) + " who wait"; },
                        [](const signaling::TreePart& tree) { return "tree for " + number(tree.index) + ", " + sized(tree.part) + " of " + number(tree.size); },
                    },
                    message);
}

std::string describe(const call::SessionOutput& output) {
  if (const auto* again = std::get_if<call::Reconnect>(&output)) return "reconnect in " + number(static_cast<std::uint64_t>(again->delay.count())) + " us";
  if (std::holds_alternative<call::Close>(output)) return "close";
  if (const auto* epoch = std::get_if<call::EpochEvent>(&output)) {
    return "era " + number(epoch->era) + " epoch " + number(epoch->epoch) + " leaf " + number(epoch->self) + " of " + number(epoch->roster.size()) +
           ", number " + epoch->safety_number.digits;
  }
  return call::event_json(output);
}

} // namespace satsuma::sim
