#pragma once

#include "base/time.h"
#include "mls/wire/number_list.h"
#include "mls/wire/suite.h"
#include "mls/wire/types.h"

namespace satsuma::mls {

/// RFC 9420 s.5.3.
struct Credential {
  std::uint16_t type = credential_type::basic;
  Bytes identity;                  ///< basic
  std::vector<Bytes> certificates; ///< x509, DER, the leaf's first

  static Credential basic(ByteView identity) { return {credential_type::basic, to_bytes(identity), {}}; }
  static Result<Credential> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const Credential&, const Credential&) = default;
};

/// RFC 9420 s.7.2. Numbers as they came, GREASE included.
struct Capabilities {
  NumberList versions;
  NumberList cipher_suites;
  NumberList extensions;
  NumberList proposals;
  NumberList credentials;

  /// What this library supports, without GREASE.
  static Capabilities ours();
  static Result<Capabilities> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const Capabilities&, const Capabilities&) = default;
};

struct Lifetime {
  UnixSeconds not_before = 0;
  UnixSeconds not_after = 0;

  bool contains(UnixSeconds now) const { return not_before <= now && now <= not_after; }
  friend bool operator==(const Lifetime&, const Lifetime&) = default;
};

enum class LeafNodeSource : std::uint8_t { key_package = 1, update = 2, commit = 3 };

/// RFC 9420 s.7.2.
struct LeafNode {
  Bytes encryption_key;
  Bytes signature_key;
  Credential credential;
  Capabilities capabilities;
  LeafNodeSource source = LeafNodeSource::key_package;
  Lifetime lifetime;  ///< source key_package
  Bytes parent_hash;  ///< source commit
  Extensions extensions;
  Bytes signature;

  static Result<LeafNode> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  /// LeafNodeTBS; the group and the index take part for the sources update and commit.
  Bytes to_be_signed(ByteView group_id, LeafIndex index) const;
  /// Fills in `signature`.
  Result<void> sign(const SuiteParameters& suite, ByteView private_key, ByteView group_id, LeafIndex index);
  Result<void> verify_signature(const SuiteParameters& suite, ByteView group_id, LeafIndex index) const;
  friend bool operator==(const LeafNode&, const LeafNode&) = default;
};

/// Adds the types of extensions beyond the RFC's own to the capabilities, where they are missing (s.7.2).
void list_extensions(Capabilities& capabilities, const Extensions& extensions);
/// The same for all that a leaf itself uses: extensions and credential.
void list_what_is_used(LeafNode& leaf);

/// RFC 9420 s.7.1.
struct ParentNode {
  Bytes encryption_key;
  Bytes parent_hash;
  std::vector<LeafIndex> unmerged_leaves; ///< rising

  static Result<ParentNode> parse(ByteReader& reader);
  void write(ByteWriter& writer) const;
  friend bool operator==(const ParentNode&, const ParentNode&) = default;
};

Result<LeafIndex> read_leaf_index(ByteReader& reader);
Result<NumberList> read_numbers(ByteReader& reader);
void write_numbers(ByteWriter& writer, const NumberList& values);

} // namespace satsuma::mls
