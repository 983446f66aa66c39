#include "call/roster.h"

#include <algorithm>

namespace satsuma::call {

Result<OpenedIdentity> open_credential(const mls::Credential& credential, ByteView signature_key, const RoomKeys& keys) {
  if (credential.type != mls::credential_type::basic) return roster_credential_unknown;
  return keys.open_identity(credential.identity, signature_key);
}

Result<Roster> Roster::read(std::span<const mls::Member> members, const RoomKeys& keys, const Roster& known,
                            const std::map<IncarnationId, OpenedIdentity>& opened) {
  Roster roster;
  for (const mls::Member& member : members) {
    const IncarnationId who = incarnation_of(member.signature_key);
    const std::uint32_t leaf = member.leaf.value;
    const RosterEntry* before = known.at_leaf(leaf);
    if (before != nullptr && before->who == who) {
      roster.entries_.push_back(*before);
      if (const auto still = known.pending_.find(who); still != known.pending_.end()) roster.pending_.insert(*still);
      continue;
    }
    const auto found = opened.find(who);
    Result<OpenedIdentity> identity = found != opened.end() ? found->second : open_credential(member.credential, member.signature_key, keys);
    if (!identity) return identity.error();
    roster.entries_.push_back({leaf, who, identity->profile});
    if (identity->profile.proof == DeviceProof::pending) roster.pending_.emplace(who, Pending{leaf, member.signature_key, std::move(*identity)});
  }
  std::ranges::sort(roster.entries_, {}, &RosterEntry::leaf);
  return roster;
}

std::vector<RosterEntry> Roster::check_devices(const RoomKeys& keys, std::size_t at_most) {
  std::vector<RosterEntry> checked;
  while (!pending_.empty() && checked.size() < at_most) {
    Pending& next = pending_.begin()->second;
    keys.check_device(next.opened, next.signature_key);
    const auto entry = std::ranges::lower_bound(entries_, next.leaf, {}, &RosterEntry::leaf);
    entry->profile = std::move(next.opened.profile);
    checked.push_back(*entry);
    pending_.erase(pending_.begin());
  }
  return checked;
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
    const RosterEntry* there = other.at_leaf(entry.leaf);
    if ((there == nullptr || there->who != entry.who) && other.find(entry.who) == nullptr) names.push_back(entry.profile.name);
  }
  return names;
}

} // namespace satsuma::call
