#include "mls/wire/types.h"

namespace satsuma::mls {

Result<Extension> Extension::parse(ByteReader& reader) {
  Extension extension;
  SATSUMA_TRY(extension.type, reader.u16());
  SATSUMA_TRY(extension.data, codec::read_bytes(reader));
  return extension;
}

void Extension::write(ByteWriter& writer) const {
  writer.u16(type);
  codec::write_opaque(writer, data);
}

Result<Extensions> read_extensions(ByteReader& reader) {
  // More than a handful is nobody's wish, and the search for duplicates is quadratic.
  constexpr std::size_t max_extensions = 256;
  SATSUMA_TRY(Extensions extensions, codec::read_vector<Extension>(reader, max_extensions));
  for (std::size_t i = 0; i < extensions.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (extensions[i].type == extensions[j].type) return mls_extension_duplicate;
    }
  }
  return extensions;
}

void write_extensions(ByteWriter& writer, const Extensions& extensions) { codec::write_vector(writer, extensions); }

const Extension* find_extension(const Extensions& extensions, std::uint16_t type) {
  for (const Extension& extension : extensions) {
    if (extension.type == type) return &extension;
  }
  return nullptr;
}

} // namespace satsuma::mls
