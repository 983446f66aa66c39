#pragma once

#include <optional>

#include "delivery/group_gate.h"
#include "mls/tree/public_group.h"

namespace satsuma::delivery {

inline constexpr ErrorCode gate_genesis_invalid{"gate_genesis_invalid", ErrorKind::peer};
inline constexpr ErrorCode gate_commit_forbidden{"gate_commit_forbidden", ErrorKind::peer};
inline constexpr ErrorCode gate_welcome_invalid{"gate_welcome_invalid", ErrorKind::peer};

/// First 16 bytes of SHA-256 over an MLS signature public key.
IncarnationId incarnation_of(ByteView signature_key);

/// The gate with RFC 9420 behind it: follows the public tree without any secret. What only members can check is left to
/// them: the membership tag, the confirmation tag, the path's ciphertexts, the identity inside the credential.
class MlsGroupGate final : public GroupGate {
 public:
  Result<IncarnationId> identify(ByteView key_package) const override;
  Result<IncarnationId> check_genesis(ByteView group_info) override;
  Result<CommitEffect> check_commit(std::uint64_t epoch, ByteView commit, ByteView welcome) override;
  void accept() override;
  void discard() override { successor_.reset(); }
  Bytes successor_state() const override;
  Result<void> restore(ByteView state) override;
  Bytes successor_tree() const override;

 private:
  std::optional<mls::PublicGroup> group_;
  std::optional<mls::PublicGroup> successor_;
};

class MlsGroupGateFactory final : public GroupGateFactory {
 public:
  std::unique_ptr<GroupGate> create() override { return std::make_unique<MlsGroupGate>(); }
};

} // namespace satsuma::delivery
