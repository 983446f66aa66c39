// Runs the official test vectors: main FOLDER, where FOLDER holds mls-test-vectors, hpke-test-vectors and sframe-test-vectors.
// One line for each file, then the sums. Ends with 1 when something failed.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "vectors.h"

namespace satsuma::vectors {

bool Entry::check(bool holds, const char* what, int line) {
  if (!holds) {
    failed_ = true;
    std::printf("  %s entry %zu: line %d: %s\n", file_, number_, line, what);
  }
  return holds;
}

void Entry::skip(std::string reason) { skip_reason_ = std::move(reason); }

void Tally::count(const Entry& entry) {
  if (entry.failed()) {
    ++failed;
  } else if (entry.skipped()) {
    ++skipped;
    if (first_skip_reason.empty()) first_skip_reason = entry.skip_reason();
  } else {
    ++passed;
  }
}

Bytes hex(const Json& value) {
  if (!value.is_string()) return {};
  auto bytes = from_hex(value.get_ref<const std::string&>());
  SATSUMA_CHECK(bytes);
  return *bytes;
}

Bytes hex(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? Bytes() : hex(*found);
}

std::uint64_t number(const Json& object, const char* key) {
  const auto found = object.find(key);
  SATSUMA_CHECK(found != object.end() && found->is_number());
  return found->get<std::uint64_t>();
}

namespace {

bool read_file(const std::string& path, std::string& out) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return false;
  char buffer[65536];
  for (std::size_t size; (size = std::fread(buffer, 1, sizeof buffer, file)) > 0;) out.append(buffer, size);
  std::fclose(file);
  return true;
}

void run(const std::string& folder, const VectorFile& file, Tally& sum) {
  std::string text;
  Tally tally;
  if (!read_file(folder + "/" + file.path, text)) {
    tally.skipped = 1;
    tally.first_skip_reason = "the file is not there";
  } else {
    const Json json = Json::parse(text, nullptr, false);
    if (file.run_all != nullptr && !json.is_discarded()) {
      file.run_all(json, file.path, tally);
    } else if (!json.is_array()) {
      tally.failed = 1;
      std::printf("  %s: no array of entries\n", file.path);
    } else {
      for (std::size_t i = 0; i < json.size(); ++i) {
        Entry entry(file.path, i);
        file.run_entry(json[i], entry);
        tally.count(entry);
      }
    }
  }
  std::printf("%-48s %4d passed, %d failed, %d skipped%s%s\n", file.path, tally.passed, tally.failed, tally.skipped, tally.skipped != 0 ? ": " : "",
              tally.first_skip_reason.c_str());
  std::fflush(stdout);
  sum.passed += tally.passed;
  sum.failed += tally.failed;
  sum.skipped += tally.skipped;
}

} // namespace
} // namespace satsuma::vectors

int main(int argc, char** argv) {
  using namespace satsuma::vectors;
  std::string folder = ".";
  if (argc > 1) {
    folder = argv[1];
  } else if (const char* variable = std::getenv("SATSUMA_VECTORS")) {
    folder = variable;
  }
  const char* only = argc > 2 ? argv[2] : ""; // a part of a file's name
  Tally sum;
  for (const auto& files : {hpke_files, sframe_files, mls_files}) {
    for (const VectorFile& file : files) {
      if (std::strstr(file.path, only) != nullptr) run(folder, file, sum);
    }
  }
  std::printf("%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped);
  return sum.failed == 0 ? 0 : 1;
}
