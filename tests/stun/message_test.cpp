#include "stun/message.h"

#include <gtest/gtest.h>

#include "crypto/hash.h"
#include "stun/attributes.h"

namespace satsuma::stun {
namespace {

// RFC 5769 s.2: the sample messages. The padding is spaces there, which a receiver has to ignore.
constexpr std::string_view sample_password = "VOkJxbRl1RmTxUk/WvJxBt";
constexpr std::string_view sample_request =
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf";
constexpr std::string_view sample_ipv4_response =
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96";
constexpr std::string_view sample_ipv6_response =
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c";

Bytes sample(std::string_view hex) { return *from_hex(hex); }

constexpr TransactionId transaction = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
const std::string password = "a password of 22 chars";

Bytes request_with(const BindingRequest& request) {
  Bytes out(max_written_size);
  const auto written = write_binding_request(request, as_bytes(password), out);
  EXPECT_TRUE(written);
  out.resize(written->size());
  return out;
}

Bytes request() {
  return request_with({.transaction = transaction, .username = "left:right", .priority = 7, .controlling = true, .tie_breaker = 9, .use_candidate = true});
}

// Attributes behind a request's header, without integrity or fingerprint.
Bytes message_of(ByteView attributes, std::uint16_t type = 1) {
  ByteWriter writer;
  writer.u16(type);
  writer.u16(static_cast<std::uint16_t>(attributes.size()));
  writer.u32(0x2112a442);
  writer.bytes(transaction);
  writer.bytes(attributes);
  return std::move(writer).take();
}

TEST(StunMessage, ReadsTheSampleRequestOfRfc5769) {
  const Bytes bytes = sample(sample_request);
  const auto message = parse(bytes);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->message_class, MessageClass::request);
  EXPECT_TRUE(message->is_binding());
  EXPECT_EQ(message->username, "evtj:h6vY");
  EXPECT_EQ(message->priority, 0x6e0001ffu);
  EXPECT_EQ(message->ice_controlled, 0x932ff9b151263b36u);
  EXPECT_FALSE(message->ice_controlling);
  EXPECT_FALSE(message->use_candidate);
  EXPECT_TRUE(message->has_fingerprint);
  EXPECT_EQ(message->unknown_count, 0u);
  EXPECT_TRUE(verify(*message, as_bytes(sample_password)));
}

TEST(StunMessage, ReadsTheSampleResponsesOfRfc5769) {
  const Bytes v4 = sample(sample_ipv4_response);
  const auto first = parse(v4);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->message_class, MessageClass::success);
  EXPECT_EQ(first->xor_mapped_address, *TransportAddress::parse("192.0.2.1", 32853));
  EXPECT_TRUE(verify(*first, as_bytes(sample_password)));
  const Bytes v6 = sample(sample_ipv6_response);
  const auto second = parse(v6);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->xor_mapped_address, *TransportAddress::parse("2001:db8:1234:5678:11:2233:4455:6677", 32853));
  EXPECT_TRUE(verify(*second, as_bytes(sample_password)));
}

TEST(StunMessage, RefusesTheSampleRequestWithAnyBitFlipped) {
  const Bytes good = sample(sample_request);
  // Integrity covers all before it; the fingerprint all before itself. A flip there makes no message or no authentic one.
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bytes = good;
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    const auto message = parse(bytes);
    if (!message) continue;
    // What is left are flips that hide the fingerprint: in its own type, or in a length before it, which the integrity covers.
    EXPECT_FALSE(message->has_fingerprint) << bit;
    EXPECT_TRUE(bit / 8 >= good.size() - 8 || !verify(*message, as_bytes(sample_password))) << bit;
  }
}

TEST(StunMessage, RefusesAWrongPasswordAndAMissingIntegrity) {
  const Bytes bytes = request();
  EXPECT_EQ(verify(*parse(bytes), as_bytes("another password of 22")).error(), Error(stun_unauthenticated));
  const Bytes bare = message_of({});
  EXPECT_EQ(verify(*parse(bare), as_bytes(password)).error(), Error(stun_unauthenticated));
}

TEST(StunMessage, WritesARequestThatItReadsBack) {
  const Bytes bytes = request();
  const auto message = parse(bytes);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->transaction, transaction);
  EXPECT_EQ(message->username, "left:right");
  EXPECT_EQ(message->priority, 7u);
  EXPECT_EQ(message->ice_controlling, 9u);
  EXPECT_TRUE(message->use_candidate);
  EXPECT_TRUE(message->has_fingerprint);
  EXPECT_TRUE(verify(*message, as_bytes(password)));
}

TEST(StunMessage, WritesSuccessForBothFamilies) {
  for (const char* ip : {"203.0.113.7", "2001:db8::5"}) {
    const TransportAddress address = *TransportAddress::parse(ip, 4711);
    Bytes out(max_written_size);
    const auto written = write_binding_success(transaction, address, as_bytes(password), out);
    ASSERT_TRUE(written);
    const auto message = parse(*written);
    ASSERT_TRUE(message);
    EXPECT_EQ(message->message_class, MessageClass::success);
    EXPECT_EQ(message->xor_mapped_address, address);
    EXPECT_TRUE(verify(*message, as_bytes(password)));
  }
}

