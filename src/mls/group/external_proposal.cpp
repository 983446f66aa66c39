#include "mls/group/external_proposal.h"

#include "mls/tree/commit_rules.h"

namespace satsuma::mls {

namespace {

Result<Bytes> sign_proposal(const ExternalProposalParams& params, Sender sender, ByteView signature_private_key, Proposal proposal) {
  SATSUMA_TRY(const SuiteParameters* const suite, require_suite(params.suite));
  AuthenticatedContent content;
  content.content = {params.group_id, params.epoch, sender, params.authenticated_data, std::move(proposal)};
  SATSUMA_TRY_VOID(content.sign(*suite, signature_private_key, {})); // the context is no part of it, s.6.1
  return MLSMessage{PublicMessage{std::move(content.content), std::move(content.auth), {}}}.encode();
}

} // namespace

Result<Bytes> external_proposal(const ExternalProposalParams& params, std::uint32_t sender_index, ByteView signature_private_key, Proposal proposal) {
  if (proposal.as<Update>() != nullptr || proposal.as<ExternalInit>() != nullptr) return mls_proposal_not_for_sender;
  return sign_proposal(params, {SenderType::external, sender_index}, signature_private_key, std::move(proposal));
}

Result<Bytes> new_member_proposal(const ExternalProposalParams& params, const KeyPackageBundle& self) {
  if (self.key_package.cipher_suite != params.suite) return mls_key_package_suite_mismatch;
  return sign_proposal(params, {SenderType::new_member_proposal, 0}, self.signature_private_key.view(), Proposal{Add{self.key_package}});
}

} // namespace satsuma::mls
