#include "mls/drafts/self_remove.h"

namespace satsuma::mls::drafts {

Capabilities with_self_remove(Capabilities capabilities) {
  if (!capabilities.proposals.contains(self_remove)) capabilities.proposals.push_back(self_remove);
  return capabilities;
}

Result<Bytes> propose_self_remove(Group& group, RandomSource& random, ByteView authenticated_data) {
  return group.propose(Proposal{FurtherProposal{self_remove, {}}}, false, authenticated_data, random);
}

} // namespace satsuma::mls::drafts
