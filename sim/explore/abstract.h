#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace satsuma::explore {

/// The room in the terms of the specification (spec/Committer.tla, VARIABLES): plain values of bounded size, for hashing, for comparing and for the
/// properties. Incarnations are 1 to most_people; 0 is nobody.
#ifdef SATSUMA_REPLAY // one long way rather than many short ones
inline constexpr std::size_t most_people = 31;
inline constexpr std::size_t most_entries = 250;
inline constexpr std::size_t most_links = 120;
inline constexpr std::size_t most_messages = 8;
#else
inline constexpr std::size_t most_people = 6;
inline constexpr std::size_t most_entries = 32;
inline constexpr std::size_t most_links = 16;
inline constexpr std::size_t most_messages = 4;
#endif
using Person = std::uint8_t;

/// A vector without an allocation. Unused places stay zero, so that values compare as bytes.
template <class T, std::size_t capacity>
struct Few {
  std::uint8_t count = 0;
  std::array<T, capacity> items{};

  void push(const T& item) {
    SATSUMA_CHECK(count < capacity);
    items[count++] = item;
  }
  void pop_front() {
    SATSUMA_CHECK(count > 0);
    for (std::size_t i = 1; i < count; ++i) items[i - 1] = items[i];
    items[--count] = T{};
  }
  bool has(const T& item) const {
    for (std::size_t i = 0; i < count; ++i) {
      if (items[i] == item) return true;
    }
    return false;
  }
  void erase(const T& item) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!(items[i] == item)) items[kept++] = items[i];
    }
    for (std::size_t i = kept; i < count; ++i) items[i] = T{};
    count = static_cast<std::uint8_t>(kept);
  }
  const T* begin() const { return items.data(); }
  const T* end() const { return items.data() + count; }
  const T& back() const { return items[count - 1u]; }
  bool empty() const { return count == 0; }
  friend bool operator==(const Few&, const Few&) = default;
};
using People = Few<Person, most_people>;

/// A set of people, a bit each.
struct Set {
  std::array<std::uint8_t, most_people / 8 + 1> bits{};
  bool has(Person who) const { return (bits[who / 8] >> who % 8 & 1) != 0; }
  void add(Person who) { bits[who / 8] = static_cast<std::uint8_t>(bits[who / 8] | 1u << who % 8); }
  bool empty() const { return *this == Set{}; }
  bool within(Set other) const {
    for (std::size_t i = 0; i < bits.size(); ++i) {
      if ((bits[i] & ~other.bits[i]) != 0) return false;
    }
    return true;
  }
  friend bool operator==(const Set&, const Set&) = default;
};
template <class List>
Set set_of(const List& list) {
  Set set;
  for (const Person who : list) {
    if (who != 0) set.add(who);
  }
  return set;
}

/// Who made a commit, and with which of its fresh secrets.
struct Link {
  Person who = 0;
  std::uint8_t tries = 0;
  friend bool operator==(const Link&, const Link&) = default;
};
/// An MLS state, named by its history.
struct State {
  std::uint8_t era = 0;
  Few<Link, most_links> history;
  People tree; ///< leaf by leaf, 0 where it is blank
  std::size_t epoch() const { return history.count - 1u; }
  friend bool operator==(const State&, const State&) = default;
};
struct Message {
  Person who = 0;
  std::uint8_t tries = 0;
  State parent; ///< without a history: a genesis
  People adds;
  Set removes;
  bool is_genesis() const { return parent.history.empty(); }
  State result(std::uint8_t index) const;
  friend bool operator==(const Message&, const Message&) = default;
};

enum class EntryKind : std::uint8_t { join, gone, genesis, commit };
struct Entry {
  EntryKind kind{};
  Person who = 0;
  std::uint8_t tries = 0;
  People adds;
  Set removes;
  State state; ///< that it leads to
  friend bool operator==(const Entry&, const Entry&) = default;
};

enum class Phase : std::uint8_t { none, waiting, member, out, dead, wedged, broken };
struct Client {
  Phase phase{};
  bool online = false;
  std::uint8_t cursor = 0;
  State held;
  Set live;
  Set gone;
  People waiting;
  Message attempt;
  std::uint8_t made = 0;
  std::uint8_t refusals = 0;
  bool refresh = false;
  bool runs() const { return phase == Phase::waiting || phase == Phase::member; }
  friend bool operator==(const Client&, const Client&) = default;
};

struct Abstract {
  std::uint8_t people = 0; ///< N
  State start;             ///< before the log; a constant of the exploration
  Few<Entry, most_entries> log;
  State state; ///< room.state
  Set members;
  Set gone;
  People waiting;
  std::array<Client, most_people + 1> client; ///< from 1
  std::array<Few<Message, most_messages>, most_people + 1> uplink;
  std::uint8_t entered = 0;
  std::uint8_t faults = 0;
  Set without_admission; ///< they may wait for ever
};

/// As the checker of the specification prints it, on one line.
std::string to_text(const Abstract& state);
std::string to_text(const Message& message);

struct Hash {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend bool operator==(const Hash&, const Hash&) = default;
};
/// 128 bits: two of a billion states collide with a probability of 10^-21.
Hash hash_of(const Abstract& state);

} // namespace satsuma::explore
