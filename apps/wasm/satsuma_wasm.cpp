#include "satsuma_wasm.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "call/client_session.h"
#include "call/event_json.h"

using namespace satsuma;

namespace {

constexpr std::uint32_t abi_version = 3;
constexpr std::uint32_t max_allocation = 16 * 1024 * 1024;
constexpr std::size_t max_sessions = 64;
constexpr std::size_t max_streams = 4096; // senders and receivers together, each slot of a page has one
static_assert(satsuma_receiver_nobody == call::Line::nobody);
constexpr double max_time = 9e15;         // microseconds that a double still counts one by one

/// WASI's random_get, which is crypto.getRandomValues in a browser.
class SystemRandom final : public RandomSource {
 public:
  void fill(MutableByteView out) override {
    constexpr std::size_t most_at_once = 256; // of getentropy
    while (!out.empty()) {
      const MutableByteView part = out.first(std::min(out.size(), most_at_once));
      SATSUMA_CHECK(getentropy(part.data(), part.size()) == 0);
      out = out.subspan(part.size());
    }
  }
};

struct Session {
  call::ClientSession session;
  TimePoint last{};

  /// Never back, whatever the page's clock does.
  TimePoint time(double now_us) {
    if (std::isfinite(now_us) && now_us >= 0 && now_us <= max_time) {
      last = std::max(last, TimePoint(Duration(static_cast<Duration::rep>(now_us))));
    }
    return last;
  }
};
struct Sender {
  SatsumaHandle session;
  call::StreamContext context;
};
struct Receiver {
  Receiver(SatsumaHandle of, ByteView seed) : session(of), line(seed) {}

  SatsumaHandle session;
  call::Line line;
  std::int32_t leaf = -1;
  std::int32_t context = -1;
  double epoch = -1;
  std::int32_t is_key = -1;
};

/// Everything that handles stand for. One thread, as the module has.
struct Module {
  SystemRandom random;
  SatsumaHandle last_handle = 0; // never given out twice
  std::map<SatsumaHandle, std::unique_ptr<Session>> sessions;
  std::map<SatsumaHandle, Sender> senders;
  std::map<SatsumaHandle, Receiver> receivers;
  std::vector<std::uint32_t> output; // words, for the alignment

  Session* session(SatsumaHandle handle) {
    const auto found = sessions.find(handle);
    return found == sessions.end() ? nullptr : found->second.get();
  }
  bool full() const { return senders.size() + receivers.size() >= max_streams; }
};

Module& module() {
  static Module instance;
  return instance;
}

ByteView view(const std::uint8_t* bytes, std::uint32_t size) { return size == 0 ? ByteView{} : ByteView(bytes, size); }

std::int32_t code_of(const Error& error) {
  if (error == Error(call::frame_no_key) || error == Error(sframe::sframe_no_key)) return satsuma_no_key;
  if (error == Error(call::frame_key_not_yet)) return satsuma_unknown_key;
  if (error == Error(call::frame_key_expired)) return satsuma_expired_key;
  if (error == Error(call::frame_wrong_line)) return satsuma_wrong_line;
  if (error == Error(sframe::sframe_replayed)) return satsuma_replayed;
  if (error == Error(sframe::sframe_passed_over)) return satsuma_passed_over;
  if (error == Error(sframe::sframe_malformed) || error == Error(call::digest_malformed)) return satsuma_malformed;
  if (error == Error(sframe::sframe_too_large)) return satsuma_no_space;
  if (error == Error(sframe::sframe_counter_exhausted)) return satsuma_exhausted;
  return satsuma_forged; // a wrong tag, a leaf where nobody sits, our own frames thrown back
}

const std::uint8_t* put_output(std::uint32_t kind, ByteView payload) {
  std::vector<std::uint32_t>& words = module().output;
  words.assign(2 + (payload.size() + 3) / 4, 0);
  words[0] = kind;
  words[1] = static_cast<std::uint32_t>(payload.size());
  if (!payload.empty()) std::memcpy(&words[2], payload.data(), payload.size());
  return reinterpret_cast<const std::uint8_t*>(words.data());
}

std::optional<sframe::Shell> shell_of(std::uint32_t frame_kind) {
  switch (frame_kind) {
  case satsuma_frame_opus: return sframe::Shell::none;
  case satsuma_frame_vp8_key: return sframe::Shell::vp8_key;
  case satsuma_frame_vp8_delta: return sframe::Shell::vp8_delta;
  case satsuma_frame_vp9: return sframe::Shell::none;
  case satsuma_frame_av1_key: return sframe::Shell::av1_key;
  case satsuma_frame_av1_delta: return sframe::Shell::av1_delta;
  case satsuma_frame_h264_key: return sframe::Shell::h264_key;
  case satsuma_frame_h264_delta: return sframe::Shell::h264_delta;
  default: return std::nullopt;
  }
}

template <class Action>
std::int32_t with_session(SatsumaHandle handle, Action action) {
  Session* session = module().session(handle);
  if (session == nullptr) return satsuma_bad_handle;
  return action(*session);
}

} // namespace

std::uint32_t satsuma_abi_version() { return abi_version; }

