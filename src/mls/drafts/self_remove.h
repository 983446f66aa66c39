#pragma once

#include <array>

#include "mls/group/group.h"

/// SelfRemove, draft-ietf-mls-extensions s.6.3: a member leaves, and whoever commits next takes it out, also one who joins by an external commit. For that
/// it is sent as a PublicMessage, and stands in commits by reference alone.
///
///   GroupParams params;                                            // and JoinParams, ExternalJoinParams, Group::load alike
///   params.limits.additions.proposals = drafts::proposal_types;
///   KeyPackageParams mine;
///   mine.capabilities = drafts::with_self_remove(Capabilities::ours());
///
/// Messages are decoded with the types: MLSMessage::decode(bytes, drafts::proposal_types). All members must list it in their capabilities.
namespace satsuma::mls::drafts {

inline constexpr std::uint16_t self_remove = 0x000a;
inline constexpr std::array<FurtherProposalType, 1> proposal_types{{{
    .type = self_remove,
    .skip_body = nullptr,
    .path_required = true,
    .by_value = false,
    .in_private_message = false,
    .in_external_commit = true,
    .removes_sender = true,
}}};

Capabilities with_self_remove(Capabilities capabilities);

/// The MLSMessage to be sent to all, and to be kept for those who join by an external commit in this epoch (ExternalJoinParams::proposals). Until somebody
/// commits it we are a member, who cannot send application messages any more. In an epoch in which nobody commits it, it is to be sent again in the next:
/// mls_proposal_repeated within one. mls_proposal_unsupported where somebody does not know it.
Result<Bytes> propose_self_remove(Group& group, RandomSource& random, ByteView authenticated_data = {});

} // namespace satsuma::mls::drafts
