#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "properties.h"
#include "world.h"

// Reads what a delivery service wrote down of its rooms (delivery/room_trace.h) and takes the same steps in the explorer's world. A trace is accepted if
// each line is a step that the world, and so the specification, can take there, with the same outcome: who commits what and when, what is accepted
// and what refused and why. The properties are checked after each line.
namespace satsuma::explore {
namespace {

struct Line {
  std::size_t number = 0;
  std::string text;
  std::vector<std::string> words;
};

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}
std::vector<std::string> names(const std::string& list) { return list == "-" ? std::vector<std::string>{} : split(list, ','); }

struct Refused {
  std::string why;
};
/// The room may be as specified, but it is beyond what can be followed here.
struct TooLarge {
  std::string why;
};

constexpr std::size_t most_courses = 256;

// Exit codes.
constexpr int refused_trace = 1;
constexpr int no_trace = 2;
constexpr int too_large = 3;

/// What may be going on in one room. The lines tell all but two things: whether somebody who was never let in had a proof of admission, and
/// whether a timer ran out for a client that was about to lose its connection. So there are several of them.
class Course {
 public:
  explicit Course(const Bounds& bounds) : world_(bounds) {}

  void join(Person who, bool admission) {
    if (!admission) without_admission_.add(who);
    world_.set_without_admission(without_admission_);
    take({Kind::enter, who, 0});
  }
  void gone(Person who) {
    closing_.erase(who);
    connected_.erase(who);
    if (world_.session(who).phase == Phase::waiting) take({Kind::crash, who, 0}); // whatever the cause: its connection is closed now
    take({Kind::notice, who, 0});
  }
  void decided(const std::string& kind) {
    if (expected_ != kind) throw Refused{"an entry that nobody sent"};
    answer();
  }
  void check_last(std::size_t index, Person who, const People* adds, const Set* removes) const {
    const Abstract abstract = world_.abstract();
    const Entry& last = abstract.log.back();
    if (abstract.log.count != index + 1) throw Refused{"not the next index"};
    if (last.who != who) throw Refused{"not from the one who sent it"};
    if (adds != nullptr && (!(*adds == last.adds) || !(*removes == last.removes))) {
      throw Refused{"the committer would have committed something else: " + to_text(Message{last.who, last.tries, last.state, last.adds, last.removes})};
    }
  }

  /// `ready` was sent. What may have happened before the connection was lost: one course for each.
  std::vector<Course> joined(Person who, std::uint64_t cursor) const {
    Course after = *this;
    const bool first = !connected_.contains(who) && !closing_.contains(who);
    after.connected_.insert(who);
    after.closing_.erase(who);
    if (first) return {after}; // the answer to its hello
    if (cursor <= world_.session(who).joined) {
      after.world_.begin_again(who);
      return {after};
    }
    std::vector<Course> all;
    after.lose(who, cursor, all);
    return all;
  }
  void closed(Person who) {
    if (who == asked_) expected_.clear(); // its store failed: nothing became of the message
    if (connected_.erase(who) != 0) closing_.insert(who);
  }
  void restarted() {
    for (const Person who : connected_) closing_.insert(who);
    connected_.clear();
    expected_.clear();
  }
  void goodbye(Person who) { take({Kind::crash, who, 0}); }

  void ack(Person who, std::uint64_t cursor) {
    if (!expected_.empty()) throw Refused{"the service should have said: " + expected_};
    const auto made = made_at_.find(who);
    if (!world_.uplink(who).empty() && made != made_at_.end() && cursor > made->second) {
      throw Refused{"it went on without sending what it had to: " + to_text(world_.uplink(who).items[0])};
    }
    while (reads(who) && world_.session(who).cursor < cursor) take({Kind::read, who, 0});
    if (!reads(who)) throw Refused{"it can have read no further"};
  }

  void message(Person who, bool genesis, std::uint64_t era, std::uint64_t epoch, const People& adds) {
    if (world_.uplink(who).empty()) { // nothing that had to be sent at once: a timer has run out
      if (world_.can({Kind::timeout, who, 0})) {
        take({Kind::timeout, who, 0});
      } else if (world_.can({Kind::refresh, who, 0})) {
        take({Kind::refresh, who, 0});
      }
    }
    if (world_.uplink(who).empty()) throw Refused{"nothing was to be sent"};
    const Message& message = world_.uplink(who).items[0];
    const std::uint64_t message_era = message.parent.era == 0 ? 0u : message.parent.era - 1u;
    if (message.is_genesis() != genesis || (!genesis && (message.parent.epoch() != epoch || message_era != era || !(message.adds == adds)))) {
      throw Refused{"something else was to be sent: " + to_text(message)};
    }
    const auto outcome = world_.propose(message);
    expected_ = !outcome ? "rejected " + std::to_string(static_cast<int>(outcome.error())) : genesis ? "genesis" : "commit";
    asked_ = who;
  }
  void rejected(const std::string& reason) {
    if (expected_ != "rejected " + reason) throw Refused{"the service should have said: " + expected_};
    answer();
  }
  std::size_t steps() const { return steps_; }

