// In a simulated call all devices are one program, and each of them verifies the same signatures and derives the same public keys. Here what was asked
// before is answered from memory: half of a run's time. The linker puts these in front of three functions of src/crypto that depend on nothing but their
// arguments (--wrap, sim/CMakeLists.txt); a replayed seed does without, and a test compares the two.
#include "sim/remember.h"

#include <openssl/evp.h>

#include <string>
#include <thread>
#include <unordered_map>

#include "crypto/pkey.h"
#include "crypto/signature.h"

namespace satsuma {

namespace {

constexpr std::size_t max_answers = 50'000; // a large call's; then all are forgotten
bool remembering = false;
std::thread::id owner; ///< nothing here is locked: a World whose sessions run on several cores does without

template <class Answer>
struct Answers : std::unordered_map<std::string, Answer> {
  Answers& within_bounds() {
    if (this->size() >= max_answers) this->clear();
    return *this;
  }
};
Answers<Result<void>> signatures;
Answers<Bytes> public_keys;
Answers<crypto::internal::Pkey> private_keys;

bool from_memory() {
  if (remembering) SATSUMA_CHECK(std::this_thread::get_id() == owner);
  return remembering;
}

void append(std::string& to, ByteView part) {
  const auto size = static_cast<std::uint32_t>(part.size());
  to.append(reinterpret_cast<const char*>(&size), sizeof size);
  to.append(reinterpret_cast<const char*>(part.data()), part.size());
}

} // namespace

void sim::remember_checks(bool on) {
  remembering = on;
  owner = std::this_thread::get_id();
  signatures.clear();
  public_keys.clear();
  private_keys.clear();
}

#define SATSUMA_VERIFY "_ZN7satsuma6crypto6verifyENS0_15SignatureSchemeESt4spanIKhLm18446744073709551615EES4_S4_"
#define SATSUMA_PUBLIC "_ZN7satsuma6crypto8internal23raw_public_from_privateEPKcSt4spanIKhLm18446744073709551615EE"
#define SATSUMA_PRIVATE "_ZN7satsuma6crypto8internal15raw_private_keyEPKcSt4spanIKhLm18446744073709551615EE"

Result<void> real_verify(crypto::SignatureScheme, ByteView, ByteView, ByteView) __asm__("__real_" SATSUMA_VERIFY);
Bytes real_public(const char*, ByteView) __asm__("__real_" SATSUMA_PUBLIC);
crypto::internal::Pkey real_private(const char*, ByteView) __asm__("__real_" SATSUMA_PRIVATE);

Result<void> verify(crypto::SignatureScheme, ByteView, ByteView, ByteView) __asm__("__wrap_" SATSUMA_VERIFY);
Result<void> verify(crypto::SignatureScheme scheme, ByteView public_key, ByteView message, ByteView signature) {
  if (!from_memory()) return real_verify(scheme, public_key, message, signature);
  std::string question(1, static_cast<char>(scheme));
  append(question, public_key);
  append(question, message);
  append(question, signature);
  if (const auto found = signatures.find(question); found != signatures.end()) return found->second;
  return signatures.within_bounds().emplace(std::move(question), real_verify(scheme, public_key, message, signature)).first->second;
}

Bytes public_from_private(const char*, ByteView) __asm__("__wrap_" SATSUMA_PUBLIC);
Bytes public_from_private(const char* algorithm, ByteView key) {
  if (!from_memory()) return real_public(algorithm, key);
  std::string question(algorithm);
  append(question, key);
  if (const auto found = public_keys.find(question); found != public_keys.end()) return found->second;
  return public_keys.within_bounds().emplace(std::move(question), real_public(algorithm, key)).first->second;
}

crypto::internal::Pkey private_key(const char*, ByteView) __asm__("__wrap_" SATSUMA_PRIVATE);
crypto::internal::Pkey private_key(const char* algorithm, ByteView key) {
  if (!from_memory()) return real_private(algorithm, key);
  std::string question(algorithm);
  append(question, key);
  auto found = private_keys.find(question);
  if (found == private_keys.end()) {
    crypto::internal::Pkey made = real_private(algorithm, key);
    if (made == nullptr) return made;
    found = private_keys.within_bounds().emplace(std::move(question), std::move(made)).first;
  }
  EVP_PKEY_up_ref(found->second.get());
  return crypto::internal::Pkey(found->second.get());
}

} // namespace satsuma
