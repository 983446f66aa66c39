#pragma once

#include <map>
#include <span>
#include <vector>

#include "call/committer.h"
#include "call/identity.h"
#include "mls/tree/public_group.h"

namespace satsuma::call {

inline constexpr ErrorCode roster_credential_unknown{"roster_credential_unknown", ErrorKind::peer};

struct RosterEntry {
  std::uint32_t leaf = 0;
  IncarnationId who;
  Profile profile;
  friend bool operator==(const RosterEntry&, const RosterEntry&) = default;
};

/// Who is in the group: read from the MLS tree, never from the server, and each of them has proven to hold the room secret. Which device
/// somebody is may be checked later, since among hundreds it costs the most and nothing but what is shown hangs on it.
class Roster {
 public:
  Roster() = default;
  /// Opens the identity of every member; the first one that does not open fails the whole. Those that `known` has under the same
  /// incarnation and leaf were opened before and, since an incarnation's key and credential never change, need not be again.
  /// The same holds for those in `opened`, by incarnation.
  static Result<Roster> read(std::span<const mls::Member> members, const RoomKeys& keys, const Roster& known,
                             const std::map<IncarnationId, OpenedIdentity>& opened = {});

  /// How many devices are still to be checked.
  std::size_t pending() const { return pending_.size(); }
  /// Checks that many of them. Returns their entries as they are now.
  std::vector<RosterEntry> check_devices(const RoomKeys& keys, std::size_t at_most);

  const std::vector<RosterEntry>& entries() const { return entries_; } ///< by leaf
  const RosterEntry* find(IncarnationId who) const;
  const RosterEntry* at_leaf(std::uint32_t leaf) const;
  std::vector<Member> members() const;
  /// Names of those in this roster who are not in `other`.
  std::vector<std::string> names_not_in(const Roster& other) const;
  friend bool operator==(const Roster&, const Roster&) = default;

 private:
  struct Pending {
    std::uint32_t leaf = 0;
    Bytes signature_key;
    OpenedIdentity opened;
    friend bool operator==(const Pending&, const Pending&) = default;
  };
  std::vector<RosterEntry> entries_;
  std::map<IncarnationId, Pending> pending_;
};

/// The identity in a credential, opened; roster_credential_unknown unless it is a basic one (RFC 9420 s.5.3).
Result<OpenedIdentity> open_credential(const mls::Credential& credential, ByteView signature_key, const RoomKeys& keys);

} // namespace satsuma::call
