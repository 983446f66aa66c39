------------------------------ MODULE Committer ------------------------------
(***************************************************************************)
(* One room: its delivery service, and the people who come and go. This is *)
(* docs/architecture.md as a machine: src/delivery/room_sequencer and      *)
(* src/call/committer do it, action by action; sim/explore walks those     *)
(* objects through the same states (README.md here tells how and what for).*)
(*                                                                         *)
(* "The committer is for efficiency, compare-and-set is for safety."       *)
(*                                                                         *)
(* Incarnations are numbered in the order in which they enter; who comes   *)
(* back is a new one. An MLS state has the name of its history: who made   *)
(* each of its commits, and with which fresh secrets. An epoch's number    *)
(* would call two states of a fork equal.                                  *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
  N,       \* so many incarnations may ever enter
  Warm,    \* so many of them are members at the start, in one group
  Budget,  \* so many faults may happen, of any kinds and in any order
  Faults,  \* which: "crash", "wedge", "suspect", "disconnect", "duplicate", "refresh"
  Bugs     \* mistakes to put in; each must break the property that README.md names

VARIABLES
  log,     \* the room's log, from the first entry to the last
  room,    \* what the log adds up to (delivery::Roster, and the MLS state it leads to)
  client,  \* what each incarnation holds
  uplink,  \* handshake messages of each that have not reached the service, oldest first
  entered, \* so many have entered
  faults   \* so many have happened
vars == <<log, room, client, uplink, entered, faults>>

Ids == 1..N
Has(bug) == bug \in Bugs

Range(s) == {s[k] : k \in 1..Len(s)}
RECURSIVE Without(_, _)
Without(s, gone) == IF s = <<>> THEN <<>>
                    ELSE IF Head(s) \in gone THEN Without(Tail(s), gone)
                    ELSE <<Head(s)>> \o Without(Tail(s), gone)
Place(s, x) == CHOOSE k \in 1..Len(s) : s[k] = x

-----------------------------------------------------------------------------
(* MLS, as far as it matters here. A state: its era (the log index of its   *)
(* genesis, as in docs/protocol.md), its history, and its tree, leaf by     *)
(* leaf, with 0 for a blank one. Epoch e has e + 1 commits in its history.  *)

NoState == [era |-> 0, history |-> <<>>, tree |-> <<>>]
Epoch(state) == Len(state.history) - 1
Members(state) == Range(state.tree) \ {0}

(* RFC 9420 s.12.1.1: who is added gets the leftmost blank leaf. *)
Sit(tree, who) ==
  IF 0 \in Range(tree)
  THEN [tree EXCEPT ![CHOOSE k \in 1..Len(tree) : tree[k] = 0 /\ \A j \in 1..(k - 1) : tree[j] # 0] = who]
  ELSE Append(tree, who)
RECURSIVE SitAll(_, _)
SitAll(tree, adds) == IF adds = <<>> THEN tree ELSE SitAll(Sit(tree, Head(adds)), Tail(adds))
RECURSIVE Trim(_)
Trim(tree) == IF tree # <<>> /\ tree[Len(tree)] = 0 THEN Trim(SubSeq(tree, 1, Len(tree) - 1)) ELSE tree
Blank(tree, removes) == Trim([k \in 1..Len(tree) |-> IF tree[k] \in removes THEN 0 ELSE tree[k]])

(* A message: a commit with its Welcome, or a genesis, which has no parent.   *)
(* `try` counts what its author made: each has fresh secrets, so two of them  *)
(* are never the same, whatever else stands in them.                          *)
NoMessage == [who |-> 0, try |-> 0, parent |-> NoState, adds |-> <<>>, removes |-> {}]
IsGenesis(m) == m.parent.history = <<>>
Result(m, index) ==
  IF IsGenesis(m)
  THEN [era |-> index, history |-> <<<<m.who, m.try>>>>, tree |-> <<m.who>>]
  ELSE [era |-> m.parent.era,
        history |-> Append(m.parent.history, <<m.who, m.try>>),
        tree |-> SitAll(Blank(m.parent.tree, m.removes), m.adds)]

-----------------------------------------------------------------------------
(* The room as a function of its log (delivery::Roster::apply). The index of *)
(* the first entry is 0 for the code and 1 for a sequence here.              *)

Entry(t, who) == [t |-> t, who |-> who, try |-> 0, adds |-> <<>>, removes |-> {}, state |-> NoState]
Decided(m, index) == [t |-> IF IsGenesis(m) THEN "genesis" ELSE "commit", who |-> m.who, try |-> m.try,
                      adds |-> m.adds, removes |-> m.removes, state |-> Result(m, index)]

LiveMembers == room.members \ room.gone
IsLive(i) == i \in LiveMembers \/ i \in Range(room.waiting)

AfterEntry(r, e) ==
  CASE e.t = "join"    -> [r EXCEPT !.waiting = Append(@, e.who)]
    [] e.t = "gone"    -> [r EXCEPT !.waiting = Without(@, {e.who}),
                                    !.gone = IF e.who \in r.members THEN @ \cup {e.who} ELSE @]
    [] e.t = "genesis" -> [state |-> e.state, members |-> {e.who}, gone |-> {},
                           waiting |-> Without(r.waiting, {e.who})]
    [] e.t = "commit"  -> [state |-> e.state,
                           members |-> (r.members \ e.removes) \cup Range(e.adds),
                           gone |-> r.gone \ e.removes,
                           waiting |-> Without(r.waiting, Range(e.adds))]

(* The gate (RoomSequencer::propose_commit, propose_genesis). It knows epochs by their numbers alone. *)
Refusal(m) ==
  IF IsGenesis(m)
  THEN CASE LiveMembers # {}               -> "not_present_epoch"
         [] m.who \notin Range(room.waiting) -> "not_member"
         [] OTHER                            -> "none"
  ELSE CASE ~Has("no_gate") /\ (m.parent.era # room.state.era \/ Epoch(m.parent) # Epoch(room.state)) -> "not_present_epoch"
         [] ~Has("gone_may_commit") /\ m.who \notin LiveMembers -> "not_member"
         [] ~Has("unchecked_adds") /\ ~(Range(m.adds) \subseteq Range(room.waiting)) -> "unasked_add"
         [] ~(m.removes \subseteq room.gone)                  -> "unlogged_remove"
         [] OTHER                                             -> "none"

(* Whether a message can never be accepted any more, and the refusal would tell its author nothing that the log does  *)
(* not. It may as well be lost at once, which keeps the states few.                                                   *)
Hopeless(r, m) ==
  /\ ~Has("no_gate")
  /\ IF IsGenesis(m)
     THEN m.who \in r.members
     ELSE m.parent.era # r.state.era \/ Epoch(m.parent) # Epoch(r.state)
RECURSIVE Hopeful(_, _)
Hopeful(r, s) == IF s = <<>> THEN <<>>
                 ELSE IF Hopeless(r, Head(s)) THEN Hopeful(r, Tail(s))
                 ELSE <<Head(s)>> \o Hopeful(r, Tail(s))

(* The log grows by one entry. *)
Logged(e) == /\ log' = Append(log, e)
             /\ room' = AfterEntry(room, e)

-----------------------------------------------------------------------------
(* A client (call::Committer and the part of ClientSession that holds MLS).  *)
(* phase: "none" before it enters; "waiting" and "member"; "out" once it has *)
(* read its own departure; "dead" and "wedged" when it does nothing any more *)
(* (a wedged one's socket still lives); "broken" when it cannot process the  *)
(* log, which must not happen.                                               *)

Nobody == [phase |-> "none", online |-> FALSE, cursor |-> 0, held |-> NoState, live |-> {}, gone |-> {}, waiting |-> <<>>,
           attempt |-> NoMessage, made |-> 0, refusals |-> 0, refresh |-> FALSE, first |-> {}]
Stopped(phase) == [Nobody EXCEPT !.phase = phase]
IsRunning(c) == c.phase \in {"waiting", "member"}
Running == {i \in Ids : IsRunning(client[i])}

(* Computed, never remembered: the oldest leaf of the roster that is not gone at this point of the log is the designated *)
(* committer, of rank 0. Among those who wait in a room without a live member the order is that of their joins.          *)
LiveLeaves(c) == Without(c.held.tree, c.gone \cup {0})
Order(c) == IF c.phase = "member" THEN LiveLeaves(c)
            ELSE IF c.live = {} THEN c.waiting ELSE <<>>
NoRank == 99
Rank(i, c) ==
  IF Has("snapshot") /\ c.phase = "member"
  \* As the original: whoever was in when I was let in has gone since, as far as I saw.
  THEN IF c.first = {} THEN 0 ELSE NoRank
  ELSE IF i \in Range(Order(c)) THEN Place(Order(c), i) - 1 ELSE NoRank

WantsChange(c) == IF c.phase = "member" THEN c.gone # {} \/ c.waiting # <<>> ELSE c.live = {}
MayAct(i, c) == IsRunning(c) /\ c.online /\ c.attempt = NoMessage /\ Rank(i, c) # NoRank
(* Those who come in soon after an epoch began come in together; a removal does not wait, nor does a founder. That the time to *)
(* gather has ended is a Timeout here, so it may end at any time.                                                         *)
Gathers(c) == c.phase = "member" /\ c.gone = {} /\ (Epoch(c.held) > 0 \/ c.held.era = 0)
(* What needs no timer: the designated committer, and the renewal of one's own leaf when nothing else is to be done. *)
ActsAtOnce(i, c) ==
  /\ MayAct(i, c)
  /\ c.refusals < 2
  /\ IF WantsChange(c) THEN Rank(i, c) = 0 /\ ~Gathers(c) ELSE c.refresh /\ c.phase = "member"

(* Everything that is pending, by value, in one commit. *)
Make(i, c) ==
  [c EXCEPT !.made = @ + 1,
            !.attempt = [who |-> i, try |-> c.made + 1,
                         parent |-> IF c.phase = "member" THEN c.held ELSE NoState,
                         adds |-> IF c.phase # "member" THEN <<>>
                                  ELSE IF Has("one_at_a_time") /\ c.waiting # <<>> THEN <<Head(c.waiting)>>
                                  ELSE c.waiting,
                         removes |-> IF c.phase = "member" THEN c.gone ELSE {}]]
MakeAndKeep(i, c) ==
  LET made == Make(i, c)
  IN IF Has("merge_at_send") /\ c.phase = "member"
     THEN [made EXCEPT !.held = Result(made.attempt, 0), !.gone = {}, !.waiting = <<>>]
     ELSE made
(* Committer::consider. *)
Consider(i, c) ==
  IF ActsAtOnce(i, c) THEN MakeAndKeep(i, c)
  ELSE IF /\ Has("commit_before_reading") /\ c.attempt # NoMessage /\ c.phase = "member" /\ c.online
          /\ Rank(i, c) = 0 /\ (Range(c.waiting) # Range(c.attempt.adds) \/ c.gone # c.attempt.removes)
  THEN MakeAndKeep(i, c)
  ELSE c

Forget(c) == [c EXCEPT !.attempt = NoMessage]
InEpoch(c, i, e) ==
  [Forget(c) EXCEPT !.phase = "member", !.held = e.state, !.live = {}, !.refusals = 0,
                    !.gone = @ \cap Members(e.state),
                    !.waiting = Without(@, Members(e.state)),
                    !.refresh = IF e.who = i THEN FALSE ELSE @,
                    !.first = IF ~Has("snapshot") THEN {}
                              ELSE IF c.phase = "member" THEN @
                              ELSE Range(LiveLeaves([held |-> e.state, gone |-> {i}]))]
(* What a client that adopted something before its acceptance does with the entries that led there. *)
IsPast(c, e) == /\ Has("merge_at_send") \/ Has("welcome_before_acceptance")
                /\ e.state.era = c.held.era /\ Len(e.state.history) <= Len(c.held.history)

(* One entry of the log is read. Members check what the gate checks, and hold an accepted commit only if it continues    *)
(* the state that they hold: that much MLS itself sees to.                                                               *)
Broken == Stopped("broken")
ReadJoin(c, e) == IF e.who \in Range(c.waiting) THEN c ELSE [c EXCEPT !.waiting = Append(@, e.who)]
ReadGone(i, c, e) ==
  LET left == [c EXCEPT !.waiting = Without(@, {e.who}), !.first = @ \ {e.who}]
  IN IF e.who = i /\ ~Has("stays_after_removal") THEN Stopped("out")
     ELSE IF c.phase = "member"
     THEN IF e.who \in Members(c.held) THEN [left EXCEPT !.gone = @ \cup {e.who}] ELSE left
     ELSE IF e.who \in c.live
     THEN [left EXCEPT !.live = @ \ {e.who}, !.gone = IF Has("deaf_while_waiting") THEN @ ELSE @ \cup {e.who}]
     ELSE left
Holds(c, e) == c.attempt # NoMessage /\ c.attempt.try = e.try
ReadGenesis(i, c, e) ==
  LET other == [c EXCEPT !.live = {e.who}, !.gone = {}, !.refusals = 0, !.waiting = Without(@, {e.who})]
  IN IF c.phase = "member" THEN Broken
     ELSE IF e.who # i THEN IF Has("genesis_forgotten") THEN Forget(other) ELSE other
     ELSE IF Holds(c, e) THEN [InEpoch(c, i, e) EXCEPT !.gone = {}] ELSE Broken
Continues(i, c, e) ==
  /\ e.state.era = c.held.era
  /\ SubSeq(e.state.history, 1, Len(e.state.history) - 1) = c.held.history
  /\ Range(e.adds) \subseteq Range(c.waiting) /\ e.removes \subseteq c.gone
  /\ e.who \in Range(LiveLeaves(c))
  /\ i \in Members(e.state) \/ Has("stays_after_removal")
  /\ e.who = i => Holds(c, e)
ReadCommit(i, c, e) ==
  IF c.phase = "member"
  THEN IF IsPast(c, e)
       THEN IF SubSeq(c.held.history, 1, Len(e.state.history)) = e.state.history THEN c ELSE Broken
       ELSE IF Continues(i, c, e) THEN InEpoch(c, i, e) ELSE Broken
  ELSE IF i \in Range(e.adds) THEN InEpoch(c, i, e)
  ELSE [c EXCEPT !.waiting = Without(@, Range(e.adds)), !.live = @ \cup (Range(e.adds) \ c.gone)]
ReadEntry(i, before, e) ==
  LET c == [before EXCEPT !.cursor = @ + 1]
  IN CASE e.t = "join"    -> ReadJoin(c, e)
       [] e.t = "gone"    -> ReadGone(i, c, e)
       [] e.t = "genesis" -> ReadGenesis(i, c, e)
       [] e.t = "commit"  -> ReadCommit(i, c, e)

(* Entry by entry; the committer may act after each. What is read while not online is the backlog of a reconnection. *)
RECURSIVE ReadUpTo(_, _, _)
ReadUpTo(i, c, end) ==
  IF ~IsRunning(c) \/ c.cursor = end THEN c
  ELSE ReadUpTo(i, Consider(i, ReadEntry(i, c, log[c.cursor + 1])), end)

(* Client i becomes c; what it made meanwhile goes up. *)
Sends(i, c) == c.attempt # NoMessage /\ c.attempt # client[i].attempt
Becomes(i, c, up) ==
  /\ client' = [client EXCEPT ![i] = c]
  /\ uplink' = [up EXCEPT ![i] = Hopeful(room', IF Sends(i, c) THEN Append(@, c.attempt) ELSE @)]
HopefulAll(r) == [i \in Ids |-> Hopeful(r, uplink[i])]

-----------------------------------------------------------------------------
(* What happens.                                                             *)

(* Someone enters: the service logs the join, and the client begins with the room as it was before that. What a client *)
(* does between these two changes nothing for anybody else, so it is one step.                                         *)
Enter(i) ==
  /\ entered < N /\ i = entered + 1
  /\ entered' = i
  /\ Logged(Entry("join", i))
  /\ LET snapshot == [Nobody EXCEPT !.phase = "waiting", !.online = TRUE, !.cursor = Len(log) + 1,
                        !.live = LiveMembers, !.gone = room.gone, !.waiting = Append(room.waiting, i)]
     IN Becomes(i, Consider(i, snapshot), uplink)
  /\ UNCHANGED faults

Read(i) ==
  /\ IsRunning(client[i]) /\ client[i].online /\ client[i].cursor < Len(log)
  /\ UNCHANGED <<log, room, entered, faults>>
  /\ Becomes(i, ReadUpTo(i, client[i], client[i].cursor + 1), uplink)

(* Rank r times T have passed, or the time to wait after repeated refusals. Timers of different clients run as they like. *)
Timeout(i) ==
  /\ MayAct(i, client[i]) /\ WantsChange(client[i])
  /\ UNCHANGED <<log, room, entered, faults>>
  /\ Becomes(i, MakeAndKeep(i, client[i]), uplink)

(* The service gets a message. A refusal travels behind the entries that were logged before it. Nobody else can tell whether   *)
(* the client reads all of that now or later, so it is one step. Of a refused commit only a refusal that is final frees   *)
(* its author: otherwise the log decides. A refused genesis is always free: no other copy of it is under way.                *)
Answered(i, m) ==
  LET c == ReadUpTo(i, client[i], Len(log))
      final == IsGenesis(m) \/ Refusal(m) \in {"unasked_add", "unlogged_remove"}
  IN IF ~client[i].online \/ ~IsRunning(c) \/ ~final \/ c.attempt # m THEN c
     ELSE Consider(i, [Forget(c) EXCEPT !.refusals = @ + 1])
Accept(m) ==
  /\ Logged(Decided(m, Len(log) + 1))
  /\ UNCHANGED client
Deliver(i) ==
  /\ uplink[i] # <<>>
  /\ UNCHANGED <<entered, faults>>
  /\ LET m == Head(uplink[i])
         rest == [uplink EXCEPT ![i] = Tail(@)]
     IN IF Refusal(m) = "none"
        THEN /\ Accept(m)
             /\ uplink' = [j \in Ids |-> Hopeful(room', rest[j])]
        ELSE /\ UNCHANGED <<log, room>>
             /\ IF IsRunning(client[i]) /\ client[i].online
                THEN Becomes(i, Answered(i, m), rest)
                ELSE uplink' = rest /\ UNCHANGED client

(* The service finds that a client does nothing any more: the goodbye, the lost connection after its grace time, or the   *)
(* MLS engine that no longer acknowledges.                                                                            *)
Notices(i) == \/ client[i].phase = "dead"
              \/ client[i].phase = "wedged" /\ ~Has("socket_heartbeat")
Depart(i) ==
  /\ IsLive(i)
  /\ Logged(Entry("gone", i))
  /\ uplink' = HopefulAll(room')
  /\ UNCHANGED <<client, entered>>
Notice(i) == Notices(i) /\ Depart(i) /\ UNCHANGED faults
GraceEnds(i) == IsRunning(client[i]) /\ ~client[i].online /\ Depart(i) /\ UNCHANGED faults

(* A client that lost its connection continues at its cursor. What was under way on the old connection is lost now, if   *)
(* the service did not take it before; so it sends the same bytes again, after it has read what it missed.            *)
Reconnect(i) ==
  /\ IsRunning(client[i]) /\ ~client[i].online
  /\ UNCHANGED <<log, room, entered, faults>>
  /\ LET c == ReadUpTo(i, client[i], Len(log))
         back == Consider(i, [c EXCEPT !.online = IsRunning(c)])
     IN /\ client' = [client EXCEPT ![i] = back]
        /\ uplink' = [uplink EXCEPT ![i] = IF back.attempt = NoMessage THEN <<>> ELSE Hopeful(room, <<back.attempt>>)]

(* Faults. *)
Fault(kind) == kind \in Faults /\ faults < Budget /\ faults' = faults + 1
(* Dies, or says goodbye. *)
Crash(i) ==
  /\ Fault("crash") /\ IsRunning(client[i])
  /\ client' = [client EXCEPT ![i] = Stopped("dead")]
  /\ UNCHANGED <<log, room, uplink, entered>>
Wedge(i) ==
  /\ Fault("wedge") /\ IsRunning(client[i])
  /\ client' = [client EXCEPT ![i] = Stopped("wedged")]
  /\ UNCHANGED <<log, room, uplink, entered>>
(* Declared gone though it is well. *)
Suspect(i) == Fault("suspect") /\ IsRunning(client[i]) /\ client[i].online /\ Depart(i)
Disconnect(i) ==
  /\ Fault("disconnect") /\ IsRunning(client[i]) /\ client[i].online
  /\ client' = [client EXCEPT ![i].online = FALSE]
  /\ UNCHANGED <<log, room, uplink, entered>>
(* The service gets a message, and gets it again. The answer to this copy reaches nobody. *)
Duplicate(i) ==
  /\ Fault("duplicate") /\ uplink[i] # <<>> /\ Refusal(Head(uplink[i])) = "none"
  /\ Accept(Head(uplink[i]))
  /\ uplink' = HopefulAll(room')
  /\ UNCHANGED entered
(* A member's leaf is due for renewal. *)
Refresh(i) ==
  /\ Fault("refresh") /\ client[i].phase = "member" /\ ~client[i].refresh
  /\ UNCHANGED <<log, room, entered>>
  /\ Becomes(i, Consider(i, [client[i] EXCEPT !.refresh = TRUE]), uplink)

(* Mistakes that are actions of their own. *)
DropOwn(i) ==
  /\ Has("drop_own") /\ client[i].phase = "member" /\ client[i].attempt # NoMessage
  /\ client' = [client EXCEPT ![i] = Forget(@)]
  /\ UNCHANGED <<log, room, uplink, entered, faults>>
EarlyWelcome(i) ==
  /\ Has("welcome_before_acceptance") /\ client[i].phase = "waiting"
  /\ \E j \in Ids : \E k \in 1..Len(uplink[j]) :
       /\ i \in Range(uplink[j][k].adds)
       /\ client' = [client EXCEPT ![i] =
            InEpoch(@, i, [who |-> j, state |-> Result(uplink[j][k], 0)])]
  /\ UNCHANGED <<log, room, uplink, entered, faults>>

Start ==
  [state |-> IF Warm = 0 THEN NoState
             ELSE [era |-> 0, history |-> <<<<1, 0>>>>, tree |-> [k \in 1..Warm |-> k]],
   members |-> 1..Warm, gone |-> {}, waiting |-> <<>>]
Init ==
  /\ log = <<>> /\ room = Start /\ entered = Warm /\ faults = 0
  /\ uplink = [i \in Ids |-> <<>>]
  /\ client = [i \in Ids |->
       IF i > Warm THEN Nobody
       ELSE [Nobody EXCEPT !.phase = "member", !.online = TRUE, !.held = Start.state,
                           !.first = IF Has("snapshot") THEN 1..(i - 1) ELSE {}]]

Step(i) == Read(i) \/ Timeout(i) \/ Deliver(i) \/ Notice(i) \/ Reconnect(i)
Next == \E i \in Ids :
  \/ Enter(i) \/ Step(i) \/ GraceEnds(i)
  \/ Crash(i) \/ Wedge(i) \/ Suspect(i) \/ Disconnect(i) \/ Duplicate(i) \/ Refresh(i)
  \/ DropOwn(i) \/ EarlyWelcome(i)

Spec == Init /\ [][Next]_vars
(* Nothing is delayed for ever. Nobody is obliged to come, to leave or to fail. *)
FairSpec == Spec /\ \A i \in Ids : /\ WF_vars(Read(i)) /\ WF_vars(Timeout(i)) /\ WF_vars(Deliver(i))
                                   /\ WF_vars(Notice(i)) /\ WF_vars(Reconnect(i))

-----------------------------------------------------------------------------
(* Safety.                                                                   *)

Decisions == {k \in 1..Len(log) : log[k].t \in {"genesis", "commit"}}
Before(k) == {j \in Decisions : j < k}
StateBefore(k) == IF Before(k) = {} THEN Start.state
                  ELSE log[CHOOSE j \in Before(k) : \A h \in Before(k) : h <= j].state
GoneBefore(k) == {log[j].who : j \in {h \in 1..(k - 1) : log[h].t = "gone"}}

(* S1: one accepted commit for each epoch. *)
OneCommitForEachEpoch ==
  \A j, k \in Decisions : j < k => ~(log[j].state.era = log[k].state.era /\ Epoch(log[j].state) = Epoch(log[k].state))
(* S2: what is accepted continues what was; or it starts anew when no live member is left. *)
OneChain ==
  \A k \in Decisions :
    IF log[k].t = "genesis" THEN Members(StateBefore(k)) \subseteq GoneBefore(k)
    ELSE SubSeq(log[k].state.history, 1, Epoch(log[k].state)) = StateBefore(k).history
(* S3: equal epoch, equal state. *)
Agreement ==
  \A i, j \in Ids :
    (client[i].phase = "member" /\ client[j].phase = "member" /\ client[i].held.era = client[j].held.era
      /\ Epoch(client[i].held) = Epoch(client[j].held))
    => client[i].held = client[j].held
(* S4: what a member holds is what the log says at its cursor. *)
HeldIsLogged ==
  \A i \in Ids : client[i].phase = "member" => client[i].held = StateBefore(client[i].cursor + 1)
(* S5: nobody holds a state in which it is not a member. *)
OnlyInsiders == \A i \in Ids : client[i].phase = "member" => i \in Members(client[i].held)
(* S6: nobody who is gone comes back. *)
NobodyComesBack ==
  \A k \in Decisions : Range(log[k].adds) \cap GoneBefore(k) = {} /\ (log[k].t = "genesis" => log[k].who \notin GoneBefore(k))
(* S7: nobody commits after its departure. *)
NoCommitFromTheGone == \A k \in Decisions : log[k].who \notin GoneBefore(k)
(* S8: adds of those who asked and are still there, removals of those who left. *)
OnlyWhatWasAsked ==
  \A k \in Decisions :
    /\ Range(log[k].adds) \subseteq {log[j].who : j \in {h \in 1..(k - 1) : log[h].t = "join"}} \ GoneBefore(k)
    /\ log[k].removes \subseteq GoneBefore(k)
(* S9: each finds its own accepted commit among what it still holds. *)
OwnIsHeld ==
  \A i \in Ids : IsRunning(client[i]) =>
    \A k \in (client[i].cursor + 1)..Len(log) :
      (log[k].t \in {"genesis", "commit"} /\ log[k].who = i)
      => (client[i].attempt # NoMessage /\ client[i].attempt.try = log[k].try)
(* S10: at most one undecided message of each; the gate cannot choose between two that its author made for one epoch. *)
OneAttempt ==
  \A i \in Ids : \A j, k \in 1..Len(uplink[i]) :
    (j # k /\ uplink[i][j].parent = uplink[i][k].parent) => uplink[i][j].try = uplink[i][k].try
(* S11: nobody is unable to go on. *)
NobodyBreaks == \A i \in Ids : client[i].phase # "broken"
(* S12: a join or a departure in the log is passed over by at most one accepted commit. *)
PassedOver(k) == {j \in (k + 1)..Len(log) :
  /\ log[j].t = "commit"
  /\ IF log[k].t = "join" THEN log[k].who \notin Members(log[j].state) /\ log[k].who \notin GoneBefore(j)
     ELSE log[k].who \in Members(log[j].state)}
BoundedOvertaking ==
  \A k \in 1..Len(log) : log[k].t \in {"join", "gone"} => Cardinality(PassedOver(k)) <= 1
(* S13: at the same place in the log all members know the same designated committer. *)
OneDesignated ==
  \A i, j \in Ids :
    (client[i].phase = "member" /\ client[j].phase = "member" /\ client[i].cursor = client[j].cursor)
    => LiveLeaves(client[i]) = LiveLeaves(client[j])
(* S14: when nothing is left to happen, everybody who is well is in one group, and nobody else is. No deadlock. *)
Converged ==
  /\ \A i \in Running : client[i].phase = "member" /\ client[i].held = room.state
  /\ Running # {} => Members(room.state) = Running
Idle(i) ==
  /\ ~(IsRunning(client[i]) /\ (~client[i].online \/ client[i].cursor < Len(log)))
  /\ ~(MayAct(i, client[i]) /\ WantsChange(client[i]))
  /\ uplink[i] = <<>>
  /\ ~(Notices(i) /\ IsLive(i))
QuietMeansConverged == (\A i \in Ids : Idle(i)) => Converged

(* Liveness, under FairSpec; Budget makes the faults finitely many. *)
(* L1: each who waits is let in, or stops. *)
EachIsAdmitted == \A i \in Ids : (client[i].phase = "waiting") ~> (client[i].phase # "waiting")
(* L2: each who stopped leaves the roster, unless nobody is there to do it. *)
EachLeaves == \A i \in Ids :
  (i \in room.members /\ client[i].phase \in {"dead", "wedged", "out"}) ~> (i \notin room.members \/ Running = {})
(* L3: in the end all agree. *)
InTheEndAllAgree == <>[]Converged
=============================================================================
