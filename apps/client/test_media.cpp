#include "test_media.h"

#include <opus.h>
#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <vpx/vpx_encoder.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace satsuma::client {

struct TestPattern::Codec {
  vpx_codec_ctx_t context{};
  vpx_codec_enc_cfg_t config{};
  vpx_image_t* image = nullptr;
  bool ready = false;
  ~Codec() {
    if (ready) vpx_codec_destroy(&context);
    if (image != nullptr) vpx_img_free(image);
  }
};

TestPattern::~TestPattern() = default;

std::unique_ptr<TestPattern> TestPattern::create(std::uint8_t hue) {
  std::unique_ptr<TestPattern> pattern(new TestPattern);
  pattern->hue_ = hue;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    pattern->codecs_[i] = std::make_unique<Codec>();
    Codec& c = *pattern->codecs_[i];
    vpx_codec_enc_cfg_t& config = c.config;
    if (vpx_codec_enc_config_default(vpx_codec_vp8_cx(), &config, 0) != VPX_CODEC_OK) return nullptr;
    config.g_w = layers[i].width;
    config.g_h = layers[i].height;
    config.g_timebase = {1, fps};
    config.g_threads = 1;
    config.g_error_resilient = VPX_ERROR_RESILIENT_DEFAULT;
    config.g_lag_in_frames = 0;
    config.rc_end_usage = VPX_CBR;
    config.rc_target_bitrate = layers[i].kbps;
    config.rc_dropframe_thresh = 0;
    // What is above the rate for a moment is made up for within a second.
    config.rc_buf_sz = 1000;
    config.rc_buf_initial_sz = 500;
    config.rc_buf_optimal_sz = 600;
    config.kf_mode = VPX_KF_AUTO;
    config.kf_max_dist = 3000; // key frames come when they are asked for
    if (vpx_codec_enc_init(&c.context, vpx_codec_vp8_cx(), &config, 0) != VPX_CODEC_OK) return nullptr;
    c.ready = true;
    vpx_codec_control_(&c.context, VP8E_SET_CPUUSED, -12); // realtime, and cheap
    vpx_codec_control_(&c.context, VP8E_SET_STATIC_THRESHOLD, 100);
    vpx_codec_control_(&c.context, VP8E_SET_MAX_INTRA_BITRATE_PCT, 500U); // of the mean frame
    c.image = vpx_img_alloc(nullptr, VPX_IMG_FMT_I420, layers[i].width, layers[i].height, 16);
    if (c.image == nullptr) return nullptr;
  }
  return pattern;
}

void TestPattern::draw() {
  constexpr unsigned width = layers.back().width, height = layers.back().height;
  vpx_image_t& image = *codecs_.back()->image;
  const auto t = static_cast<unsigned>(frame_);
  const auto bounce = [](unsigned at, unsigned range) { return at % (2 * range) < range ? at % range : range - at % range; };
  const unsigned box_x = bounce(t * 5, width - 80), box_y = bounce(t * 3, height - 80);
  for (unsigned y = 0; y < height; ++y) {
    std::uint8_t* const row = image.planes[VPX_PLANE_Y] + static_cast<std::ptrdiff_t>(y) * image.stride[VPX_PLANE_Y];
    for (unsigned x = 0; x < width; ++x) {
      const bool box = x >= box_x && x < box_x + 80 && y >= box_y && y < box_y + 80;
      row[x] = box ? std::uint8_t{235} : static_cast<std::uint8_t>(60 + ((x + 2 * t) / 40 % 8) * 14 + (y * 30 / height));
    }
  }
  for (unsigned y = 0; y < height / 2; ++y) {
    std::uint8_t* const u = image.planes[VPX_PLANE_U] + static_cast<std::ptrdiff_t>(y) * image.stride[VPX_PLANE_U];
    std::uint8_t* const v = image.planes[VPX_PLANE_V] + static_cast<std::ptrdiff_t>(y) * image.stride[VPX_PLANE_V];
    for (unsigned x = 0; x < width / 2; ++x) {
      const unsigned bar = (2 * x + 2 * t) / 40 % 8;
      u[x] = static_cast<std::uint8_t>(96 + (bar * 8 + hue_) % 64);
      v[x] = static_cast<std::uint8_t>(96 + (bar * 8 + hue_ * 3U) % 64);
    }
  }
}

namespace {
/// Half as wide and high: the mean of each four.
void halve(const vpx_image_t& from, vpx_image_t& to) {
  for (const int plane : {VPX_PLANE_Y, VPX_PLANE_U, VPX_PLANE_V}) {
    const unsigned shift = plane == VPX_PLANE_Y ? 0 : 1;
    const unsigned width = (to.d_w + shift) >> shift, height = (to.d_h + shift) >> shift;
    const unsigned last_row = ((from.d_h + shift) >> shift) - 1;
    for (unsigned y = 0; y < height; ++y) {
      const std::uint8_t* const upper = from.planes[plane] + static_cast<std::ptrdiff_t>(2 * y) * from.stride[plane];
      const std::uint8_t* const lower = from.planes[plane] + static_cast<std::ptrdiff_t>(std::min(2 * y + 1, last_row)) * from.stride[plane];
      std::uint8_t* const row = to.planes[plane] + static_cast<std::ptrdiff_t>(y) * to.stride[plane];
      for (unsigned x = 0; x < width; ++x) row[x] = static_cast<std::uint8_t>((upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1] + 2) / 4);
    }
  }
}
} // namespace

void TestPattern::advance() {
  draw();
  ++frame_;
  for (std::size_t i = layers.size() - 1; i > 0; --i) halve(*codecs_[i]->image, *codecs_[i - 1]->image);
}

