#include "printable.h"

#include <gtest/gtest.h>

namespace satsuma::client {
namespace {

TEST(Printable, NothingOfWhatOthersSayMovesTheCursorOrTurnsALineAround) {
  EXPECT_EQ(printable("one\ntwo\x1b[31m\a\x7f"), "one two [31m  ");
  EXPECT_EQ(printable("a\u0085b\u009bc"), "a b c");
  EXPECT_EQ(printable("a\u202eb\u2066c\u2069d\u200fe\u2028f\u061cg"), "a b c d e f g");
  EXPECT_EQ(printable("Zo\u00eb \u5927 \U0001F600 \u201cso\u201d \u20ac a\u200db"), "Zo\u00eb \u5927 \U0001F600 \u201cso\u201d \u20ac a\u200db") << "what is written stays";
  EXPECT_EQ(printable("a\u200bb\u2060c\ufeffd"), "a b c d") << "as in names";
  EXPECT_EQ(printable("\xe2\x80"), "??") << "an end in the middle is nothing to read beyond";
  EXPECT_EQ(printable("a\x9b[31m"), "a?[31m");
}

} // namespace
} // namespace satsuma::client
