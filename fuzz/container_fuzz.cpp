// IVF and Ogg files: nothing read lies outside of the file, and reading ends.

#include <cstdlib>

#include "container/ivf.h"
#include "container/ogg_opus.h"

using namespace satsuma;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView file(data, size);
  if (auto ivf = container::IvfReader::open(file)) {
    std::size_t frames = 0;
    for (auto next = ivf->next(); next && *next; next = ivf->next()) {
      if ((*next)->data.data() < data || (*next)->data.data() + (*next)->data.size() > data + size) std::abort();
      static_cast<void>(container::vp8_size((*next)->data));
      if (++frames > size) std::abort();
    }
  }
  if (auto ogg = container::OggOpusReader::open(file)) {
    std::size_t bytes = 0;
    for (auto next = ogg->next(); next && *next; next = ogg->next()) {
      bytes += (*next)->size();
      if (bytes > size || container::opus_samples(**next) == 0) std::abort();
    }
  }
  // Without the checksum in the way: what the input holds as packets.
  container::OggOpusWriter writer(1, 1);
  Bytes made = writer.header();
  const ByteView packet = file.first(std::min<std::size_t>(size, 2000));
  const Bytes page = writer.packet(packet, 960);
  made.insert(made.end(), page.begin(), page.end());
  auto reader = container::OggOpusReader::open(made);
  if (!reader) std::abort();
  const auto next = reader->next();
  if (!next || next->has_value() != (container::opus_samples(packet) > 0 && !as_text(packet).starts_with("OpusTags"))) std::abort();
  return 0;
}
