#include <gtest/gtest.h>

#include "delivery/sequence_driver.h"

namespace satsuma::delivery::testing {
namespace {

TEST(DeliverySequence, TwoThousandRandomRunsKeepOneLogForAll) {
  std::uint64_t state = 88172645463325252ULL;
  std::size_t entries = 0, commits = 0;
  for (int run = 0; run < 2'000; ++run) {
    Bytes script(600);
    for (auto& byte : script) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      byte = static_cast<std::uint8_t>(state >> 24);
    }
    SequenceDriver driver(script);
    driver.run();
    entries += driver.entries_seen();
    commits += driver.commits_seen();
  }
  // The runs do something.
  EXPECT_GT(entries, 30'000u);
  EXPECT_GT(commits, 3'000u);
}

} // namespace
} // namespace satsuma::delivery::testing
