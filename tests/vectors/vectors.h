#pragma once

#include <cstddef>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "base/bytes.h"
#include "base/random.h"
#include "crypto/hash.h"

/// What the runners of vector files share. This program has no GoogleTest and no exceptions, so that it runs as WASM too.
namespace satsuma::vectors {

using Json = nlohmann::json;

/// One entry of a file, and where it went wrong.
class Entry {
 public:
  Entry(const char* file, std::size_t number) : file_(file), number_(number) {}

  /// Notes a failure with its place, and says whether it held.
  bool check(bool holds, const char* what, int line);
  void skip(std::string reason);

  bool failed() const { return failed_; }
  bool skipped() const { return !skip_reason_.empty(); }
  const std::string& skip_reason() const { return skip_reason_; }

 private:
  const char* file_;
  std::size_t number_;
  bool failed_ = false;
  std::string skip_reason_;
};

using RunEntry = void (*)(const Json& entry, Entry& outcome);
/// Most files are an array of entries, each checked alone; `run_all` is for those that are not.
using RunAll = void (*)(const Json& file, const char* name, struct Tally& tally);

struct Tally {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  std::string first_skip_reason;

  void count(const Entry& entry);
};

struct VectorFile {
  const char* path; ///< below the vectors folder
  RunEntry run_entry;
  RunAll run_all = nullptr;
};

extern const std::initializer_list<VectorFile> mls_files;
extern const std::initializer_list<VectorFile> hpke_files;
extern const std::initializer_list<VectorFile> sframe_files;

/// The hex string in `object[key]`; empty when it is missing.
Bytes hex(const Json& object, const char* key);
Bytes hex(const Json& value);
std::uint64_t number(const Json& object, const char* key);
inline std::size_t size_from(const Json& object, const char* key) { return static_cast<std::size_t>(number(object, key)); }

/// Bytes that are the same in each run.
class CountingRandom : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    std::size_t done = 0;
    while (done < out.size()) {
      ByteWriter counter;
      counter.u64(counter_++);
      const Bytes block = crypto::hash(crypto::HashAlgorithm::sha256, counter.view());
      for (std::size_t i = 0; i < block.size() && done < out.size(); ++i) out[done++] = block[i];
    }
  }

 private:
  std::uint64_t counter_ = 0;
};

} // namespace satsuma::vectors

/// In a RunEntry: leaves it at the first thing that does not hold.
#define VECTOR_CHECK(condition)                                          \
  do {                                                                   \
    if (!entry.check(static_cast<bool>(condition), #condition, __LINE__)) return; \
  } while (false)
#define VECTOR_TRY_INNER(result, declaration, ...)                                           \
  auto result = (__VA_ARGS__);                                                               \
  if (!result) {                                                                             \
    entry.check(false, (std::string(#__VA_ARGS__ ": ") + std::string(result.error().name())).c_str(), __LINE__); \
    return;                                                                                  \
  }                                                                                          \
  declaration = std::move(*result)
#define VECTOR_TRY(declaration, ...) VECTOR_TRY_INNER(SATSUMA_CONCAT(vector_result_, __COUNTER__), declaration, __VA_ARGS__)
#define VECTOR_TRY_VOID(...)                                                                                                  \
  do {                                                                                                                        \
    if (auto vector_result = (__VA_ARGS__); !vector_result) {                                                                 \
      entry.check(false, (std::string(#__VA_ARGS__ ": ") + std::string(vector_result.error().name())).c_str(), __LINE__);     \
      return;                                                                                                                 \
    }                                                                                                                         \
  } while (false)
