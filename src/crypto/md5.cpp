#include "crypto/md5.h"

#include <openssl/evp.h>

#include <memory>

namespace satsuma::crypto {

bool md5_into(std::initializer_list<ByteView> parts, std::span<std::uint8_t, md5_size> out) {
  const std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> algorithm(EVP_MD_fetch(nullptr, "MD5", nullptr), EVP_MD_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!algorithm || !context || EVP_DigestInit_ex2(context.get(), algorithm.get(), nullptr) != 1) return false;
  for (const ByteView part : parts) {
    if (EVP_DigestUpdate(context.get(), part.data(), part.size()) != 1) return false;
  }
  return EVP_DigestFinal_ex(context.get(), out.data(), nullptr) == 1;
}

} // namespace satsuma::crypto
