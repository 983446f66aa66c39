#pragma once

#ifdef SATSUMA_TEST_HOOKS

#include <cstdio>
#include <string>

#include "delivery/room_trace.h"

namespace satsuma::server {

/// Appends what happens in the rooms to a file, line by line, for satsuma_replay (sim/explore).
class RoomTraceFile {
 public:
  RoomTraceFile(const std::string& path, delivery::Store& store) : file_(std::fopen(path.c_str(), "a")), store_(store, trace_) {}
  ~RoomTraceFile() {
    if (file_ != nullptr) std::fclose(file_);
  }
  RoomTraceFile(const RoomTraceFile&) = delete;
  RoomTraceFile& operator=(const RoomTraceFile&) = delete;

  bool ok() const { return file_ != nullptr; }
  delivery::Store& store() { return store_; }
  delivery::RoomTrace& trace() { return trace_; }
  void flush() {
    while (const auto line = trace_.poll_line()) std::fprintf(file_, "%s\n", line->c_str());
    std::fflush(file_); // the test may kill the server
  }

 private:
  std::FILE* file_;
  delivery::RoomTrace trace_;
  delivery::TracingStore store_;
};

} // namespace satsuma::server

#endif