std::uint8_t* satsuma_alloc(std::uint32_t size) {
  if (size == 0 || size > max_allocation) return nullptr;
  return static_cast<std::uint8_t*>(std::malloc(size));
}

void satsuma_free(std::uint8_t* pointer, std::uint32_t size) {
  if (pointer == nullptr) return;
  wipe({pointer, size});
  std::free(pointer);
}

// --- the session

SatsumaHandle satsuma_session_new(const std::uint8_t* room, std::uint32_t room_size, const std::uint8_t* secret,
                                  std::uint32_t secret_size, const std::uint8_t* device_seed, std::uint32_t device_seed_size,
                                  const std::uint8_t* name, std::uint32_t name_size, std::uint32_t suite, double now_us,
                                  double unix_seconds) {
  Module& all = module();
  if (all.sessions.size() >= max_sessions) return 0;
  if (!std::isfinite(now_us) || now_us < 0 || now_us > max_time) return 0;
  if (!std::isfinite(unix_seconds) || unix_seconds < 0 || unix_seconds > 1e12) return 0;
  const auto room_suite = call::room_suite_from(suite);
  if (!room_suite) return 0;
  call::SessionConfig config;
  config.suite = *room_suite;
  config.room = as_text(view(room, room_size));
  config.secret = SecretBytes::copy_of(view(secret, secret_size));
  config.device_seed = SecretBytes::copy_of(view(device_seed, device_seed_size));
  config.name = as_text(view(name, name_size));
  const TimePoint now{Duration(static_cast<Duration::rep>(now_us))};
  auto session = call::ClientSession::create(std::move(config), now, static_cast<UnixSeconds>(unix_seconds), all.random);
  if (!session) return 0;
  all.sessions.emplace(++all.last_handle, std::make_unique<Session>(std::move(*session), now));
  return all.last_handle;
}

void satsuma_session_free(SatsumaHandle handle) {
  Module& all = module();
  all.sessions.erase(handle);
  std::erase_if(all.senders, [&](const auto& entry) { return entry.second.session == handle; });
  std::erase_if(all.receivers, [&](const auto& entry) { return entry.second.session == handle; });
}

std::int32_t satsuma_session_tree_in_welcomes(SatsumaHandle handle) {
  return with_session(handle, [](Session& session) {
    session.session.put_tree_in_welcomes();
    return satsuma_ok;
  });
}

std::int32_t satsuma_session_connected(SatsumaHandle handle, double now_us) {
  return with_session(handle, [&](Session& session) {
    session.session.handle_connected(session.time(now_us));
    return satsuma_ok;
  });
}

std::int32_t satsuma_session_disconnected(SatsumaHandle handle, double now_us) {
  return with_session(handle, [&](Session& session) {
    session.session.handle_disconnected(session.time(now_us));
    return satsuma_ok;
  });
}

std::int32_t satsuma_session_frame(SatsumaHandle handle, const std::uint8_t* bytes, std::uint32_t size, double now_us) {
  return with_session(handle, [&](Session& session) {
    session.session.handle_frame(session.time(now_us), view(bytes, size));
    return satsuma_ok;
  });
}

std::int32_t satsuma_session_timeout(SatsumaHandle handle, double now_us) {
  return with_session(handle, [&](Session& session) {
    session.session.handle_timeout(session.time(now_us));
    return satsuma_ok;
  });
}

std::int32_t satsuma_session_leave(SatsumaHandle handle, double now_us) {
  return with_session(handle, [&](Session& session) {
    session.session.leave(session.time(now_us));
    return satsuma_ok;
  });
}

std::int32_t satsuma_session_send_application(SatsumaHandle handle, const std::uint8_t* json, std::uint32_t size, const std::uint8_t* to,
                                              std::uint32_t to_size, double now_us) {
  return with_session(handle, [&](Session& session) {
    if (to_size % IncarnationId::size != 0) return satsuma_bad_argument;
    std::vector<IncarnationId> recipients(to_size / IncarnationId::size);
    for (std::size_t i = 0; i < recipients.size(); ++i) std::memcpy(recipients[i].bytes.data(), to + i * IncarnationId::size, IncarnationId::size);
    const auto sent = session.session.send_application(session.time(now_us), as_text(view(json, size)), std::move(recipients));
    if (sent) return satsuma_ok;
    return sent.error() == Error(call::session_message_too_large) ? satsuma_bad_argument : satsuma_bad_state;
  });
}

double satsuma_session_next_deadline(SatsumaHandle handle) {
  const Session* session = module().session(handle);
  if (session == nullptr) return -1;
  const auto deadline = session->session.next_deadline();
  return deadline ? static_cast<double>(deadline->time_since_epoch().count()) : -1;
}