TEST(StunMessage, WritesErrorsWithTheUnknownAttributes) {
  Bytes out(max_written_size);
  const std::uint16_t unknown[] = {0x7001, 0x7002, 0x7003};
  const auto written = write_binding_error(transaction, 420, "Unknown Attribute", unknown, as_bytes(password), out);
  ASSERT_TRUE(written);
  const auto message = parse(*written);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->message_class, MessageClass::error);
  EXPECT_EQ(message->error_code, 420);
  EXPECT_TRUE(verify(*message, as_bytes(password)));
}

TEST(StunMessage, SaysWhenTheOutputIsTooSmallAtEverySize) {
  const Bytes whole = request();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    Bytes out(size);
    const BindingRequest again{.transaction = transaction, .username = "left:right", .priority = 7, .controlling = true, .tie_breaker = 9, .use_candidate = true};
    EXPECT_FALSE(write_binding_request(again, as_bytes(password), out)) << size;
  }
}

TEST(StunMessage, RefusesWhatIsCutOffOrLongerThanItSays) {
  const Bytes whole = request();
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(parse(ByteView(whole).first(size))) << size;
  Bytes longer = whole;
  longer.resize(longer.size() + 4);
  EXPECT_FALSE(parse(longer));
}

TEST(StunMessage, RefusesAnAttributeThatReachesBeyondTheEnd) {
  EXPECT_FALSE(parse(message_of(*from_hex("00240008ffffffff"))));
  EXPECT_FALSE(parse(message_of(*from_hex("0024ffffffffffff"))));
}

TEST(StunMessage, RefusesAnythingAfterTheFingerprint) {
  for (const bool behind : {false, true}) {
    Bytes out(200);
    SpanWriter writer(out);
    write_header(writer, MessageClass::request, 1, {});
    write_attribute(writer, username, as_bytes("ab:cd"));
    set_length(out, writer.size() - header_size + fingerprint_attribute_size + (behind ? 8 : 0));
    write_number(writer, fingerprint, fingerprint_of(ByteView(out).first(writer.size())));
    if (behind) write_number(writer, priority, 1);
    const auto parsed = parse(*writer.written());
    EXPECT_EQ(parsed.has_value(), !behind);
    if (!parsed) {
      EXPECT_EQ(parsed.error(), Error(stun_malformed));
    }
  }
}

TEST(StunMessage, RefusesAttributesOfAWrongSize) {
  for (const char* attribute : {"002400020000ffff", "0025000400000000", "802900040000ffff", "802a00040000ffff", "0020000400010000",
                                "00200008000300000102030405060708", "0008000400000000", "8028000200000000", "000900040000ff00",
                                "002400080000000100000000", "8029000c000000000000000100000000", "802a000c000000000000000100000000"}) {
    Bytes attributes = *from_hex(attribute);
    attributes.resize((attributes.size() + 3) / 4 * 4);
    EXPECT_FALSE(parse(message_of(attributes))) << attribute;
  }
}

TEST(StunMessage, IgnoresWhatStandsAfterTheIntegrity) {
  // A request without USE-CANDIDATE, to which somebody on the path adds it behind MESSAGE-INTEGRITY.
  Bytes bytes = request_with({.transaction = transaction, .username = "left:right", .priority = 7, .controlling = true, .tie_breaker = 9, .use_candidate = false});
  bytes.resize(bytes.size() - 8); // without the fingerprint
  bytes.insert(bytes.end(), {0x00, 0x25, 0x00, 0x00});
  bytes[3] = static_cast<std::uint8_t>(bytes.size() - header_size);
  const auto message = parse(bytes);
  ASSERT_TRUE(message);
  EXPECT_FALSE(message->use_candidate);
  EXPECT_TRUE(verify(*message, as_bytes(password)));
}

TEST(StunMessage, TakesTheFirstOfTwoAttributesOfAKind) {
  const auto message = parse(message_of(*from_hex("0024000400000001" "0024000400000002")));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->priority, 1u);
}

TEST(StunMessage, ListsUnknownAttributesThatMustBeUnderstoodAndNoOthers) {
  const auto message = parse(message_of(*from_hex("7001000000c00000" "c057000400000000")));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->unknown_count, 2u);
  EXPECT_EQ(message->unknown_attributes[0], 0x7001);
  EXPECT_EQ(message->unknown_attributes[1], 0x00c0);
}

TEST(StunMessage, ReadsClassAndMethodFromTheirScatteredBits) {
  for (const auto& [type, expected, method] : {std::tuple<std::uint16_t, MessageClass, std::uint16_t>{0x0001, MessageClass::request, 1},
                                                {0x0011, MessageClass::indication, 1},
                                                {0x0101, MessageClass::success, 1},
                                                {0x0111, MessageClass::error, 1},
                                                {0x0003, MessageClass::request, 3},
                                                {0x02ef, MessageClass::request, 0xff}}) {
    const Bytes bytes = message_of({}, type);
    const auto message = parse(bytes);
    ASSERT_TRUE(message) << type;
    EXPECT_EQ(message->message_class, expected) << type;
    EXPECT_EQ(message->method, method) << type;
  }
}

TEST(StunMessage, IsToldFromOtherProtocolsByItsFirstBytes) {
  Bytes bytes = request();
  EXPECT_TRUE(looks_like_stun(bytes));
  bytes[0] = 0x80;
  EXPECT_FALSE(looks_like_stun(bytes));
  bytes[0] = 0;
  bytes[4] = 0;
  EXPECT_FALSE(looks_like_stun(bytes));
  EXPECT_FALSE(looks_like_stun({}));
}

} // namespace
} // namespace satsuma::stun
