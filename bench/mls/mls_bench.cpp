// How long MLS operations take, each beside the public-key operations in it alone, counted and measured in the same run.
// usage: mls_bench STATES SUITE,... MEMBERS,... [seconds for each figure]
// STATES is a folder: groups are made once and kept there (by a native run), so that a WASM run measures the same ones.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "../../tests/mls/seeded_random.h"
#include "mls/group/group.h"

using namespace satsuma;
using namespace satsuma::mls;

namespace {

double budget_s = 0.4;

#if defined(__wasm__)
extern "C" __attribute__((import_module("wasi_snapshot_preview1"), import_name("clock_time_get"))) int wasi_clock_time_get(int, std::uint64_t, std::uint64_t*);
#endif

/// The process's own time in microseconds: what others do on the machine does not count.
double cpu_us() {
#if defined(__wasm__)
  std::uint64_t ns = 0;
  constexpr int process_cputime = 2;
  if (wasi_clock_time_get(process_cputime, 1, &ns) != 0) std::abort();
  return static_cast<double>(ns) / 1e3;
#else
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
#endif
}

template <class T>
T value(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "mls_bench: %.*s\n", static_cast<int>(result.error().name().size()), result.error().name().data());
    std::abort();
  }
  return std::move(*result);
}

double median(std::vector<double>& values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Microseconds: the median of as many runs as the budget allows, at least 3.
double median_us(const std::function<void()>& run) {
  std::vector<double> times;
  const double began = cpu_us();
  do {
    const double start = cpu_us();
    run();
    times.push_back(cpu_us() - start);
  } while (times.size() < 3 || (cpu_us() - began < budget_s * 1e6 && times.size() < 2000));
  return median(times);
}

struct Scene {
  Group first;  ///< at leaf 0
  Group last;   ///< at the last leaf
  KeyPackageBundle newcomer;
};

KeyPackageBundle person(CipherSuite suite, std::size_t number, RandomSource& random) {
  KeyPackageParams params;
  params.suite = suite;
  params.credential = Credential::basic(as_bytes("member " + std::to_string(number)));
  return value(generate_key_package(params, value(generate_signature_keys(suite, random)), random));
}

// The creator adds all others in one commit.
Scene added_by_one(CipherSuite suite, std::size_t members, RandomSource& random) {
  GroupParams params;
  params.group_id = to_bytes(as_bytes("bench"));
  Group first = value(Group::create(params, person(suite, 0, random), random));
  CommitParams add;
  KeyPackageBundle last = person(suite, members - 1, random);
  for (std::size_t i = 1; i + 1 < members; ++i) add.add.push_back(person(suite, i, random).key_package);
  add.add.push_back(last.key_package);
  PendingCommit pending = value(first.commit(add, random));
  Group joined = value(Group::join(value(MLSMessage::decode_as<Welcome>(*pending.welcome)), last));
  value(first.merge(std::move(pending.staged)).has_value() ? Result<bool>(true) : Result<bool>(mls_stale_stage));
  return {std::move(first), std::move(joined), person(suite, members, random)};
}

// Each is added by the one before and commits; the first processes all. So the tree has no blank node and no unmerged leaf in the end.
Scene all_have_committed(CipherSuite suite, std::size_t members, RandomSource& random) {
  GroupParams params;
  params.group_id = to_bytes(as_bytes("bench"));
  Group first = value(Group::create(params, person(suite, 0, random), random));
  std::optional<Group> newest;
  for (std::size_t i = 1; i < members; ++i) {
    const KeyPackageBundle bundle = person(suite, i, random);
    CommitParams add;
    add.add.push_back(bundle.key_package);
    PendingCommit pending = value(first.commit(add, random));
    newest.emplace(value(Group::join(value(MLSMessage::decode_as<Welcome>(*pending.welcome)), bundle)));
    (void)first.merge(std::move(pending.staged));
    PendingCommit own = value(newest->commit({}, random));
    (void)first.merge(value(first.stage(own.commit)));
    (void)newest->merge(std::move(own.staged));
  }
  PendingCommit own = value(first.commit({}, random)); // the first's path again, over what it added
  (void)newest->merge(value(newest->stage(own.commit)));
  (void)first.merge(std::move(own.staged));
  return {std::move(first), std::move(*newest), person(suite, members, random)};
}

Bytes read_file(const std::string& path) {
  Bytes out;
  if (std::FILE* file = std::fopen(path.c_str(), "rb")) {
    std::uint8_t part[4096];
    for (std::size_t n; (n = std::fread(part, 1, sizeof part, file)) > 0;) out.insert(out.end(), part, part + n);
    std::fclose(file);
  }
  return out;
}

void write_file(const std::string& path, ByteView bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size() || std::fclose(file) != 0) {
    std::fprintf(stderr, "mls_bench: cannot write %s\n", path.c_str());
    std::exit(1);
  }
}

