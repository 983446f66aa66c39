#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "container/ivf.h"
#include "container/ogg_opus.h"
#include "participant/participant.h"

namespace satsuma::client {

/// What is received of one source, in files: sound as Ogg with Opus, pictures as IVF with VP8. An IVF names one size, and players show its pictures in that: when the
/// pictures' size changes, another file begins, `NAME-2.ivf`. Its times go on, so that they are the recording's and not the file's.
/// Who sends the pictures says their size: after `max_files` the recording ends where the next would begin.
class Recording {
 public:
  /// `path` without an ending. `serial` names the stream in an Ogg.
  Recording(std::string path, bool video, std::uint32_t serial) : path_(std::move(path)), video_(video), ogg_(serial, 2) { open(); }
  ~Recording();
  Recording(const Recording&) = delete;

  static constexpr unsigned max_files = 100;

  void take(const participant::Frame& frame);
  /// It has ended, with as many files as it may have.
  bool full() const { return full_; }
  bool good() const { return out_.good(); }
  /// The present file.
  std::string file() const;

 private:
  void open();
  void write(ByteView bytes) { out_.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())); }

  const std::string path_;
  const bool video_;
  std::ofstream out_;
  unsigned number_ = 0; ///< of the file, from 1
  bool first_ = false, waits_ = true, full_ = false;
  std::optional<container::Vp8Size> size_;
  container::OggOpusWriter ogg_;
  std::optional<Bytes> held_;
  std::uint64_t granule_ = 0, last_time_ = 0;
  std::uint32_t last_timestamp_ = 0;
};

} // namespace satsuma::client