 private:
  void answer() {
    expected_.clear();
    take({Kind::deliver, asked_, 0});
  }
  bool reads(Person who) const { return world_.session(who).phase == Phase::waiting; }
  void lose(Person who, std::uint64_t cursor, std::vector<Course>& all) const {
    if (all.size() >= most_courses || !reads(who)) return;
    if (world_.can({Kind::timeout, who, 0})) {
      Course late = *this;
      late.take({Kind::timeout, who, 0});
      late.lose(who, cursor, all);
    }
    Course next = *this;
    if (world_.session(who).cursor < cursor) {
      next.take({Kind::read, who, 0});
      return next.lose(who, cursor, all);
    }
    next.take({Kind::disconnect, who, 0});
    next.take({Kind::reconnect, who, 0});
    all.push_back(std::move(next));
  }
  void take(const Action& action) {
    if (!world_.can(action)) throw Refused{"not possible now: " + to_text(action)};
    const std::size_t before = world_.uplink(action.who).count;
    world_.take(action);
    ++steps_;
    if (world_.uplink(action.who).count > before || (action.kind == Kind::reconnect && !world_.uplink(action.who).empty())) {
      made_at_[action.who] = world_.session(action.who).cursor;
    }
    if (const char* what = violated(world_.abstract(), false)) throw Refused{std::string(what) + " is violated"};
  }

  World world_;
  Set without_admission_;
  std::set<Person> connected_;
  std::set<Person> closing_;                ///< the connection is lost; what it did before that is not known yet
  std::map<Person, std::uint64_t> made_at_; ///< the cursor at which the newest message was made
  std::string expected_;                    ///< what the service says next
  Person asked_ = 0;                        ///< to whom
  std::size_t steps_ = 0;
};

/// One room, from its first entry to when it is forgotten.
class Room {
 public:
  /// `admitted`: who is ever added, or founds a group, had a proof of admission.
  explicit Room(std::set<std::string> admitted) : admitted_(std::move(admitted)) {
    bounds_.people = most_people;
    bounds_.budget = 255;
    bounds_.keeps_hopeless = true;
    courses_.emplace_back(bounds_);
  }

  void entry(const std::vector<std::string>& words) {
    const std::size_t index = std::stoul(words[2]);
    const std::string& kind = words[3];
    if (kind == "join") {
      const auto who = static_cast<Person>(people_.size() + 1);
      if (who > most_people) throw TooLarge{"more people than can be followed"};
      people_.emplace(words[4], who);
      if (admitted_.contains(words[4])) {
        each([&](Course& course) { course.join(who, true); });
      } else {
        std::vector<Course> all = courses_;
        for (Course& course : all) course.join(who, true);
        each([&](Course& course) { course.join(who, false); });
        courses_.insert(courses_.end(), all.begin(), all.end());
      }
      if (courses_.size() > most_courses) throw TooLarge{"more possibilities than can be followed"};
    } else if (kind == "gone") {
      each([&](Course& course) { course.gone(person(words[4])); });
    } else {
      each([&](Course& course) { course.decided(kind); });
    }
    const People adds = kind == "commit" ? people(words[7]) : People{};
    Set removes;
    if (kind == "commit") removes = set_of(people(words[8]));
    each([&](Course& course) { course.check_last(index, person(words[4]), kind == "commit" ? &adds : nullptr, &removes); });
  }
  void joined(const std::string& name, std::uint64_t cursor) {
    std::vector<Course> all;
    for (const Course& course : courses_) {
      for (Course& one : course.joined(person(name), cursor)) all.push_back(std::move(one));
    }
    if (all.empty()) throw Refused{"it cannot have come so far"};
    courses_ = std::move(all);
  }
  /// Those in which it is possible are left.
  template <class Step>
  void each(Step step) {
    std::vector<Course> left;
    std::optional<Refused> refused;
    for (Course& course : courses_) {
      try {
        step(course);
        left.push_back(std::move(course));
      } catch (const Refused& reason) {
        if (!refused) refused = reason;
      }
    }
    if (left.empty()) throw *refused;
    courses_ = std::move(left);
  }
  Person person(const std::string& name) const {
    const auto found = people_.find(name);
    if (found == people_.end()) throw Refused{"nobody by this name has entered"};
    return found->second;
  }
  People people(const std::string& list) const {
    People all;
    for (const std::string& name : names(list)) all.push(person(name));
    return all;
  }
  std::size_t steps() const { return courses_.front().steps(); }

