#pragma once

#include <cstddef>
#include <expected>
#include <map>
#include <string>
#include <string_view>

namespace satsuma::io {

/// The built page, read into memory once: a lookup by the exact path of a request, so that no request ever touches the file system
/// and nothing outside the folder can be named.
class StaticFiles {
 public:
  struct File {
    std::string content;
    std::string brotli; ///< from a sibling "NAME.br"; empty: none
    std::string etag;   ///< without quotes
    std::string_view mime;
    bool immutable = false; ///< its name holds a hash of its content
  };

  StaticFiles() = default;
  /// Reads every regular file below `folder`; hidden files and links that lead out of it are passed over. The error is a sentence.
  static std::expected<StaticFiles, std::string> load(const std::string& folder, std::size_t largest_file, std::size_t largest_total);

  /// What a request for `path` gets ("/" and "/r/NAME" are the page itself), or nullptr.
  const File* find(std::string_view path) const;
  bool has_page() const { return files_.contains("/index.html"); }
  std::size_t size() const { return files_.size(); }

 private:
  std::map<std::string, File, std::less<>> files_;
};

/// The media type for a file's name, "application/octet-stream" when it is not known.
std::string_view mime_type(std::string_view name);

/// RFC 9110 s.12.5.3: whether the Accept-Encoding field admits `br` by name.
bool accepts_brotli(std::string_view accept_encoding);

} // namespace satsuma::io
