#include "call/roster.h"

#include <algorithm>

namespace satsuma::call {

Result<Profile> verify_credential(const mls::Credential& credential, ByteView signature_key, const RoomKeys& keys) {
  if (credential.type != mls::credential_type::basic) return roster_credential_unknown;
  return keys.verify_identity(credential.identity, signature_key);
}

Result<Roster> Roster::verify(std::span<const mls::Member> members, const RoomKeys& keys, const Roster& known,
                              const std::map<IncarnationId, Profile>& proven) {
  Roster roster;
  for (const mls::Member& member : members) {
    const IncarnationId who = incarnation_of(member.signature_key);
    const RosterEntry* before = known.at_leaf(member.leaf.value);
    if (before != nullptr && before->who == who) {
      roster.entries_.push_back(*before);
      continue;
    }
    if (const auto found = proven.find(who); found != proven.end()) {
      roster.entries_.push_back({member.leaf.value, who, found->second});
      continue;
    }
    SATSUMA_TRY(Profile profile, verify_credential(member.credential, member.signature_key, keys));
    roster.entries_.push_back({member.leaf.value, who, std::move(profile)});
  }
  std::ranges::sort(roster.entries_, {}, &RosterEntry::leaf);
  return roster;
}

const RosterEntry* Roster::find(IncarnationId who) const {
  const auto found = std::ranges::find(entries_, who, &RosterEntry::who);
  return found == entries_.end() ? nullptr : &*found;
}

const RosterEntry* Roster::at_leaf(std::uint32_t leaf) const {
  const auto found = std::ranges::lower_bound(entries_, leaf, {}, &RosterEntry::leaf);
  return found == entries_.end() || found->leaf != leaf ? nullptr : &*found;
}

std::vector<Member> Roster::members() const {
  std::vector<Member> members;
  for (const RosterEntry& entry : entries_) members.push_back({entry.who, entry.leaf});
  return members;
}

std::vector<std::string> Roster::names_not_in(const Roster& other) const {
  std::vector<std::string> names;
  for (const RosterEntry& entry : entries_) {
    if (other.find(entry.who) == nullptr) names.push_back(entry.profile.name);
  }
  return names;
}

} // namespace satsuma::call