 private:
  std::set<std::string> admitted_;
  Bounds bounds_;
  std::vector<Course> courses_;
  std::map<std::string, Person> people_;
};

int run(const char* path) {
  std::ifstream file(path);
  std::vector<Line> lines;
  for (std::string text; std::getline(file, text);) {
    lines.push_back({lines.size() + 1, text, split(text, ' ')});
  }
  if (lines.empty() || lines.front().text != "start") {
    std::fprintf(stderr, "%s: error: not a trace\n", path);
    return no_trace;
  }
  std::set<std::string> admitted;
  for (const Line& line : lines) {
    if (line.words[0] != "entry") continue;
    if (line.words[3] == "genesis") admitted.insert(line.words[4]);
    if (line.words[3] == "commit") {
      for (const std::string& name : names(line.words[7])) admitted.insert(name);
    }
  }
  for (const Line& line : lines) {
    if (line.words[0] != "commit") continue;
    for (const std::string& name : names(line.words[4])) admitted.insert(name);
  }

  std::map<std::string, Room> rooms;
  std::map<std::string, std::pair<std::string, std::string>> connections; // id: room, name
  std::size_t steps = 0, entries = 0;
  for (const Line& line : lines) {
    const auto& words = line.words;
    try {
      if (words[0] == "start") {
        for (auto& [name, room] : rooms) room.each([](Course& course) { course.restarted(); });
        connections.clear();
        continue;
      }
      if (words[0] == "entry") {
        ++entries;
        if (words[2] == "0") {
          if (const auto found = rooms.find(words[1]); found != rooms.end()) {
            steps += found->second.steps();
            rooms.erase(found);
          }
          rooms.emplace(words[1], Room(admitted));
        }
        rooms.at(words[1]).entry(words);
        continue;
      }
      if (words[0] == "joined") {
        connections[words[1]] = {words[2], words[3]};
        rooms.at(words[2]).joined(words[3], std::stoull(words[4]));
        continue;
      }
      if (!connections.contains(words[1])) throw Refused{"a connection that was never ready"};
      const auto& [room_name, name] = connections.at(words[1]);
      Room& room = rooms.at(room_name);
      const Person who = room.person(name);
      if (words[0] == "ack") {
        room.each([&](Course& course) { course.ack(who, std::stoull(words[2])); });
      } else if (words[0] == "commit") {
        const People adds = room.people(words[4]);
        room.each([&](Course& course) { course.message(who, false, std::stoull(words[2]), std::stoull(words[3]), adds); });
      } else if (words[0] == "genesis") {
        room.each([&](Course& course) { course.message(who, true, 0, 0, {}); });
      } else if (words[0] == "goodbye") {
        room.each([&](Course& course) { course.goodbye(who); });
      } else if (words[0] == "rejected") {
        room.each([&](Course& course) { course.rejected(words[2]); });
      } else if (words[0] == "closed") {
        room.each([&](Course& course) { course.closed(who); });
        connections.erase(words[1]);
      } else {
        throw Refused{"an unknown line"};
      }
    } catch (const Refused& refused) {
      std::fprintf(stderr, "%s:%zu: error: %s\n  %s\n", path, line.number, refused.why.c_str(), line.text.c_str());
      return refused_trace;
    } catch (const TooLarge& large) {
      std::printf("%s:%zu: left out: %s\n", path, line.number, large.why.c_str());
      return too_large;
    }
  }
  for (const auto& [name, room] : rooms) steps += room.steps();
  std::printf("%s: accepted, %zu lines, %zu entries, %zu steps, %zu rooms\n", path, lines.size(), entries, steps, rooms.size());
  return entries > 0 ? 0 : refused_trace;
}

} // namespace
} // namespace satsuma::explore

int main(int count, char** arguments) {
  if (count != 2) {
    std::fputs("usage: satsuma_replay TRACE\n", stderr);
    return satsuma::explore::no_trace;
  }
  return satsuma::explore::run(arguments[1]);
}
