#include "recording.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace satsuma::client {
namespace {

class RecordingTest : public testing::Test {
 protected:
  RecordingTest() { std::filesystem::create_directories(folder); }
  ~RecordingTest() override { std::filesystem::remove_all(folder); }

  /// RFC 6386 s.9.1: a key frame says its size; of a delta frame the first bit is set.
  static Bytes key(std::uint16_t width, std::uint16_t height) {
    return {0x10, 0, 0, 0x9d, 0x01, 0x2a, static_cast<std::uint8_t>(width), static_cast<std::uint8_t>(width >> 8), static_cast<std::uint8_t>(height), static_cast<std::uint8_t>(height >> 8)};
  }
  static participant::Frame frame(ByteView payload, std::uint32_t timestamp, bool after_gap = false) {
    participant::Frame out;
    out.source = signaling::Source::camera;
    out.timestamp = timestamp;
    out.key_frame = container::is_vp8_key_frame(payload);
    out.after_gap = after_gap;
    out.payload = payload;
    return out;
  }
  struct File {
    unsigned width = 0, height = 0;
    std::vector<std::uint64_t> times;
  };
  File read(const std::string& name) {
    std::ifstream in(folder + "/" + name, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
    File file;
    auto reader = container::IvfReader::open(bytes);
    EXPECT_TRUE(reader) << name;
    if (!reader) return file;
    file.width = bytes[12] + 256U * bytes[13];
    file.height = bytes[14] + 256U * bytes[15];
    for (auto next = reader->next(); next && *next; next = reader->next()) {
      if (file.times.empty()) {
        EXPECT_TRUE(container::is_vp8_key_frame((*next)->data)) << name;
        EXPECT_EQ(container::vp8_size((*next)->data)->width, file.width) << name;
      }
      file.times.push_back((*next)->timestamp);
    }
    return file;
  }

  std::string folder = testing::TempDir() + "satsuma-recording-" + std::to_string(::getpid());
  Bytes bytes;
  const Bytes delta{0x11, 0, 0, 1};
};

TEST_F(RecordingTest, WhenThePicturesSizeChangesAnotherFileBeginsAndTheTimeGoesOn) {
  using Times = std::vector<std::uint64_t>;
  {
    Recording recording(folder + "/Ada-camera", true, 1);
    recording.take(frame(delta, 500)); // nothing to begin with
    recording.take(frame(key(640, 360), 1000));
    recording.take(frame(delta, 4000));
    recording.take(frame(key(640, 360), 7000)); // the same size: the same file
    EXPECT_EQ(recording.file(), folder + "/Ada-camera.ivf");
    recording.take(frame(key(320, 180), 10000));
    EXPECT_EQ(recording.file(), folder + "/Ada-camera-2.ivf");
    recording.take(frame(delta, 13000));
    recording.take(frame(delta, 16000, true)); // after a gap: of no use until the next key frame
    recording.take(frame(key(640, 360), 19000));
    EXPECT_TRUE(recording.good());
  }
  const File one = read("Ada-camera.ivf"), two = read("Ada-camera-2.ivf"), three = read("Ada-camera-3.ivf");
  EXPECT_EQ(one.width, 640U);
  EXPECT_EQ(one.times, (Times{0, 3000, 6000}));
  EXPECT_EQ(two.width, 320U);
  EXPECT_EQ(two.height, 180U);
  EXPECT_EQ(two.times, (Times{9000, 12000}));
  EXPECT_EQ(three.width, 640U);
  EXPECT_EQ(three.times, (Times{18000}));
}

TEST_F(RecordingTest, WhoseKeyFrameCannotBeReadIsWrittenAgainFromTheNextOneOn) {
  const Bytes cut{0x10, 0, 0, 0x9d, 0x01};
  {
    Recording recording(folder + "/Ada-camera", true, 1);
    recording.take(frame(key(640, 360), 0));
    participant::Frame unreadable = frame(cut, 3000);
    unreadable.key_frame = true;
    recording.take(unreadable);
    recording.take(frame(delta, 6000)); // builds on it
    recording.take(frame(key(640, 360), 9000));
    recording.take(frame(delta, 12000));
  }
  EXPECT_EQ(read("Ada-camera.ivf").times, (std::vector<std::uint64_t>{0, 9000, 12000}));
}

TEST_F(RecordingTest, WhoChangesThePicturesSizeWithEachFrameFillsNoFolderWithFiles) {
  Recording recording(folder + "/Ada-camera", true, 1);
  for (unsigned i = 0; i < 3 * Recording::max_files; ++i) {
    EXPECT_EQ(recording.full(), i > Recording::max_files) << i;
    recording.take(frame(i % 2 == 0 ? key(640, 360) : key(320, 180), i * 3000));
  }
  EXPECT_TRUE(recording.full());
  EXPECT_TRUE(recording.good());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), static_cast<std::ptrdiff_t>(Recording::max_files));
}

TEST_F(RecordingTest, AFolderThatIsNotThereIsAFailureAndStaysOne) {
  Recording recording(folder + "/nowhere/Ada-camera", true, 1);
  EXPECT_FALSE(recording.good());
  recording.take(frame(key(640, 360), 0));
  recording.take(frame(key(320, 180), 3000));
  EXPECT_FALSE(recording.good());
}

} // namespace
} // namespace satsuma::client
