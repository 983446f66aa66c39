// The flat C ABI of the browser module. README.md beside this file explains the run loop and the events.
//
// - Handles are positive integers; 0 is never a handle. Results below 0 are the codes of enum SatsumaCode.
// - `now_us` is microseconds of any monotonic clock (performance.now() * 1000), as a double; it never goes back.
// - The module never keeps a pointer that was passed in. A pointer that it hands out is valid until the next call.
// - Any call may grow the memory: make typed-array views anew after each.
#pragma once

#include <cstdint>

#if defined(__wasm__)
#define SATSUMA_EXPORT(name) extern "C" __attribute__((export_name(#name), used))
#else
#define SATSUMA_EXPORT(name) extern "C"
#endif

using SatsumaHandle = std::uint32_t;

enum SatsumaCode : std::int32_t {
  satsuma_ok = 0,
  satsuma_bad_handle = -1,
  satsuma_bad_argument = -2, ///< a length, a context or a shell that does not exist
  satsuma_no_space = -3,     ///< the output does not fit; nothing was used up
  satsuma_bad_state = -4,    ///< for instance an application message before having entered
  satsuma_no_key = -10,      ///< protect: not in a group (yet). Drop the frame; never send it as it is
  satsuma_unknown_key = -11, ///< unprotect: a key we may get soon. Hold the frame (at most 1 s), try again at event `keys`
  satsuma_expired_key = -12, ///< unprotect: from an epoch whose overlap is over. Drop
  satsuma_replayed = -13,    ///< unprotect: seen before (padding probes repeat frames). Drop, say nothing
  satsuma_forged = -14,      ///< unprotect: authentication failed. Drop and count
  satsuma_malformed = -15,   ///< unprotect: not a frame of ours. Drop and count
  satsuma_exhausted = -16,   ///< protect: the counter of this key is used up; cannot happen in practice
  satsuma_passed_over = -17, ///< unprotect: far from all others after many forged ones, not opened. Drop and count
  satsuma_wrong_line = -18,  ///< unprotect: of another member than the receiver is for, not opened. Hold (at most 1 s, and nothing else for it), try again when the receiver is for another
};

enum SatsumaOutputKind : std::uint32_t {
  satsuma_output_binary = 1,    ///< payload: one binary WebSocket frame to send
  satsuma_output_event = 2,     ///< payload: UTF-8 JSON (README.md)
  satsuma_output_reconnect = 3, ///< payload: uint32 milliseconds. Close the socket, connect anew after that time
  satsuma_output_close = 4,     ///< no payload. Close the socket for good
};

/// What the frame is, and with it which clear bytes stand around the ciphertext (docs/protocol.md section 4).
enum SatsumaFrameKind : std::uint32_t {
  satsuma_frame_opus = 0,
  satsuma_frame_vp8_key = 1,
  satsuma_frame_vp8_delta = 2,
  satsuma_frame_vp9 = 3,
  satsuma_frame_av1_key = 4,
  satsuma_frame_av1_delta = 5,
  satsuma_frame_h264_key = 6,
  satsuma_frame_h264_delta = 7,
};
/// What a room encrypts with: chosen when it is made, named in its link after the secret (docs/protocol.md, section 1).
enum SatsumaSuite : std::uint32_t {
  satsuma_suite_standard = 0,    ///< no name in the link
  satsuma_suite_mandatory = 1,   ///< ".aes"
  satsuma_suite_b_128 = 2,       ///< ".b128"
  satsuma_suite_b_192 = 3,       ///< ".b192"
  satsuma_suite_post_quantum = 4, ///< ".pq"
};
/// A leaf that no frame can name.
enum : std::int32_t { satsuma_receiver_nobody = 0x1000 };
/// Audio has none; frames of video say by their first bytes which they have.
enum SatsumaShell : std::uint32_t { satsuma_shell_none = 0, satsuma_shell_video = 1 };

/// 2. Ask first, and refuse another.
SATSUMA_EXPORT(satsuma_abi_version) std::uint32_t satsuma_abi_version();
/// Memory inside the module for arguments and results; `size` at free is the one of alloc. 0 when `size` is 0 or above 16 MiB.
SATSUMA_EXPORT(satsuma_alloc) std::uint8_t* satsuma_alloc(std::uint32_t size);
/// Wipes and frees.
SATSUMA_EXPORT(satsuma_free) void satsuma_free(std::uint8_t* pointer, std::uint32_t size);

// --- the session -------------------------------------------------------------------------------------------

/// `room`: 1..64 of a-z 0-9 -. `secret`: the 16 bytes of the room secret, or 0 bytes if the link had none.
/// `device_seed`: 32 bytes, the Ed25519 seed of this device's long-term key (the page keeps it). `name`: UTF-8,
/// 0..64 bytes. `suite`: a SatsumaSuite, from the link. `unix_seconds`: the calendar time at `now_us`. Returns a handle or 0 for a bad argument.
SATSUMA_EXPORT(satsuma_session_new)
SatsumaHandle satsuma_session_new(const std::uint8_t* room, std::uint32_t room_size, const std::uint8_t* secret,
                                  std::uint32_t secret_size, const std::uint8_t* device_seed,
                                  std::uint32_t device_seed_size, const std::uint8_t* name, std::uint32_t name_size,
                                  std::uint32_t suite, double now_us, double unix_seconds);
/// Wipes every key. The senders and receivers of the session become bad handles.
SATSUMA_EXPORT(satsuma_session_free) void satsuma_session_free(SatsumaHandle session);

/// For a delivery service that only orders and does not follow the public tree: welcomes carry it. Before the first call of `connected`.
SATSUMA_EXPORT(satsuma_session_tree_in_welcomes) std::int32_t satsuma_session_tree_in_welcomes(SatsumaHandle session);