Scene scene(const std::string& folder, CipherSuite suite, std::size_t members, bool committed, RandomSource& random) {
  const std::string base = folder + "/" + std::to_string(static_cast<int>(suite)) + "-" + std::to_string(members) + (committed ? "-committed" : "-added");
  const auto first = Group::load(read_file(base + "-first")).has_value();
  if (!first) {
    Scene made = committed ? all_have_committed(suite, members, random) : added_by_one(suite, members, random);
    write_file(base + "-first", value(made.first.store()).view());
    write_file(base + "-last", value(made.last.store()).view());
    write_file(base + "-newcomer", made.newcomer.store().view());
  }
  return {value(Group::load(read_file(base + "-first"))), value(Group::load(read_file(base + "-last"))),
          value(KeyPackageBundle::load(read_file(base + "-newcomer")))};
}

struct Counts {
  std::size_t signs = 0, verifies = 0, seals = 0, opens = 0, derives = 0;
};

/// The public-key operations of a suite, without MLS around them.
class Alone {
 public:
  explicit Alone(const SuiteParameters& suite)
      : suite_(suite), keys_(crypto::generate_signature_key_pair(suite.signature, random_)), kem_(crypto::kem_generate_key_pair(suite.kem, random_)),
        secret_(suite.hash_size(), 2), signature_(value(crypto::sign(suite.signature, keys_.private_key.view(), message_))),
        sealed_(value(encrypt_with_label(suite, kem_.public_key, "UpdatePathNode", context_, secret_, random_))) {}

  void run(const Counts& counts) {
    for (std::size_t i = 0; i < counts.signs; ++i) (void)value(crypto::sign(suite_.signature, keys_.private_key.view(), message_));
    for (std::size_t i = 0; i < counts.verifies; ++i) (void)crypto::verify(suite_.signature, keys_.public_key, message_, signature_).has_value();
    for (std::size_t i = 0; i < counts.seals; ++i) (void)value(encrypt_with_label(suite_, kem_.public_key, "UpdatePathNode", context_, secret_, random_));
    for (std::size_t i = 0; i < counts.opens; ++i) {
      (void)value(decrypt_with_label(suite_, kem_.private_key.view(), kem_.public_key, "UpdatePathNode", context_, sealed_));
    }
    for (std::size_t i = 0; i < counts.derives; ++i) (void)crypto::kem_derive_key_pair(suite_.kem, secret_);
  }

 private:
  const SuiteParameters& suite_;
  SeededRandom random_{9};
  crypto::SignatureKeyPair keys_;
  crypto::KemKeyPair kem_;
  Bytes message_ = Bytes(300, 1), secret_, context_ = Bytes(150, 3);
  Bytes signature_;
  HpkeCiphertext sealed_;
};

/// By turns, so that both have the same clock rate: `run`, and what public-key operations are in it alone.
void row(const char* what, const std::function<void()>& run, const Counts& counts, Alone& alone, std::size_t wire) {
  std::vector<double> times, floors, ratios;
  const double began = cpu_us();
  do {
    const double start = cpu_us();
    run();
    const double between = cpu_us();
    alone.run(counts);
    times.push_back(between - start);
    floors.push_back(cpu_us() - between);
    ratios.push_back(times.back() / floors.back());
  } while (times.size() < 3 || (cpu_us() - began < budget_s * 1e6 && times.size() < 2000));
  std::printf("  %-26s %10.1f %10.1f %6.2f   %4zu %5zu %5zu %5zu %5zu", what, median(times), median(floors), median(ratios), counts.signs, counts.verifies,
              counts.seals, counts.opens, counts.derives);
  if (wire > 0) std::printf(" %9zu", wire);
  std::printf("\n");
  std::fflush(stdout);
}

std::size_t path_nodes(const PendingCommit& pending, std::size_t& ciphertexts) {
  const PublicMessage message = value(MLSMessage::decode_as<PublicMessage>(pending.commit));
  const auto& path = std::get_if<Commit>(&message.content.content)->path;
  ciphertexts = 0;
  if (!path) return 0;
  for (const UpdatePathNode& node : path->nodes) ciphertexts += node.encrypted_path_secret.size();
  return path->nodes.size();
}

#if defined(__GLIBC__)
std::size_t heap_in_use() { return mallinfo2().uordblks + mallinfo2().hblkhd; }
#endif