ByteView TestPattern::encode(std::size_t layer, bool key_frame, std::int64_t bitrate) {
  Codec& c = *codecs_[layer];
  const auto kbps = static_cast<unsigned>(std::clamp<std::int64_t>(bitrate / 1000, 1, 100'000));
  // Not for every breath of the estimate.
  if (const unsigned now = c.config.rc_target_bitrate; kbps * 100 < now * 97 || kbps * 100 > now * 103) {
    c.config.rc_target_bitrate = kbps;
    vpx_codec_enc_config_set(&c.context, &c.config);
  }
  if (vpx_codec_encode(&c.context, c.image, static_cast<vpx_codec_pts_t>(frame_), 1, key_frame ? VPX_EFLAG_FORCE_KF : 0, VPX_DL_REALTIME) != VPX_CODEC_OK) return {};
  vpx_codec_iter_t iterator = nullptr;
  while (const vpx_codec_cx_pkt_t* packet = vpx_codec_get_cx_data(&c.context, &iterator))
    if (packet->kind == VPX_CODEC_CX_FRAME_PKT) return {static_cast<const std::uint8_t*>(packet->data.frame.buf), packet->data.frame.sz};
  return {};
}

struct TestTone::Codec {
  OpusEncoder* encoder = nullptr;
  std::int64_t bitrate = 0;
  std::vector<std::int16_t> samples;
  std::array<std::uint8_t, 1000> packet{};
  ~Codec() { opus_encoder_destroy(encoder); }
};

TestTone::~TestTone() = default;

std::unique_ptr<TestTone> TestTone::create(double hertz) {
  std::unique_ptr<TestTone> tone(new TestTone);
  tone->hertz_ = hertz;
  tone->codec_ = std::make_unique<Codec>();
  int error = 0;
  tone->codec_->encoder = opus_encoder_create(48000, 1, OPUS_APPLICATION_AUDIO, &error);
  if (error != OPUS_OK) return nullptr;
  return tone;
}

ByteView TestTone::next(const participant::SoundFormat& format, bool silent) {
  Codec& c = *codec_;
  if (c.bitrate != format.bitrate) opus_encoder_ctl(c.encoder, OPUS_SET_BITRATE(static_cast<opus_int32>(format.bitrate)));
  c.bitrate = format.bitrate;
  c.samples.resize(static_cast<std::size_t>(format.packet.count() * 48 / 1000));
  for (std::int16_t& sample : c.samples) {
    const double t = static_cast<double>(sample_++) / 48000;
    const double swell = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * 2 * t);
    sample = static_cast<std::int16_t>((silent ? 0 : 3000) * swell * std::sin(2 * std::numbers::pi * hertz_ * t));
  }
  const int size = opus_encode(c.encoder, c.samples.data(), static_cast<int>(c.samples.size()), c.packet.data(), static_cast<opus_int32>(c.packet.size()));
  return size > 0 ? ByteView(c.packet).first(static_cast<std::size_t>(size)) : ByteView();
}

struct PictureCheck::Codec {
  vpx_codec_ctx_t context{};
  bool ready = false;
  ~Codec() {
    if (ready) vpx_codec_destroy(&context);
  }
};

PictureCheck::PictureCheck() : codec_(std::make_unique<Codec>()) { codec_->ready = vpx_codec_dec_init(&codec_->context, vpx_codec_vp8_dx(), nullptr, 0) == VPX_CODEC_OK; }
PictureCheck::~PictureCheck() = default;

std::optional<PictureCheck::Picture> PictureCheck::decode(ByteView frame) {
  if (!codec_->ready || vpx_codec_decode(&codec_->context, frame.data(), static_cast<unsigned>(frame.size()), nullptr, 0) != VPX_CODEC_OK) return std::nullopt;
  vpx_codec_iter_t iterator = nullptr;
  const vpx_image_t* const image = vpx_codec_get_frame(&codec_->context, &iterator);
  if (image == nullptr) return std::nullopt;
  double sum = 0;
  for (unsigned y = 0; y < image->d_h; y += 4)
    for (unsigned x = 0; x < image->d_w; x += 4) sum += image->planes[VPX_PLANE_Y][static_cast<std::ptrdiff_t>(y) * image->stride[VPX_PLANE_Y] + static_cast<std::ptrdiff_t>(x)];
  const double count = static_cast<double>((image->d_h + 3) / 4) * static_cast<double>((image->d_w + 3) / 4);
  return Picture{image->d_w, image->d_h, count > 0 ? sum / count : 0};
}

struct SoundCheck::Codec {
  OpusDecoder* decoder = nullptr;
  std::array<float, 5760 * 2> samples{};
  ~Codec() { opus_decoder_destroy(decoder); }
};

SoundCheck::SoundCheck() : codec_(std::make_unique<Codec>()) {
  int error = 0;
  codec_->decoder = opus_decoder_create(48000, 2, &error);
}
SoundCheck::~SoundCheck() = default;

std::optional<double> SoundCheck::decode(ByteView packet) {
  if (codec_->decoder == nullptr) return std::nullopt;
  const int samples = opus_decode_float(codec_->decoder, packet.data(), static_cast<opus_int32>(packet.size()), codec_->samples.data(), 5760, 0);
  if (samples <= 0) return std::nullopt;
  double sum = 0;
  for (int i = 0; i < 2 * samples; ++i) sum += static_cast<double>(codec_->samples[static_cast<std::size_t>(i)]) * static_cast<double>(codec_->samples[static_cast<std::size_t>(i)]);
  return std::sqrt(sum / (2 * samples));
}

} // namespace satsuma::client
