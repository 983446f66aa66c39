#include "io/static_files.h"

#include <gtest/gtest.h>

namespace satsuma::io {
namespace {

TEST(AcceptEncoding, BrotliIsUsedOnlyWhenTheClientNamesIt) {
  EXPECT_TRUE(accepts_brotli("gzip, deflate, br"));
  EXPECT_TRUE(accepts_brotli("br;q=0.5, gzip"));
  EXPECT_TRUE(accepts_brotli("br;q=0.05"));
  EXPECT_FALSE(accepts_brotli("gzip"));
  EXPECT_FALSE(accepts_brotli(""));
  EXPECT_FALSE(accepts_brotli("br;q=0"));
  EXPECT_FALSE(accepts_brotli("br;q=0.000, gzip"));
  EXPECT_FALSE(accepts_brotli("brx"));
  EXPECT_FALSE(accepts_brotli(",,,;;"));
}

TEST(MimeType, WasmIsServedAsBrowsersDemandForStreamingCompilation) {
  EXPECT_EQ(mime_type("/assets/satsuma.wasm"), "application/wasm");
  EXPECT_EQ(mime_type("/index.html"), "text/html; charset=utf-8");
  EXPECT_EQ(mime_type("/strange"), "application/octet-stream");
}

TEST(StaticFiles, AFolderThatDoesNotExistIsExplained) {
  const auto files = StaticFiles::load("/nonexistent/web", 1 << 20, 1 << 20);
  ASSERT_FALSE(files);
  EXPECT_NE(files.error().find("--web"), std::string::npos);
}

} // namespace
} // namespace satsuma::io