/// The WebSocket is open. The hello comes out of poll.
SATSUMA_EXPORT(satsuma_session_connected) std::int32_t satsuma_session_connected(SatsumaHandle session, double now_us);
/// The WebSocket is closed, by whomever.
SATSUMA_EXPORT(satsuma_session_disconnected) std::int32_t satsuma_session_disconnected(SatsumaHandle session, double now_us);
/// One binary WebSocket frame arrived. Never fails but for the handle: what the server does wrong becomes an event.
SATSUMA_EXPORT(satsuma_session_frame)
std::int32_t satsuma_session_frame(SatsumaHandle session, const std::uint8_t* bytes, std::uint32_t size, double now_us);
/// `satsuma_session_next_deadline` has come. Harmless when called too early.
SATSUMA_EXPORT(satsuma_session_timeout) std::int32_t satsuma_session_timeout(SatsumaHandle session, double now_us);
/// Leaving for good: goodbye and `close` come out of poll.
SATSUMA_EXPORT(satsuma_session_leave) std::int32_t satsuma_session_leave(SatsumaHandle session, double now_us);
/// Encrypts `json` (UTF-8, at most 16 KiB) for the members in `to`, whose incarnation ids of 16 bytes stand one behind the other, or without any for all others. satsuma_bad_state unless entered, or when somebody who is gone still holds the keys
/// after 15 s (`keys` has said `sending: null` then).
SATSUMA_EXPORT(satsuma_session_send_application)
std::int32_t satsuma_session_send_application(SatsumaHandle session, const std::uint8_t* json, std::uint32_t size, const std::uint8_t* to,
                                              std::uint32_t to_size, double now_us);
/// Microseconds on the clock of `now_us` at which to call satsuma_session_timeout, or -1 for never.
SATSUMA_EXPORT(satsuma_session_next_deadline) double satsuma_session_next_deadline(SatsumaHandle session);
/// The next output, or 0 when there is none: { uint32 kind; uint32 size; uint8 payload[size]; }, little endian,
/// 4-byte aligned, valid until the next call into the module. Poll until 0 after every call above.
SATSUMA_EXPORT(satsuma_session_poll) const std::uint8_t* satsuma_session_poll(SatsumaHandle session);

// --- media frames ------------------------------------------------------------------------------------------

/// Room that a protected frame may need; `kind` is a SatsumaFrameKind. 0 for one that does not exist.
SATSUMA_EXPORT(satsuma_protected_size) std::uint32_t satsuma_protected_size(std::uint32_t kind, std::uint32_t in_size);

/// `context`: 0 microphone, 1 camera, 2 screen, 3 screen audio. Two senders of one context share its counter, so no
/// nonce is used twice. The sender follows the session from epoch to epoch by itself.
SATSUMA_EXPORT(satsuma_sender_new) SatsumaHandle satsuma_sender_new(SatsumaHandle session, std::uint32_t context);
SATSUMA_EXPORT(satsuma_sender_free) void satsuma_sender_free(SatsumaHandle sender);
/// Encrypts one encoded frame. `kind` is a SatsumaFrameKind. `out` has `capacity` bytes, at least satsuma_protected_size, and
/// does not overlap `in`. Returns the size written, or a negative code.
SATSUMA_EXPORT(satsuma_frame_protect)
std::int32_t satsuma_frame_protect(SatsumaHandle sender, std::uint32_t kind, const std::uint8_t* in, std::uint32_t in_size,
                                   std::uint8_t* out, std::uint32_t capacity, double now_us);

/// All receivers of a session share keys and replay windows; one for each slot keeps its `last_` values apart, and what forged frames on it may cost. So a slot that is
/// given to another publication gets a new one.
SATSUMA_EXPORT(satsuma_receiver_new) SatsumaHandle satsuma_receiver_new(SatsumaHandle session);
SATSUMA_EXPORT(satsuma_receiver_free) void satsuma_receiver_free(SatsumaHandle receiver);
/// From now on it opens frames of the member at `leaf` alone: set it to whose publication the slot carries, or a member could use up another's counters by frames on a slot of its own.
/// -1, as at first: everybody's. satsuma_receiver_nobody: no frames, while that is not known.
SATSUMA_EXPORT(satsuma_receiver_set_leaf) std::int32_t satsuma_receiver_set_leaf(SatsumaHandle receiver, std::int32_t leaf);
/// Decrypts one frame. `shell` is a SatsumaShell. Returns the size written, or a negative code.
SATSUMA_EXPORT(satsuma_frame_unprotect)
std::int32_t satsuma_frame_unprotect(SatsumaHandle receiver, std::uint32_t shell, const std::uint8_t* in, std::uint32_t in_size,
                                     std::uint8_t* out, std::uint32_t capacity, double now_us);
/// Of the last frame that was decrypted: who sent it (MLS leaf index), and in which context. -1 before the first.
SATSUMA_EXPORT(satsuma_receiver_last_leaf) std::int32_t satsuma_receiver_last_leaf(SatsumaHandle receiver);
SATSUMA_EXPORT(satsuma_receiver_last_context) std::int32_t satsuma_receiver_last_context(SatsumaHandle receiver);
/// The epoch in which it was encrypted; -1 before the first.
SATSUMA_EXPORT(satsuma_receiver_last_epoch) double satsuma_receiver_last_epoch(SatsumaHandle receiver);
/// 1 if the last decrypted frame was a key frame by its authenticated shell, 0 if not, -1 without one (audio, VP9).
SATSUMA_EXPORT(satsuma_receiver_last_is_key) std::int32_t satsuma_receiver_last_is_key(SatsumaHandle receiver);
