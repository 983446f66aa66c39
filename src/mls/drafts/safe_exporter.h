#pragma once

#include <map>

#include "mls/group/group.h"

namespace satsuma::mls::drafts {

inline constexpr ErrorCode mls_component_exported{"mls_component_exported", ErrorKind::caller};

using ComponentId = std::uint16_t;

/// The safe exporter, draft-ietf-mls-extensions s.4.4: one secret for each component in each epoch, forward secret as soon as it was exported. They are the
/// leaves of a tree of secrets with 2^16 places, whose root is one more secret of the epoch:
///
///   GroupParams params;                                            // and JoinParams, ExternalJoinParams, Group::load alike
///   params.limits.additions.further_secret = drafts::SafeExporter::label;
///   ...
///   auto exporter = drafts::SafeExporter::begin(group);            // after each merge
///   auto secret = exporter->export_secret(component);
class SafeExporter {
 public:
  static constexpr std::string_view label = "application_export";

  /// Takes the secret of the present epoch out of the group, so there is one exporter for each epoch: mls_further_secret_taken the second time, and where
  /// the group does not have `label`.
  static Result<SafeExporter> begin(Group& group);

  Epoch epoch() const { return epoch_; }
  /// KDF.Nh bytes, once: from then on it cannot be derived again, and the second time is mls_component_exported.
  Result<SecretBytes> export_secret(ComponentId component);

  /// With the secrets that are left: encrypt it where it is kept, and overwrite the state before. To be stored before what was exported is used.
  SecretBytes store() const;
  /// The errors of mls/tree/stored.h.
  static Result<SafeExporter> load(ByteView stored);

 private:
  /// A subtree of which nothing was exported yet: the components from first << level to ((first + 1) << level) - 1.
  struct Place {
    std::uint8_t level = 0;
    std::uint32_t first = 0;
    friend auto operator<=>(const Place&, const Place&) = default;
  };
  SafeExporter(const SuiteParameters& suite, Epoch epoch) : suite_(&suite), epoch_(epoch) {}

  const SuiteParameters* suite_;
  Epoch epoch_;
  std::map<Place, SecretBytes> secrets_; ///< at most one for each place on the ways to what was exported: 16 times their number
};

} // namespace satsuma::mls::drafts
