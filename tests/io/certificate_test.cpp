#include "io/certificate.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace satsuma::io {
namespace {

class CertificateTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/satsuma-certificate-XXXXXX";
    folder_ = mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  static constexpr UnixSeconds now_ = 1'800'000'000;
};

TEST_F(CertificateTest, OneIsMadeAndThenKept) {
  const auto first = own_certificate(folder_, {"localhost", "192.0.2.1"}, now_);
  ASSERT_TRUE(first) << first.error();
  const auto second = own_certificate(folder_, {"192.0.2.1"}, now_ + 1000);
  ASSERT_TRUE(second);
  EXPECT_EQ(first->chain_pem, second->chain_pem);
  EXPECT_EQ(first->sha256_fingerprint.size(), 32U * 3 - 1);
}

TEST_F(CertificateTest, FilesAreForTheirOwnerOnly) {
  ASSERT_TRUE(own_certificate(folder_, {"localhost"}, now_));
  for (const char* name : {"/key.pem", "/certificate.pem"}) {
    struct stat info {};
    ASSERT_EQ(::stat((folder_ + name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U);
  }
}

TEST_F(CertificateTest, ANewNameOrTheComingEndMakesANewOne) {
  const auto first = own_certificate(folder_, {"localhost"}, now_);
  const auto other_name = own_certificate(folder_, {"meet.example.org"}, now_);
  ASSERT_TRUE(first && other_name);
  EXPECT_NE(first->chain_pem, other_name->chain_pem);
  const auto kept = own_certificate(folder_, {"meet.example.org"}, now_ + certificate_lifetime - certificate_renewal - 10);
  const auto renewed = own_certificate(folder_, {"meet.example.org"}, now_ + certificate_lifetime - certificate_renewal + 10);
  ASSERT_TRUE(kept && renewed);
  EXPECT_EQ(kept->chain_pem, other_name->chain_pem);
  EXPECT_NE(renewed->chain_pem, other_name->chain_pem);
}

TEST_F(CertificateTest, AHalfWrittenPairIsMadeAnew) {
  ASSERT_TRUE(own_certificate(folder_, {"localhost"}, now_));
  std::ofstream(folder_ + "/certificate.pem") << "-----BEGIN CERT";
  const auto again = own_certificate(folder_, {"localhost"}, now_);
  ASSERT_TRUE(again);
  EXPECT_TRUE(load_certificate(folder_ + "/certificate.pem", folder_ + "/key.pem", now_));
}

TEST_F(CertificateTest, ANameCannotSmuggleInAnother) {
  EXPECT_FALSE(own_certificate(folder_, {"a.example,DNS:b.example"}, now_));
  EXPECT_FALSE(own_certificate(folder_, {}, now_));
}

TEST_F(CertificateTest, AGivenOneMustFitItsKeyAndBeValid) {
  ASSERT_TRUE(own_certificate(folder_ + "/a", {"localhost"}, now_));
  ASSERT_TRUE(own_certificate(folder_ + "/b", {"localhost"}, now_));
  const std::string a = folder_ + "/a/", b = folder_ + "/b/";
  EXPECT_TRUE(load_certificate(a + "certificate.pem", a + "key.pem", now_));
  EXPECT_FALSE(load_certificate(a + "certificate.pem", b + "key.pem", now_));
  EXPECT_FALSE(load_certificate(a + "certificate.pem", a + "missing.pem", now_));
  EXPECT_FALSE(load_certificate(a + "key.pem", a + "key.pem", now_));
  const auto ended = load_certificate(a + "certificate.pem", a + "key.pem", now_ + certificate_lifetime + 1);
  ASSERT_FALSE(ended);
  EXPECT_NE(ended.error().find("Renew"), std::string::npos);
}

} // namespace
} // namespace satsuma::io