void measure(const std::string& folder, CipherSuite suite, std::size_t members, bool committed, Alone& alone) {
  const std::uint64_t seed = static_cast<std::uint64_t>(members) * 4 + (committed ? 2 : 0);
  SeededRandom making(seed), random(seed + 1); // not one: a kept scene has used the first one's keys
  Scene s = scene(folder, suite, members, committed, making);
  std::printf("\nsuite %d, %zu members, %s\n", static_cast<int>(suite), members, committed ? "everyone has committed once" : "one creator added all");
  std::printf("  %-26s %10s %10s %6s   %4s %5s %5s %5s %5s %9s\n", "", "us", "floor us", "ratio", "sign", "verfy", "seal", "open", "derive", "bytes");

  // Nodes above the common ancestor of first and last: what the receiver derives. The two are in different halves: the root alone.
  const auto commit_and_process = [&](const char* create, const char* process, const CommitParams& params, std::size_t added) {
    std::size_t ciphertexts = 0;
    const PendingCommit pending = value(s.first.commit(params, random));
    const std::size_t nodes = path_nodes(pending, ciphertexts);
    const std::size_t path_signs = nodes > 0 || members == 1 ? 1 : 0;
    // A key package: two signatures. Ours: the leaf, the commit, and the GroupInfo for who is added.
    row(create, [&] { (void)value(s.first.commit(params, random)); },
        {1 + path_signs + (added > 0 ? 1 : 0), 2 * added, ciphertexts + added, 0, nodes + 1}, alone, pending.commit.size());
    row(process, [&] { (void)value(s.last.stage(pending.commit)); }, {0, 1 + path_signs + 2 * added, 0, path_signs, path_signs}, alone, 0);
  };
  commit_and_process("create empty commit", "process it", {}, 0);
  CommitParams add;
  add.add.push_back(s.newcomer.key_package);
  commit_and_process("create commit, one added", "process it", add, 1);
  if (members > 2) {
    CommitParams remove;
    remove.remove.push_back({static_cast<std::uint32_t>(members / 2)});
    if (remove.remove[0] != s.last.own_leaf()) commit_and_process("create commit, one removed", "process it", remove, 0);
  }
  const PendingCommit adding = value(s.first.commit(add, random));
  const Welcome welcome = value(MLSMessage::decode_as<Welcome>(*adding.welcome));
  row("join by Welcome with tree", [&] { (void)value(Group::join(welcome, s.newcomer)); }, {0, members + 2, 0, 1, 1}, alone, adding.welcome->size());

  const SecretBytes stored = value(s.last.store());
  std::printf("  %-26s %10.1f %38s %9zu\n", "store", median_us([&] { (void)value(s.last.store()); }), "", stored.size());
  std::printf("  %-26s %10.1f\n", "load", median_us([&] { (void)value(Group::load(stored.view())); }));
#if defined(__GLIBC__)
  const std::size_t before = heap_in_use();
  const Group held = value(Group::load(stored.view()));
  (void)held.tree().tree_hash();
  const double bytes = static_cast<double>(heap_in_use() - before);
  std::size_t keys = 0; // public keys, signatures and identities: what the tree is there to hold
  for (std::uint32_t i = 0; i < held.tree().node_width(); ++i) {
    if (!held.tree().is_blank({i})) keys += held.tree().public_key({i}).size();
  }
  for (const Member& member : held.members()) keys += member.signature_key.size() + held.tree().leaf(member.leaf)->signature.size();
  std::printf("  memory %.0f bytes a member beyond the keys and signatures, which are %.0f\n", (bytes - static_cast<double>(keys)) / static_cast<double>(members),
              static_cast<double>(keys) / static_cast<double>(members));
#endif
}

std::vector<int> numbers(const char* list) {
  std::vector<int> out;
  for (const char* at = list; *at != 0;) {
    char* end = nullptr;
    out.push_back(static_cast<int>(std::strtol(at, &end, 10)));
    at = *end == ',' ? end + 1 : end;
    if (end == list || (*end != 0 && *end != ',')) std::exit(2);
  }
  return out;
}

} // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: mls_bench STATES SUITE,... MEMBERS,... [seconds for each figure]\n");
    return 2;
  }
  if (argc > 4) budget_s = std::strtod(argv[4], nullptr);
  for (const int suite : numbers(argv[2])) {
    if (!require_suite_of_member(static_cast<CipherSuite>(suite))) {
      std::printf("\nsuite %d: this OpenSSL does not have it\n", suite);
      continue;
    }
    const SuiteParameters& parameters = *value(require_suite(static_cast<CipherSuite>(suite)));
    Alone alone(parameters);
    const auto one = [&](Counts counts) { return median_us([&] { alone.run(counts); }); };
    std::printf("\nsuite %d alone, us: sign %.1f, verify %.1f, HPKE seal %.1f, open %.1f, derive a key pair %.1f\n", suite, one({.signs = 1}),
                one({.verifies = 1}), one({.seals = 1}), one({.opens = 1}), one({.derives = 1}));
    for (const int members : numbers(argv[3])) {
      for (const bool committed : {false, true}) measure(argv[1], parameters.id, static_cast<std::size_t>(members), committed, alone);
    }
  }
}
