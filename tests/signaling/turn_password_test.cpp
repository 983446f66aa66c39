// What is left of TURN's password once it has been written: a program of its own, since it takes over the heap.
#include <gtest/gtest.h>

#include "../base/heap_arena.h"
#include "base/secret.h"
#include "signaling/control_messages.h"

namespace satsuma::signaling {
namespace {

using heap::arena;

TEST(TurnPassword, IsNowhereOnceTheMessageThatCarriedItIsGone) {
  const std::string password = "a password of more than a few bytes", expected = R"({"credential":")" + password + R"(","type":"turn","username":"1795:0123"})";
  const auto found = [&] { return heap::arena_contains({arena.bytes, arena.used}, as_bytes(password)); };
  const heap::Recording recording;
  {
    const ServerControl message = TurnServer{"1795:0123", SecretBytes::copy_of(as_bytes(password))};
    std::string text = write_server_control(message);
    EXPECT_TRUE(found()) << "or else this looks in the wrong place";
    EXPECT_TRUE(text == expected); // EXPECT_EQ would make copies
    wipe(MutableByteView(reinterpret_cast<std::uint8_t*>(text.data()), text.size()));
  }
  EXPECT_FALSE(found());
}

} // namespace
} // namespace satsuma::signaling

int main(int argc, char** argv) {
  if (!satsuma::heap::take_over_openssl_heap()) return 2;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