const std::uint8_t* satsuma_session_poll(SatsumaHandle handle) {
  Session* session = module().session(handle);
  if (session == nullptr) return nullptr;
  const auto output = session->session.poll_output();
  if (!output) return nullptr;
  if (const auto* send = std::get_if<call::SendBinary>(&*output)) return put_output(satsuma_output_binary, send->frame);
  if (std::holds_alternative<call::Close>(*output)) return put_output(satsuma_output_close, {});
  if (const auto* reconnect = std::get_if<call::Reconnect>(&*output)) {
    const auto delay = static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(reconnect->delay).count());
    std::uint8_t bytes[4];
    std::memcpy(bytes, &delay, sizeof bytes); // WebAssembly is little endian
    return put_output(satsuma_output_reconnect, bytes);
  }
  return put_output(satsuma_output_event, as_bytes(call::event_json(*output)));
}

// --- media frames

std::uint32_t satsuma_protected_size(std::uint32_t kind, std::uint32_t in_size) {
  const auto shell = shell_of(kind);
  if (!shell || in_size > max_allocation) return 0;
  return static_cast<std::uint32_t>(call::ClientSession::max_protected_size(*shell, in_size));
}

SatsumaHandle satsuma_sender_new(SatsumaHandle session, std::uint32_t context) {
  Module& all = module();
  if (all.session(session) == nullptr || context >= call::stream_contexts || all.full()) return 0;
  all.senders.emplace(++all.last_handle, Sender{session, static_cast<call::StreamContext>(context)});
  return all.last_handle;
}

void satsuma_sender_free(SatsumaHandle sender) { module().senders.erase(sender); }

std::int32_t satsuma_frame_protect(SatsumaHandle handle, std::uint32_t kind, const std::uint8_t* in, std::uint32_t in_size,
                                   std::uint8_t* out, std::uint32_t capacity, double now_us) {
  Module& all = module();
  const auto sender = all.senders.find(handle);
  if (sender == all.senders.end()) return satsuma_bad_handle;
  Session* session = all.session(sender->second.session);
  if (session == nullptr) return satsuma_bad_handle;
  const auto shell = shell_of(kind);
  if (!shell || in_size > max_allocation) return satsuma_bad_argument;
  const auto written =
      session->session.protect(session->time(now_us), sender->second.context, *shell, view(in, in_size), {out, capacity});
  return written ? static_cast<std::int32_t>(written->size()) : code_of(written.error());
}

SatsumaHandle satsuma_receiver_new(SatsumaHandle session) {
  Module& all = module();
  if (all.session(session) == nullptr || all.full()) return 0;
  SecretArray<32> seed;
  all.random.fill(seed.mutable_view());
  all.receivers.try_emplace(++all.last_handle, session, seed.view());
  return all.last_handle;
}

void satsuma_receiver_free(SatsumaHandle receiver) { module().receivers.erase(receiver); }

std::int32_t satsuma_receiver_set_leaf(SatsumaHandle handle, std::int32_t leaf) {
  const auto receiver = module().receivers.find(handle);
  if (receiver == module().receivers.end()) return satsuma_bad_handle;
  if (leaf < -1) return satsuma_bad_argument;
  receiver->second.line.leaf = leaf < 0 ? std::nullopt : std::optional(static_cast<std::uint32_t>(leaf));
  return satsuma_ok;
}

std::int32_t satsuma_frame_unprotect(SatsumaHandle handle, std::uint32_t shell, const std::uint8_t* in, std::uint32_t in_size,
                                     std::uint8_t* out, std::uint32_t capacity, double now_us) {
  Module& all = module();
  const auto receiver = all.receivers.find(handle);
  if (receiver == all.receivers.end()) return satsuma_bad_handle;
  Session* session = all.session(receiver->second.session);
  if (session == nullptr) return satsuma_bad_handle;
  if (shell > satsuma_shell_video) return satsuma_bad_argument;
  if (capacity < in_size) return satsuma_no_space;
  const auto kind = shell == satsuma_shell_video ? sframe::ShellKind::video : sframe::ShellKind::none;
  const auto received = session->session.unprotect(session->time(now_us), receiver->second.line, kind, view(in, in_size), {out, capacity});
  if (!received) return code_of(received.error());
  receiver->second.leaf = static_cast<std::int32_t>(received->leaf);
  receiver->second.context = static_cast<std::int32_t>(received->context);
  receiver->second.epoch = static_cast<double>(received->epoch.epoch);
  receiver->second.is_key = received->key_frame ? (*received->key_frame ? 1 : 0) : -1;
  return static_cast<std::int32_t>(received->plaintext.size());
}

std::int32_t satsuma_receiver_last_leaf(SatsumaHandle receiver) {
  const auto found = module().receivers.find(receiver);
  return found == module().receivers.end() ? satsuma_bad_handle : found->second.leaf;
}

std::int32_t satsuma_receiver_last_context(SatsumaHandle receiver) {
  const auto found = module().receivers.find(receiver);
  return found == module().receivers.end() ? satsuma_bad_handle : found->second.context;
}

double satsuma_receiver_last_epoch(SatsumaHandle receiver) {
  const auto found = module().receivers.find(receiver);
  return found == module().receivers.end() ? double{satsuma_bad_handle} : found->second.epoch;
}

std::int32_t satsuma_receiver_last_is_key(SatsumaHandle receiver) {
  const auto found = module().receivers.find(receiver);
  return found == module().receivers.end() ? satsuma_bad_handle : found->second.is_key;
}
