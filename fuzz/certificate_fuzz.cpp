// Chains of certificates from strangers: the last one is trusted, so that what it certifies is looked at. The input is a vector of certificates.
#include <cstddef>
#include <cstdint>

#include "codec/tls.h"
#include "crypto/certificate.h"

using namespace satsuma;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader reader(ByteView(data, size));
  const auto chain = codec::read_vector_with<Bytes>(reader, [](ByteReader& r) { return codec::read_bytes(r); });
  if (!chain || chain->empty()) return 0;
  const auto identity = crypto::certificate_identity(chain->front());
  const auto anchors = crypto::TrustAnchors::from_der(std::span(*chain).last(1));
  if (!anchors) return 0;
  const auto verified = anchors->verify(*chain, 1'800'000'000);
  if (verified) SATSUMA_CHECK(identity && *identity == verified->identity);
  return 0;
}
