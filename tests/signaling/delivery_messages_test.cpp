#include "signaling/delivery_messages.h"

#include <gtest/gtest.h>

namespace satsuma::signaling {
namespace {

IncarnationId id(std::uint8_t value) {
  IncarnationId who;
  who.bytes.fill(value);
  return who;
}
Bytes filled(std::size_t size, std::uint8_t value = 0x5a) { return Bytes(size, value); }

Hello hello_of(std::string room, std::size_t key_package = 300) {
  Hello hello;
  hello.room = std::move(room);
  hello.key_package = filled(key_package);
  for (auto& byte : hello.resume_key.mutable_view()) byte = 7;
  hello.cursor = 0x0102030405060708;
  return hello;
}

std::vector<Bytes> client_frames() {
  std::vector<Bytes> frames;
  frames.push_back(write_client_message(hello_of("a-room-1")));
  frames.push_back(write_client_message(Ack{12}));
  frames.push_back(write_client_message(Genesis{filled(700)}));
  frames.push_back(write_client_message(Commit{3, 4, filled(20'000), filled(40'000)}));
  frames.push_back(write_client_message(Commit{3, 4, filled(100), {}}));
  frames.push_back(write_client_message(Application{filled(100)}));
  frames.push_back(write_client_message(Application{filled(100), {id(1), id(2)}}));
  frames.push_back(write_client_message(Goodbye{}));
  frames.push_back(write_client_message(Report{77}));
  return frames;
}

Snapshot snapshot() {
  return {true, 5, 6, {id(1), id(2), id(3)}, {id(2)}, {9, 8, 7}, {{id(4), filled(500)}, {id(5), filled(60)}}};
}

std::vector<Bytes> server_frames() {
  std::vector<Bytes> frames;
  frames.push_back(write_server_message(Ready{false, 9, 10'000, snapshot()}));
  frames.push_back(write_server_message(Ready{true, 9, 10'000, {}}));
  frames.push_back(write_server_message(Entry{1, JoinEntry{id(1), filled(400)}}));
  frames.push_back(write_server_message(Entry{2, GoneEntry{id(1), GoneCause::engine_stalled}}));
  frames.push_back(write_server_message(Entry{3, GenesisEntry{id(1), filled(400)}}));
  frames.push_back(write_server_message(Entry{4, CommitEntry{3, 0, id(1), filled(400), filled(1)}}));
  frames.push_back(write_server_message(Rejected{3, 0, Rejected::Reason::unasked_add}));
  frames.push_back(write_server_message(Relayed{id(1), filled(30)}));
  frames.push_back(write_server_message(ErrorMessage{ErrorReason::gone, "Enter again."}));
  frames.push_back(write_server_message(Present{id(9), true}));
  frames.push_back(write_server_message(WaitingPart{{{id(4), filled(50)}, {id(5), filled(60)}}}));
  frames.push_back(write_server_message(TreePart{4, 60, filled(40)}));
  frames.push_back(write_server_message(Entry{5, GoneEntry{id(1), GoneCause::could_not_follow, id(2)}}));
  return frames;
}

/// Whatever is parsed from a proper prefix, or with a byte more, would be two meanings for one frame.
template <class Parse>
void expect_exact(const Bytes& frame, Parse parse) {
  ASSERT_TRUE(parse(frame).has_value());
  // Large frames: every byte near the ends, and samples of the middle.
  for (std::size_t size = 0; size < frame.size(); size += (size < 128 || size + 128 > frame.size()) ? 1 : 61) {
    EXPECT_FALSE(parse(ByteView(frame).first(size)).has_value()) << size << " of " << frame.size();
  }
  Bytes longer = frame;
  longer.push_back(0);
  const auto result = parse(longer);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error(), Error(bytes_trailing));
}

TEST(DeliveryMessages, EveryClientMessageComesBackAsItWasAndNoPrefixOfItDoes) {
  for (const Bytes& frame : client_frames()) {
    expect_exact(frame, parse_client_message);
    EXPECT_EQ(write_client_message(*parse_client_message(frame)), frame);
  }
}

TEST(DeliveryMessages, EveryServerMessageComesBackAsItWasAndNoPrefixOfItDoes) {
  for (const Bytes& frame : server_frames()) {
    expect_exact(frame, parse_server_message);
    EXPECT_EQ(write_server_message(*parse_server_message(frame)), frame);
  }
}

TEST(DeliveryMessages, TheBytesAreThoseOfTheProtocol) {
  EXPECT_EQ(to_hex(write_client_message(Ack{258})), "020000000000000102");
  EXPECT_EQ(to_hex(write_client_message(Commit{1, 2, {0xaa}, {}})), "040000000000000001000000000000000201aa00");
  EXPECT_EQ(to_hex(write_client_message(Application{{0xaa, 0xbb}})), "050002aabb");
  EXPECT_EQ(to_hex(write_client_message(Application{{0xaa, 0xbb}, {id(0xee)}})), "0510eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee02aabb");
  EXPECT_EQ(to_hex(write_client_message(Goodbye{})), "06");
  Hello hello;
  hello.room = "ab";
  hello.key_package = {1, 2, 3};
  hello.cursor = 9;
  EXPECT_EQ(to_hex(write_client_message(std::move(hello))),
            "010004"
            "026162"
            "03010203"
            "00000000000000000000000000000000"
            "0000000000000009");
  EXPECT_EQ(to_hex(write_server_message(Rejected{1, 2, Rejected::Reason::not_member})), "430000000000000001000000000000000202");
  EXPECT_EQ(to_hex(write_server_message(Entry{7, GoneEntry{id(0xee), GoneCause::goodbye}})),
            "42000000000000000702eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee01");
  EXPECT_EQ(to_hex(write_server_message(Ready{true, 3, 10'000, {}})),
            "4101000000000000000300002710"
            "0000000000000000000000000000000000"
            "0000"
            "0000000000000000000000000000000000000000000000000000000000000000"
            "00");
}

TEST(DeliveryMessages, FieldsArriveInTheirPlaces) {
  const auto parsed = parse_server_message(server_frames()[0]);
  const auto& ready = std::get<Ready>(*parsed);
  EXPECT_FALSE(ready.resumed);
  EXPECT_EQ(ready.head, 9u);
  EXPECT_EQ(ready.grace_ms, 10'000u);
  EXPECT_EQ(ready.snapshot, snapshot());
  const auto commit = std::get<Commit>(*parse_client_message(client_frames()[3]));
  EXPECT_EQ(commit.era, 3u);
  EXPECT_EQ(commit.epoch, 4u);
  EXPECT_EQ(commit.commit.size(), 20'000u);
  EXPECT_EQ(commit.welcome.size(), 40'000u);
}

TEST(DeliveryMessages, ADirectionDoesNotTakeTheOthersMessages) {
  for (const Bytes& frame : server_frames()) EXPECT_FALSE(parse_client_message(frame).has_value());
  for (const Bytes& frame : client_frames()) EXPECT_FALSE(parse_server_message(frame).has_value());
}

TEST(DeliveryMessages, UnknownTypesAreRefused) {
  for (int type = 0; type < 256; ++type) {
    if (type >= 1 && type <= 7) continue;
    EXPECT_EQ(parse_client_message(Bytes{static_cast<std::uint8_t>(type)}).error(), Error(message_unknown_type));
  }
  Bytes entry = server_frames()[3];
  entry[9] = 5;
  EXPECT_EQ(parse_server_message(entry).error(), Error(message_unknown_type));
  entry[9] = 0;
  EXPECT_EQ(parse_server_message(entry).error(), Error(message_unknown_type));
  EXPECT_FALSE(parse_client_message({}).has_value());
}

TEST(DeliveryMessages, RoomNamesHaveTheirAlphabetAndLength) {
  EXPECT_TRUE(is_room_name("a"));
  EXPECT_TRUE(is_room_name("team-7"));
  EXPECT_TRUE(is_room_name(std::string(64, 'z')));
  for (const std::string& bad : {std::string(), std::string(65, 'z'), std::string("A"), std::string("a b"), std::string("a/b"),
                                 std::string("a_b"), std::string("\xc3\xa4"), std::string("a\0b", 3), std::string("..")}) {
    EXPECT_FALSE(is_room_name(bad)) << bad;
  }
  Bytes frame = write_client_message(hello_of("abc"));
  frame[4] = 'A';
  EXPECT_EQ(parse_client_message(frame).error(), Error(message_bad_field));
}

TEST(DeliveryMessages, PartsBeyondTheirBoundAreRefused) {
  EXPECT_TRUE(parse_client_message(write_client_message(hello_of("r", max_key_package_size))).has_value());
  EXPECT_LE(write_client_message(hello_of(std::string(64, 'r'), max_key_package_size)).size(), max_hello_frame_size);

  const auto with_vector = [](std::uint8_t type, std::size_t prefix, std::uint32_t size) {
    Bytes frame = filled(1 + prefix, 0);
    frame[0] = type;
    ByteWriter writer;
    writer.u32(0x80000000U | size);
    frame.insert(frame.end(), writer.view().begin(), writer.view().end());
    frame.resize(frame.size() + size);
    return frame;
  };
  EXPECT_EQ(parse_client_message(with_vector(3, 0, max_group_info_size + 1)).error(), Error(message_too_large));
  EXPECT_EQ(parse_client_message(with_vector(5, 1, max_application_size + 1)).error(), Error(message_too_large));
  EXPECT_TRUE(parse_client_message(with_vector(5, 1, max_application_size)).has_value());
  const auto to = [](std::size_t bytes) {
    Bytes frame{5, static_cast<std::uint8_t>(0x40 | bytes >> 8), static_cast<std::uint8_t>(bytes)};
    frame.resize(frame.size() + bytes);
    frame.insert(frame.end(), {1, 0xaa});
    return frame;
  };
  EXPECT_TRUE(parse_client_message(to(max_recipients * IncarnationId::size)).has_value());
  EXPECT_EQ(parse_client_message(to((max_recipients + 1) * IncarnationId::size)).error(), Error(message_too_large));
  EXPECT_EQ(parse_client_message(to(8 * IncarnationId::size + 1)).error(), Error(message_bad_field));
  EXPECT_EQ(parse_client_message(filled(max_frame_size + 1)).error(), Error(message_too_large));
  EXPECT_EQ(parse_server_message(filled(max_frame_size + 1)).error(), Error(message_too_large));
}

TEST(DeliveryMessages, CommitAndWelcomeShareTheirBound) {
  const Bytes largest = write_client_message(Commit{~0ULL, ~0ULL, filled(30'000), filled(max_handshake_size - 30'000)});
  EXPECT_TRUE(parse_client_message(largest).has_value());
  // The entry adds index, type and sender, and still fits a frame.
  const Bytes entry = write_server_message(Entry{~0ULL, CommitEntry{~0ULL, ~0ULL, id(1), filled(30'000), filled(max_handshake_size - 30'000)}});
  EXPECT_LE(entry.size(), max_frame_size);
  EXPECT_TRUE(parse_server_message(entry).has_value());

  ByteWriter writer;
  writer.u8(4);
  writer.u64(0);
  writer.u64(0);
  writer.u32(0x80000000U | 30'000);
  writer.bytes(filled(30'000));
  writer.u32(0x80000000U | (max_handshake_size - 30'000 + 1));
  writer.bytes(filled(max_handshake_size - 30'000 + 1));
  EXPECT_EQ(parse_client_message(writer.view()).error(), Error(message_too_large));
}

TEST(DeliveryMessages, TheLargestSnapshotFitsAFrameAndItsPartsDo) {
  Snapshot full{true, ~0ULL, ~0ULL, std::vector(max_snapshot_members, id(1)), std::vector(max_snapshot_members, id(1)), {}, {}};
  for (std::size_t left = max_waiting_part; left > 1020;) {
    full.waiting.push_back({id(2), filled(1000)});
    left -= 16 + 2 + 1000;
  }
  const Bytes frame = write_server_message(Ready{false, 1, 1, full});
  EXPECT_LE(frame.size(), max_frame_size);
  EXPECT_EQ(std::get<Ready>(*parse_server_message(frame)).snapshot, full);
  const Bytes part = write_server_message(WaitingPart{full.waiting});
  EXPECT_LE(part.size(), max_frame_size);
  EXPECT_EQ(std::get<WaitingPart>(*parse_server_message(part)).waiting, full.waiting);
}

TEST(DeliveryMessages, AStoreTakesTheLargestSnapshotAndNoLarger) {
  Snapshot full{true, 1, 1, {id(1)}, {}, {}, std::vector(max_waiting, Waiting{id(2), filled(max_key_package_size)})};
  const Bytes bytes = write_snapshot(full);
  EXPECT_EQ(*parse_snapshot(bytes), full);
  // One more than may wait, in a frame.
  ByteWriter one;
  one.bytes(id(3).view());
  one.u8(1);
  one.u8(7);
  ByteWriter frame;
  frame.u8(71);
  frame.u16(static_cast<std::uint16_t>(0x4000U | one.size() * (max_waiting + 1)));
  for (std::size_t i = 0; i <= max_waiting; ++i) frame.bytes(one.view());
  EXPECT_EQ(parse_server_message(frame.view()).error(), Error(message_too_large));
}

TEST(DeliveryMessages, APieceOfATreeIsWithinTheTreeAndTheBounds) {
  EXPECT_TRUE(parse_server_message(write_server_message(TreePart{1, max_ratchet_tree_size, filled(max_tree_part)})).has_value());
  Bytes frame = write_server_message(TreePart{1, 5, filled(5)});
  frame[12] = 4; // the whole is smaller than its piece
  EXPECT_EQ(parse_server_message(frame).error(), Error(message_bad_field));
  frame[9] = 1; // the whole is larger than any
  EXPECT_EQ(parse_server_message(frame).error(), Error(message_too_large));
}

TEST(DeliveryMessages, TheDigestOfALogDependsOnEachEntryAndOnTheirOrder) {
  const Entry a{0, JoinEntry{id(1), filled(9)}};
  const Entry b{1, GoneEntry{id(1), GoneCause::goodbye}};
  const LogDigest ab = next_log_digest(next_log_digest({}, a), b);
  EXPECT_EQ(ab, next_log_digest(next_log_digest({}, a), b));
  EXPECT_NE(ab, next_log_digest(next_log_digest({}, b), a));
  EXPECT_NE(ab, next_log_digest(next_log_digest({}, a), Entry{1, GoneEntry{id(1), GoneCause::connection_lost}}));
  const LogPrefix prefix{77, ab};
  EXPECT_EQ(*parse_log_prefix(write_log_prefix(prefix)), prefix);
  EXPECT_FALSE(parse_log_prefix(Bytes(39)).has_value());
  EXPECT_FALSE(parse_log_prefix(Bytes(41)).has_value());
}

TEST(DeliveryMessages, LengthsInALongerFormThanNeededAreRefused) {
  // application with one byte, its length in two bytes, then in four.
  EXPECT_TRUE(parse_client_message(*from_hex("050001ff")).has_value());
  EXPECT_FALSE(parse_client_message(*from_hex("05004001ff")).has_value());
  EXPECT_FALSE(parse_client_message(*from_hex("050080000001ff")).has_value());
  EXPECT_FALSE(parse_client_message(*from_hex("0500c1ff")).has_value());
}

TEST(DeliveryMessages, EmptyMessagesAreRefusedWhereSomethingMustBe) {
  EXPECT_EQ(parse_client_message(*from_hex("0300")).error(), Error(message_bad_field));
  EXPECT_EQ(parse_client_message(*from_hex("050000")).error(), Error(message_bad_field));
  EXPECT_EQ(parse_client_message(*from_hex("04000000000000000000000000000000000000")).error(), Error(message_bad_field));
}

TEST(DeliveryMessages, ValuesOutsideOfTheirRangeAreRefused) {
  Bytes ready = server_frames()[1];
  ready[1] = 2;
  EXPECT_EQ(parse_server_message(ready).error(), Error(message_bad_field));
  for (const std::uint8_t reason : {std::uint8_t{0}, std::uint8_t{6}}) {
    Bytes rejected = server_frames()[6];
    rejected.back() = reason;
    EXPECT_EQ(parse_server_message(rejected).error(), Error(message_bad_field));
  }
  for (const std::uint8_t cause : {std::uint8_t{0}, std::uint8_t{6}}) {
    Bytes gone = server_frames()[3];
    gone.back() = cause;
    EXPECT_EQ(parse_server_message(gone).error(), Error(message_bad_field));
  }
  for (const std::uint8_t code : {std::uint8_t{0}, std::uint8_t{12}}) {
    Bytes error = server_frames()[8];
    error[2] = code;
    EXPECT_EQ(parse_server_message(error).error(), Error(message_bad_field));
  }
  Bytes present = server_frames()[9];
  present.back() = 2;
  EXPECT_EQ(parse_server_message(present).error(), Error(message_bad_field));
}

TEST(DeliveryMessages, ASnapshotWithoutAGroupHasNoMembers) {
  Bytes ready = write_server_message(Ready{false, 9, 10'000, {true, 0, 0, {id(1)}, {}, {}, {}}});
  ready[14] = 0;
  EXPECT_EQ(parse_server_message(ready).error(), Error(message_bad_field));
}

TEST(DeliveryMessages, AListOfIncarnationsIsWholeOnes) {
  EXPECT_FALSE(parse_snapshot(*from_hex("0100000000000000000000000000000000" "0f" "000102030405060708090a0b0c0d0e" "00" "0000000000000000000000000000000000000000000000000000000000000000" "00")).has_value());
  EXPECT_TRUE(parse_snapshot(*from_hex("0100000000000000000000000000000000" "10" "000102030405060708090a0b0c0d0e0f" "00" "0000000000000000000000000000000000000000000000000000000000000000" "00")).has_value());
}

TEST(DeliveryMessages, EachErrorHasItsCloseCode) {
  EXPECT_EQ(close_code(ErrorReason::malformed), 4400);
  EXPECT_EQ(close_code(ErrorReason::silent), 4408);
  EXPECT_EQ(close_code(ErrorReason::wrong_suite), 4400);
  EXPECT_EQ(close_code(ErrorReason::replaced), 4409);
  EXPECT_EQ(close_code(ErrorReason::gone), 4410);
  EXPECT_EQ(close_code(ErrorReason::too_large), 4413);
  EXPECT_EQ(close_code(ErrorReason::too_fast), 4429);
  EXPECT_EQ(close_code(ErrorReason::unavailable), 1012);
  EXPECT_EQ(close_code(ErrorReason::full), 1013);
}

} // namespace
} // namespace satsuma::signaling
