#pragma once

namespace satsuma {

/// Mistakes that can be put into the code, to see that the explorer and the simulator notice them; spec/README.md says what each is and which
/// property it breaks. They exist only in programs compiled with SATSUMA_BUG_SWITCHES, never in one that people use: elsewhere SATSUMA_BUG
/// is the constant false. The names are those of the specification (spec/Committer.tla, Bugs).
#ifdef SATSUMA_BUG_SWITCHES
struct BugSwitches {
  bool merge_at_send = false;
  bool no_gate = false;
  bool welcome_before_acceptance = false;
  bool drop_own = false;
  bool commit_before_reading = false;
  bool genesis_forgotten = false;
  bool snapshot = false;
  bool socket_heartbeat = false;
  bool gone_may_commit = false;
  bool unchecked_adds = false;
  bool one_at_a_time = false;
  bool deaf_while_waiting = false;
  bool stays_after_removal = false;
};
inline BugSwitches bug_switches;
#define SATSUMA_BUG(name) (::satsuma::bug_switches.name)
#else
#define SATSUMA_BUG(name) false
#endif

} // namespace satsuma
