#pragma once

#include "mls/group/key_package_bundle.h"
#include "mls/wire/message.h"

/// Proposals of who is not in the group, RFC 9420 s.12.1.8: always PublicMessages.
namespace satsuma::mls {

struct ExternalProposalParams {
  CipherSuite suite{};
  GroupId group_id;
  Epoch epoch = 0;
  Bytes authenticated_data;
};

/// Of the sender at `sender_index` of the group's external_senders extension, as an MLSMessage. mls_proposal_not_for_sender for Update and ExternalInit.
Result<Bytes> external_proposal(const ExternalProposalParams& params, std::uint32_t sender_index, ByteView signature_private_key, Proposal proposal);

/// The wish of who has made `self` to be added with it (sender new_member_proposal).
Result<Bytes> new_member_proposal(const ExternalProposalParams& params, const KeyPackageBundle& self);

} // namespace satsuma::mls
