#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "participant/sound_control.h"

/// Media made and looked at by this program itself, with libvpx and libopus.
namespace satsuma::client {

/// A moving pattern as VP8 in three sizes: bars that wander, a box that bounces, so that a frozen picture is seen at once.
class TestPattern {
 public:
  static constexpr unsigned fps = 25;
  struct Layer {
    unsigned width, height, kbps, least_kbps; ///< with less than the last it is no picture any more
  };
  /// From the smallest; each has half the width of the next.
  static constexpr std::array<Layer, 3> layers{{{160, 90, 60, 25}, {320, 180, 200, 80}, {640, 360, 600, 220}}};
  /// Null if libvpx fails. `hue` 0 to 255 tells several patterns apart.
  static std::unique_ptr<TestPattern> create(std::uint8_t hue);
  ~TestPattern();
  /// Draws the next picture.
  void advance();
  /// It, encoded, with so many bits a second in the mean; empty when the encoder left it out. Valid until the next call.
  ByteView encode(std::size_t layer, bool key_frame, std::int64_t bitrate);

 private:
  struct Codec;
  TestPattern() = default;
  void draw();
  std::array<std::unique_ptr<Codec>, layers.size()> codecs_;
  std::uint8_t hue_ = 0;
  std::uint64_t frame_ = 0;
};

/// A soft tone that swells twice a second, as Opus.
class TestTone {
 public:
  static std::unique_ptr<TestTone> create(double hertz);
  ~TestTone();
  ByteView next(const participant::SoundFormat& format, bool silent = false);

 private:
  struct Codec;
  TestTone() = default;
  std::unique_ptr<Codec> codec_;
  double hertz_ = 440;
  std::uint64_t sample_ = 0;
};

/// Decodes VP8, to know that what was received is a picture.
class PictureCheck {
 public:
  PictureCheck();
  ~PictureCheck();
  struct Picture {
    unsigned width = 0, height = 0;
    double brightness = 0; ///< mean of the luma, 0 to 255
  };
  /// Nothing when it cannot be decoded.
  std::optional<Picture> decode(ByteView frame);

 private:
  struct Codec;
  std::unique_ptr<Codec> codec_;
};

/// Decodes Opus, to know that what was received sounds.
class SoundCheck {
 public:
  SoundCheck();
  ~SoundCheck();
  /// Root of the mean square, 0 to 1.
  std::optional<double> decode(ByteView packet);

 private:
  struct Codec;
  std::unique_ptr<Codec> codec_;
};

} // namespace satsuma::client
