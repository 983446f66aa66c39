#pragma once

#include <span>
#include <variant>

#include "mls/wire/key_package.h"

namespace satsuma::mls {

inline constexpr ErrorCode mls_proposal_unknown{"mls_proposal_unknown", ErrorKind::peer};

enum class ResumptionUsage : std::uint8_t { application = 1, reinit = 2, branch = 3 };

/// RFC 9420 s.8.4.
struct PreSharedKeyId {
  enum class Type : std::uint8_t { external = 1, resumption = 2 };
  Type type = Type::external;
  Bytes external_id;                                     ///< external
  ResumptionUsage usage = ResumptionUsage::application;  ///< resumption
  GroupId group_id;                                      ///< resumption
  Epoch epoch = 0;                                       ///< resumption
  Bytes nonce;

  static Result<PreSharedKeyId> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const PreSharedKeyId&, const PreSharedKeyId&) = default;
};

/// RFC 9420 s.12.1.
struct Add {
  KeyPackage key_package;
  friend bool operator==(const Add&, const Add&) = default;
};
struct Update {
  LeafNode leaf_node;
  friend bool operator==(const Update&, const Update&) = default;
};
struct Remove {
  LeafIndex removed;
  friend bool operator==(const Remove&, const Remove&) = default;
};
struct PreSharedKey {
  PreSharedKeyId id;
  friend bool operator==(const PreSharedKey&, const PreSharedKey&) = default;
};
struct ReInit {
  GroupId group_id;
  std::uint16_t version = protocol_version_mls10;
  CipherSuite cipher_suite{};
  Extensions extensions;
  friend bool operator==(const ReInit&, const ReInit&) = default;
};
struct ExternalInit {
  Bytes kem_output;
  friend bool operator==(const ExternalInit&, const ExternalInit&) = default;
};
struct GroupContextExtensions {
  Extensions extensions;
  friend bool operator==(const GroupContextExtensions&, const GroupContextExtensions&) = default;
};

/// Of a type beyond the RFC's, which the caller defined.
struct FurtherProposal {
  std::uint16_t type = 0;
  Bytes body;
  friend bool operator==(const FurtherProposal&, const FurtherProposal&) = default;
};

/// A proposal type beyond the RFC's, as a draft or an application defines it: a row of s.17.4's table, where it may stand, and what it does. All members of
/// a group must know the same ones; who does not list a type in its capabilities keeps it out of the group (s.12.2).
struct FurtherProposalType {
  std::uint16_t type;
  /// Reads the body, which on the wire does not say how long it is. Null: it is empty.
  Result<void> (*skip_body)(ByteReader& reader) = nullptr;
  bool path_required = false;
  bool by_value = false;           ///< in a commit; else by reference only
  bool in_private_message = false; ///< may be sent as one
  bool in_external_commit = false; ///< by reference
  bool removes_sender = false;     ///< and has the effects of a Remove of it
};
/// Not owned: a table that outlives the groups that use it.
using FurtherProposalTypes = std::span<const FurtherProposalType>;
const FurtherProposalType* find_type(FurtherProposalTypes types, std::uint16_t type);

/// A proposal type that is not known here cannot be skipped on the wire (it has no length): mls_proposal_unknown.
struct Proposal {
  std::variant<Add, Update, Remove, PreSharedKey, ReInit, ExternalInit, GroupContextExtensions, FurtherProposal> value;

  std::uint16_t type() const {
    const auto* further = as<FurtherProposal>();
    return further != nullptr ? further->type : static_cast<std::uint16_t>(value.index() + 1);
  }
  template <class T>
  const T* as() const { return std::get_if<T>(&value); }

  static Result<Proposal> parse(ByteReader& reader, FurtherProposalTypes further = {});
  void write(ByteWriter& writer) const;
  friend bool operator==(const Proposal&, const Proposal&) = default;
};

/// HPKECiphertext, RFC 9420 s.7.6.
struct HpkeCiphertext {
  Bytes kem_output;
  Bytes ciphertext;

  static Result<HpkeCiphertext> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const HpkeCiphertext&, const HpkeCiphertext&) = default;
};

struct UpdatePathNode {
  Bytes encryption_key;
  std::vector<HpkeCiphertext> encrypted_path_secret;

  static Result<UpdatePathNode> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const UpdatePathNode&, const UpdatePathNode&) = default;
};

struct UpdatePath {
  LeafNode leaf_node;
  std::vector<UpdatePathNode> nodes;

  static Result<UpdatePath> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const UpdatePath&, const UpdatePath&) = default;
};

/// RFC 9420 s.12.4.
struct ProposalOrRef {
  struct Reference {
    Bytes hash;
    friend bool operator==(const Reference&, const Reference&) = default;
  };
  std::variant<Proposal, Reference> value;

  static Result<ProposalOrRef> parse(ByteReader& reader, FurtherProposalTypes further = {});
  void write(ByteWriter& writer) const;
  friend bool operator==(const ProposalOrRef&, const ProposalOrRef&) = default;
};

struct Commit {
  std::vector<ProposalOrRef> proposals;
  std::optional<UpdatePath> path;

  static Result<Commit> parse(ByteReader& reader, FurtherProposalTypes further = {});
  void write(ByteWriter& writer) const;
  friend bool operator==(const Commit&, const Commit&) = default;
};

} // namespace satsuma::mls
