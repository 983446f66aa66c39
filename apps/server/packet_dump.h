#pragma once

#ifdef SATSUMA_TEST_HOOKS

#include <cstdio>
#include <memory>
#include <mutex>
#include <string>

#include "sfu/packet_tap.h"

namespace satsuma::server {

/// Writes each packet as 4 bytes of length (big endian) and its bytes. Several media threads may share one.
class PacketDump final : public sfu::PacketTap {
 public:
  explicit PacketDump(const std::string& path) : file_(std::fopen(path.c_str(), "wb")) {}
  ~PacketDump() override {
    if (file_ != nullptr) std::fclose(file_);
  }
  PacketDump(const PacketDump&) = delete;
  PacketDump& operator=(const PacketDump&) = delete;

  bool ok() const { return file_ != nullptr; }
  void on_packet(ByteView rtp) override {
    const std::lock_guard lock(mutex_);
    const unsigned char size[4] = {static_cast<unsigned char>(rtp.size() >> 24), static_cast<unsigned char>(rtp.size() >> 16), static_cast<unsigned char>(rtp.size() >> 8),
                                   static_cast<unsigned char>(rtp.size())};
    std::fwrite(size, 1, sizeof size, file_);
    std::fwrite(rtp.data(), 1, rtp.size(), file_);
    std::fflush(file_); // the test reads while the server runs, or kills it
  }

 private:
  std::FILE* file_;
  std::mutex mutex_;
};

} // namespace satsuma::server

#endif
