#pragma once

#include <optional>

#include "mls/tree/commit_rules.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_credential_rejected{"mls_credential_rejected", ErrorKind::peer};
inline constexpr ErrorCode mls_credential_unverified{"mls_credential_unverified", ErrorKind::peer};
inline constexpr ErrorCode mls_lifetime_too_long{"mls_lifetime_too_long", ErrorKind::peer};

/// The application's side of RFC 9420 s.5.3.1, its authentication service: who is who.
/// All inline, so that callers who compile with RTTI may derive from it.
class CredentialVerifier {
 public:
  virtual ~CredentialVerifier() = default;
  /// Whether `signature_key` is the one of whom `credential` names; mls_credential_rejected or an error of the caller's own.
  virtual Result<void> verify(const Credential& credential, ByteView signature_key) const = 0;
  /// Whether a leaf with `after` may take the place of one with `before`: updates, commits and resynchronisation (s.5.3.1, s.12.2).
  virtual Result<void> verify_successor(const Credential& before, const Credential& after) const {
    if (!same_client(before, after)) return mls_credential_rejected;
    return {};
  }
  /// Whether both name the same client: for a successor of a group (s.11.2, s.11.3).
  virtual bool same_client(const Credential& a, const Credential& b) const { return a == b; }
};

/// What an application asks of leaves beyond RFC 9420's own rules.
struct LeafPolicy {
  /// Not owned. Without one, a basic credential is taken as it stands (the caller looks at the effects), may not change in its
  /// place, and any other kind is mls_credential_unverified.
  const CredentialVerifier* verifier = nullptr;
  /// With it, leaves from key packages are mls_lifetime_over outside of their lifetime (s.7.3).
  std::optional<UnixSeconds> now;
  /// Longer lifetimes are mls_lifetime_too_long (s.7.2).
  UnixSeconds max_lifetime = ~UnixSeconds{0};

  Result<void> check_leaf(const LeafNode& leaf) const;
  /// Of everyone in a tree that we are about to join. Lifetimes are looked at too.
  Result<void> check_tree(const RatchetTree& tree) const;
  /// Of those whom a commit adds, changes or lets in, and of the external senders that it names. `next`: the tree after it.
  Result<void> check_commit(const CommitEffects& effects, const RatchetTree& next, const Extensions& next_extensions) const;
  Result<void> check_external_senders(const Extensions& group_extensions) const;
  bool same_client(const Credential& a, const Credential& b) const;

 private:
  Result<void> check_credential(const Credential& credential, ByteView signature_key) const;
  Result<void> check_successor(const Credential& before, const Credential& after) const;
};

} // namespace satsuma::mls
