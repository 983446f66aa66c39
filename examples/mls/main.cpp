// Two people make a group, talk, restart, and renew their keys. All that they exchange are bytes.
#include <sys/random.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "mls/group/group.h"

using namespace satsuma;
using namespace satsuma::mls;

/// The library draws no randomness of its own: it is an argument, so that tests can replay it.
class SystemRandom : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    for (std::size_t done = 0; done < out.size();) {
      const ssize_t got = getrandom(out.data() + done, out.size() - done, 0);
      if (got < 0) std::abort();
      done += static_cast<std::size_t>(got);
    }
  }
};

/// A real program looks at the error; this one prints the rule that was broken.
template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "failed: %s\n", std::string(result.error().name()).c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

KeyPackageBundle new_person(const char* name, RandomSource& random) {
  KeyPackageParams params;
  params.credential = Credential::basic(as_bytes(name));
  return must(generate_key_package(params, must(generate_signature_keys(params.suite, random)), random));
}

int main() {
  SystemRandom random;
  GroupParams params;
  params.group_id = to_bytes(as_bytes("example"));
  params.padding = 64;
  Group ada = must(Group::create(params, new_person("Ada", random), random));

  // Bo publishes a key package; Ada verifies it, adds him, and merges once the delivery service has accepted her commit.
  const KeyPackageBundle invited = new_person("Bo", random);
  CommitParams adding;
  adding.add.push_back(must(MLSMessage::decode_as<KeyPackage>(invited.message())));
  PendingCommit pending = must(ada.commit(adding, random));
  must(ada.merge(std::move(pending.staged)));
  Group bo = must(Group::join(must(MLSMessage::decode_as<Welcome>(*pending.welcome)), invited));

  // A message. Storing with a reserve lets Ada send that many before she must store again, and no key is used twice whenever she is stopped.
  const SecretBytes kept = must(ada.store(16)); // encrypt it where you keep it
  const ReceivedApplication heard = must(bo.unprotect_application(must(ada.protect_application(as_bytes("Hello, Bo"), {}, random))));
  std::printf("Bo reads: %s\n", std::string(as_text(heard.plaintext.view())).c_str());

  // Ada's program restarts. Bo renews his keys; Ada looks at what his commit does before it counts.
  Group again = must(Group::load(kept.view()));
  PendingCommit renewal = must(bo.commit({}, random));
  StagedCommit staged = must(again.stage(renewal.commit));
  std::printf("epoch %d: %zu added, %zu removed, %zu updated\n", static_cast<int>(staged.next_epoch()), staged.effects().added.size(),
              staged.effects().removed.size(), staged.effects().updated.size());
  must(again.merge(std::move(staged)));
  must(bo.merge(std::move(renewal.staged)));
  std::printf("same secrets: %s\n", again.export_secret("example", {}, 32) == bo.export_secret("example", {}, 32) ? "yes" : "no");
}
