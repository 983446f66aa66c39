#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "signaling/delivery_messages.h"

namespace satsuma::delivery {

inline constexpr ErrorCode gate_wrong_suite{"gate_wrong_suite", ErrorKind::peer};

/// What an MLS commit does to the roster.
struct CommitEffect {
  IncarnationId committer;
  struct Added {
    IncarnationId who;
    Bytes key_package; ///< the MLSMessage, as the joiner sent it if it is the same
  };
  std::vector<Added> added;
  std::vector<IncarnationId> removed;
  /// How much of the log its maker had read, from the authenticated data. None from a gate that does not follow it.
  std::optional<signaling::LogPrefix> seen{};
};

/// What the sequencer must know of MLS: the public side of one room's group. `check_*` verifies and sets the successor
/// aside without changing the present state; then `accept` makes it the present one, or `discard` drops it. An explorer
/// puts a symbolic MLS here, the server MlsGroupGate.
class GroupGate {
 public:
  virtual ~GroupGate() = default;

  /// Whose key package this is; the error says why it is not a valid one. gate_wrong_suite: the present group has another cipher suite.
  virtual Result<IncarnationId> identify(ByteView key_package) const = 0;
  /// A new group of one, in epoch 0: returns its founder.
  virtual Result<IncarnationId> check_genesis(ByteView group_info) = 0;
  /// A commit made in `epoch` of the present group, and the welcome for whom it adds.
  virtual Result<CommitEffect> check_commit(std::uint64_t epoch, ByteView commit, ByteView welcome) = 0;
  virtual void accept() = 0;
  virtual void discard() = 0;

  /// The successor that was set aside, for the store; restore() takes it. After check_* only.
  virtual Bytes successor_state() const = 0;
  virtual Result<void> restore(ByteView state) = 0;
  /// The ratchet tree of the successor (RFC 9420 s.12.4.3.3), for those whom it adds; nothing where members get it in another way.
  virtual Bytes successor_tree() const { return {}; }
};

class GroupGateFactory {
 public:
  virtual ~GroupGateFactory() = default;
  virtual std::unique_ptr<GroupGate> create() = 0;
};

} // namespace satsuma::delivery
