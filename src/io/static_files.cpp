#include "io/static_files.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/bytes.h"
#include "crypto/hash.h"

namespace satsuma::io {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_room_segment = 256; // a wrong name still gets the page, which explains what is wrong with it

std::string entity_tag(std::string_view content) {
  Bytes digest = crypto::hash(crypto::HashAlgorithm::sha256, as_bytes(content));
  digest.resize(12);
  return to_hex(digest);
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

} // namespace

std::string_view mime_type(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 21> types{{
      {"html", "text/html; charset=utf-8"},
      {"js", "text/javascript; charset=utf-8"},
      {"mjs", "text/javascript; charset=utf-8"},
      {"css", "text/css; charset=utf-8"},
      {"wasm", "application/wasm"},
      {"json", "application/json"},
      {"map", "application/json"},
      {"webmanifest", "application/manifest+json"},
      {"svg", "image/svg+xml"},
      {"png", "image/png"},
      {"jpg", "image/jpeg"},
      {"jpeg", "image/jpeg"},
      {"webp", "image/webp"},
      {"avif", "image/avif"},
      {"ico", "image/x-icon"},
      {"woff2", "font/woff2"},
      {"woff", "font/woff"},
      {"txt", "text/plain; charset=utf-8"},
      {"mp3", "audio/mpeg"},
      {"ogg", "audio/ogg"},
      {"wav", "audio/wav"},
  }};
  const std::size_t dot = name.rfind('.');
  if (dot != std::string_view::npos) {
    for (const auto& [extension, type] : types) {
      if (name.substr(dot + 1) == extension) return type;
    }
  }
  return "application/octet-stream";
}

bool accepts_brotli(std::string_view accept_encoding) {
  while (!accept_encoding.empty()) {
    const std::size_t comma = accept_encoding.find(',');
    std::string_view coding = trim(accept_encoding.substr(0, comma));
    accept_encoding = comma == std::string_view::npos ? std::string_view() : accept_encoding.substr(comma + 1);
    std::string_view weight;
    if (const std::size_t semicolon = coding.find(';'); semicolon != std::string_view::npos) {
      weight = trim(coding.substr(semicolon + 1));
      coding = trim(coding.substr(0, semicolon));
    }
    if (coding != "br") continue;
    // "q=0", "q=0.0", "q=0.000" mean: not acceptable.
    return !(weight.starts_with("q=0") && weight.find_first_of("123456789") == std::string_view::npos);
  }
  return false;
}

std::expected<StaticFiles, std::string> StaticFiles::load(const std::string& folder, std::size_t largest_file, std::size_t largest_total) {
  StaticFiles result;
  std::error_code error;
  const fs::path root = fs::canonical(folder, error);
  if (error || !fs::is_directory(root, error)) {
    return std::unexpected("The folder of the web page, " + folder + ", does not exist. Build the page (./run does) or name its folder with --web.");
  }
  std::map<std::string, std::string> contents;
  std::size_t total = 0;
  fs::recursive_directory_iterator walk(root, fs::directory_options::skip_permission_denied, error);
  for (; !error && walk != fs::recursive_directory_iterator(); walk.increment(error)) {
    const fs::path& path = walk->path();
    if (path.filename().string().starts_with('.')) {
      std::error_code ignored;
      if (walk->is_directory(ignored)) walk.disable_recursion_pending();
      continue;
    }
    std::error_code problem;
    if (walk->is_symlink(problem)) {
      const fs::path target = fs::canonical(path, problem);
      if (problem || !target.string().starts_with(root.string() + "/")) continue;
    }
    if (!walk->is_regular_file(problem) || problem) continue;
    const auto size = walk->file_size(problem);
    if (problem || size > largest_file) continue;
    total += size;
    if (total > largest_total) return std::unexpected("The folder of the web page, " + folder + ", holds too much to be kept in memory. Is it the right folder?");
    std::ifstream file(path, std::ios::binary);
    std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (file.bad()) return std::unexpected("Reading " + path.string() + " failed.");
    contents.emplace("/" + path.lexically_relative(root).generic_string(), std::move(content));
  }
  if (error) return std::unexpected("Reading the folder of the web page, " + folder + ", failed: " + error.message() + ".");

  for (auto& [path, content] : contents) {
    const bool sibling_of_another = path.ends_with(".br") && contents.contains(path.substr(0, path.size() - 3));
    if (sibling_of_another) continue;
    File file;
    file.etag = entity_tag(content);
    file.mime = mime_type(path);
    file.immutable = path.starts_with("/assets/"); // Vite names what is there after its content
    if (const auto compressed = contents.find(path + ".br"); compressed != contents.end() && compressed->second.size() < content.size()) {
      file.brotli = compressed->second;
    }
    file.content = content;
    result.files_.emplace(path, std::move(file));
  }
  return result;
}

const StaticFiles::File* StaticFiles::find(std::string_view path) const {
  std::string_view key = path;
  const bool room = path.starts_with("/r/") && path.size() > 3 && path.size() <= longest_room_segment && path.find('/', 3) == std::string_view::npos;
  if (path == "/" || room) key = "/index.html";
  const auto found = files_.find(key);
  return found == files_.end() ? nullptr : &found->second;
}

} // namespace satsuma::io
