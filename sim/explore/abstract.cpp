#include "abstract.h"

#include <vector>

namespace satsuma::explore {

State Message::result(std::uint8_t index) const {
  State state;
  if (is_genesis()) {
    state.era = index;
    state.history.push({who, tries});
    state.tree.push(who);
    return state;
  }
  state = parent;
  state.history.push({who, tries});
  for (std::size_t leaf = 0; leaf < state.tree.count; ++leaf) {
    if (removes.has(state.tree.items[leaf])) state.tree.items[leaf] = 0;
  }
  while (!state.tree.empty() && state.tree.back() == 0) --state.tree.count;
  for (const Person added : adds) { // RFC 9420 s.12.1.1: the leftmost blank leaf
    std::size_t leaf = 0;
    while (leaf < state.tree.count && state.tree.items[leaf] != 0) ++leaf;
    if (leaf == state.tree.count) {
      state.tree.push(added);
    } else {
      state.tree.items[leaf] = added;
    }
  }
  return state;
}

// --- text ----------------------------------------------------------------------------------------------------

namespace {

using std::to_string;

template <class List, class Print>
std::string sequence(const List& list, Print print) {
  std::string text = "<<";
  bool first = true;
  for (const auto& item : list) {
    if (!first) text += ", ";
    first = false;
    text += print(item);
  }
  return text + ">>";
}
std::string number(std::uint8_t value) { return to_string(static_cast<unsigned>(value)); }
std::string people(const People& list) { return sequence(list, number); }
std::string set(Set set) {
  std::string text = "{";
  for (Person who = 1; who <= most_people; ++who) {
    if (!set.has(who)) continue;
    if (text.size() > 1) text += ", ";
    text += number(who);
  }
  return text + "}";
}
std::string state(const State& state) {
  return "[era |-> " + number(state.era) + ", history |-> " +
         sequence(state.history, [](const Link& link) { return "<<" + number(link.who) + ", " + number(link.tries) + ">>"; }) +
         ", tree |-> " + people(state.tree) + "]";
}
std::string boolean(bool value) { return value ? "true" : "false"; }

std::string entry(const Entry& entry) {
  static constexpr const char* names[] = {"join", "gone", "genesis", "commit"};
  return "[adds |-> " + people(entry.adds) + ", removes |-> " + set(entry.removes) + ", state |-> " + state(entry.state) + ", t |-> \"" +
         names[static_cast<std::size_t>(entry.kind)] + "\", try |-> " + number(entry.tries) + ", who |-> " + number(entry.who) + "]";
}

std::string client(const Client& client) {
  static constexpr const char* names[] = {"none", "waiting", "member", "out", "dead", "wedged", "broken"};
  return "[attempt |-> " + to_text(client.attempt) + ", cursor |-> " + number(client.cursor) + ", first |-> {}, gone |-> " + set(client.gone) +
         ", held |-> " + state(client.held) + ", live |-> " + set(client.live) + ", made |-> " + number(client.made) + ", online |-> " +
         boolean(client.online) + ", phase |-> \"" + names[static_cast<std::size_t>(client.phase)] + "\", refresh |-> " +
         boolean(client.refresh) + ", refusals |-> " + number(client.refusals) + ", waiting |-> " + people(client.waiting) + "]";
}

} // namespace

std::string to_text(const Message& message) {
  return "[adds |-> " + people(message.adds) + ", parent |-> " + state(message.parent) + ", removes |-> " + set(message.removes) +
         ", try |-> " + number(message.tries) + ", who |-> " + number(message.who) + "]";
}

std::string to_text(const Abstract& abstract) {
  std::string text = "log=" + sequence(abstract.log, entry) + " room=[gone |-> " + set(abstract.gone) + ", members |-> " + set(abstract.members) +
                     ", state |-> " + state(abstract.state) + ", waiting |-> " + people(abstract.waiting) + "] client=<<";
  for (Person who = 1; who <= abstract.people; ++who) text += (who > 1 ? ", " : "") + client(abstract.client[who]);
  text += ">> uplink=<<";
  for (Person who = 1; who <= abstract.people; ++who) {
    text += (who > 1 ? ", " : "") + sequence(abstract.uplink[who], [](const Message& message) { return to_text(message); });
  }
  return text + ">> entered=" + number(abstract.entered) + " faults=" + number(abstract.faults);
}

// --- hash ----------------------------------------------------------------------------------------------------

namespace {

/// What distinguishes states, as bytes. Lists say their length first, so that no two states have the same bytes.
class Encoder {
 public:
  Encoder() { bytes_.reserve(512); }
  void put(std::uint8_t byte) { bytes_.push_back(byte); }
  void put(const People& list) {
    put(list.count);
    bytes_.insert(bytes_.end(), list.begin(), list.end());
  }
  void put(Set set) { bytes_.insert(bytes_.end(), set.bits.begin(), set.bits.end()); }
  void put(const State& state) {
    put(state.era);
    put(state.history.count);
    for (const Link& link : state.history) {
      put(link.who);
      put(link.tries);
    }
    put(state.tree);
  }
  void put(const Message& message) {
    put(message.who);
    if (message.who == 0) return;
    put(message.tries);
    put(message.parent);
    put(message.adds);
    put(message.removes);
  }
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }
  void clear() { bytes_.clear(); }

 private:
  std::vector<std::uint8_t> bytes_;
};

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

} // namespace

Hash hash_of(const Abstract& abstract) {
  static thread_local Encoder encoder;
  encoder.clear();
  encoder.put(abstract.log.count);
  for (const Entry& entry : abstract.log) {
    encoder.put(static_cast<std::uint8_t>(entry.kind));
    encoder.put(entry.who);
    if (entry.kind == EntryKind::join || entry.kind == EntryKind::gone) continue;
    encoder.put(entry.tries);
    encoder.put(entry.adds);
    encoder.put(entry.removes);
    encoder.put(entry.state);
  }
  // The room follows from the log.
  for (Person who = 1; who <= abstract.people; ++who) {
    const Client& client = abstract.client[who];
    encoder.put(static_cast<std::uint8_t>(client.phase));
    if (client.runs()) {
      encoder.put(client.online);
      encoder.put(client.cursor);
      encoder.put(client.held);
      encoder.put(client.live);
      encoder.put(client.gone);
      encoder.put(client.waiting);
      encoder.put(client.attempt);
      encoder.put(client.made);
      encoder.put(client.refusals);
      encoder.put(client.refresh);
    }
    encoder.put(abstract.uplink[who].count);
    for (const Message& message : abstract.uplink[who]) encoder.put(message);
  }
  encoder.put(abstract.entered);
  encoder.put(abstract.faults);

  const auto& bytes = encoder.bytes();
  Hash hash{0x9e3779b97f4a7c15ULL ^ bytes.size(), 0xc2b2ae3d27d4eb4fULL};
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < 8 && at + i < bytes.size(); ++i) word |= static_cast<std::uint64_t>(bytes[at + i]) << (8 * i);
    hash.high = mix(hash.high ^ word, 0xa0761d6478bd642fULL);
    hash.low = mix(hash.low ^ word ^ hash.high, 0xe7037ed1a0b428dbULL);
  }
  hash.high = mix(hash.high, hash.low ^ 0x8ebc6af09c88c6e3ULL);
  return hash;
}

} // namespace satsuma::explore
