import type { Connection, Meeting, MeetingState, Participant, ParticipantId } from "@satsuma/core";
import { MessageSquare, MonitorUp, MonitorX, PhoneOff, Users } from "lucide-react";
import { useCallback, useEffect, useRef, useState, type JSX } from "react";
import { Button, Tooltip, TooltipTrigger } from "react-aria-components";

import { Brand } from "../components/Brand.tsx";
import { Chat } from "../components/Chat.tsx";
import { IconButton } from "../components/IconButton.tsx";
import { CopyLinkButton, type Invitation, InvitationBanner, useInvitation } from "../components/Invitation.tsx";
import { isOn, MediaButtons } from "../components/MediaButtons.tsx";
import { isMediaFailed, Notices } from "../components/Notices.tsx";
import { Participants } from "../components/Participants.tsx";
import { RefutedDevice } from "../components/RefutedDevice.tsx";
import { SafetyNumberButton } from "../components/SafetyNumber.tsx";
import { SettingsDialog } from "../components/SettingsDialog.tsx";
import { ShortcutsDialog } from "../components/ShortcutsDialog.tsx";
import { Tile } from "../components/Tile.tsx";
import { storeTellsLevels } from "../components/TellLevels.tsx";
import { Audio } from "../components/Video.tsx";
import { useAwakeScreen, useComings, useIsWide, useRefuted, useShortcuts, useStore, useUnread, useView } from "../hooks.ts";
import { rememberDevice } from "../remembered.ts";
import { chooseStage, placesFor } from "../stage.ts";
import { displayedName, overdueText, reasonText } from "../words.ts";

interface Props {
  readonly meeting: Meeting;
  /** Whoever shows the room ends the call then. */
  readonly onLeft: () => void;
  readonly onRetry: () => void;
}

export function Room({ meeting, onLeft, onRetry }: Props): JSX.Element {
  const state = useStore(meeting);
  const [panel, setPanel] = useState<"participants" | "chat" | null>(null);
  const watchLevel = useCallback(meeting.watchMicrophoneLevel.bind(meeting), [meeting]);
  const setView = useCallback(meeting.setView.bind(meeting), [meeting]);
  const stats = useCallback(meeting.stats.bind(meeting), [meeting]);
  const { local, participants, connection } = state;
  const sharing = isOn(local.screen);
  const [pinned, setPinned] = useState<ParticipantId | null>(null);
  const stage = useStage(state, pinned);
  const invitation = useInvitation(meeting);
  const { unread, latest } = useUnread(state.chat, panel === "chat");
  const refuted = useRefuted(participants);
  const comings = useComings(participants);
  const draft = useRef("");
  const participantsButton = useRef<HTMLButtonElement>(null);
  const chatButton = useRef<HTMLButtonElement>(null);
  const toggle = (which: typeof panel): void => setPanel(panel === which ? null : which);
  const closePanel = (): void => {
    (panel === "chat" ? chatButton : participantsButton).current?.focus();
    setPanel(null);
  };

  useEffect(() => {
    const goodbye = (): void => void meeting.leave();
    window.addEventListener("pagehide", goodbye);
    return () => window.removeEventListener("pagehide", goodbye);
  }, [meeting]);
  useEffect(() => {
    document.title = `${unread > 0 ? `(${String(unread)}) ` : ""}${state.room} – Satsuma`;
  }, [state.room, unread]);
  useAwakeScreen();
  useView(setView, participants, stage.people);
  useShortcuts({
    d: () => void meeting.setMicrophone(!isOn(local.microphone)),
    e: () => void meeting.setCamera(!isOn(local.camera)),
  });

  if (connection.status === "failed") {
    return (
      <div className="page">
        <header className="page-header">
          <Brand />
        </header>
        <main className="message-page" role="alert">
          <h1>{connection.error.message}</h1>
          <p>{connection.error.advice}</p>
          <Button className="primary-button" onPress={onRetry} autoFocus>
            Try again
          </Button>
        </main>
      </div>
    );
  }

  return (
    <div className="room">
      <header className="room-header">
        <Brand size={24} />
        <span className="room-name">{state.room}</span>
        <span className="spacer" />
        {state.safetyNumber !== null && <SafetyNumberButton safetyNumber={state.safetyNumber} people={participants.length} suite={state.suite} />}
      </header>
      <Announcement state={state} />
      <Banner state={state} invitation={invitation} />
      <div className="room-body">
        <main className="stage-area">
          {participants.length === 0 ? <Entrance connection={connection} /> : <Stage participants={participants} stage={stage} onMore={() => setPanel("participants")} />}
        </main>
        {panel === "participants" && <Participants participants={participants} pinned={pinned} onPin={setPinned} onClose={closePanel} />}
        {panel === "chat" && (
          <Chat
            messages={state.chat}
            comings={comings}
            refuted={refuted}
            draft={draft}
            canSend={connection.status === "in-room"}
            isWithheld={state.withheld}
            onSend={(text) => meeting.sendChat(text)}
            onClose={closePanel}
          />
        )}
      </div>
      <Notices meeting={meeting} state={state} />
      <nav className="toolbar" aria-label="Call controls">
        <MediaButtons
          microphone={local.microphone}
          camera={local.camera}
          onMicrophone={(on) => void meeting.setMicrophone(on)}
          onCamera={(on) => void meeting.setCamera(on)}
        />
        {canShareScreen && (
          <IconButton
            label={sharing ? "Stop sharing screen" : "Share screen"}
            active={sharing}
            onPress={() => void (sharing ? meeting.stopScreenShare() : meeting.startScreenShare())}
          >
            {sharing ? <MonitorX aria-hidden="true" /> : <MonitorUp aria-hidden="true" />}
          </IconButton>
        )}
        <IconButton label="Participants" buttonRef={participantsButton} active={panel === "participants"} expanded={panel === "participants"} onPress={() => toggle("participants")}>
          <Users aria-hidden="true" />
          {participants.length > 0 && (
            <span className="count" aria-hidden="true">
              {participants.length}
            </span>
          )}
        </IconButton>
        <IconButton label={unread === 0 ? "Chat" : `Chat, ${String(unread)} new`} buttonRef={chatButton} active={panel === "chat"} expanded={panel === "chat"} onPress={() => toggle("chat")}>
          <MessageSquare aria-hidden="true" />
          {unread > 0 && (
            <span className="count" aria-hidden="true">
              {unread > 99 ? "99+" : unread}
            </span>
          )}
        </IconButton>
        <CopyLinkButton invitation={invitation} />
        <SettingsDialog
          devices={state.devices}
          microphoneOn={local.microphone.status === "on"}
          watchLevel={watchLevel}
          stats={stats}
          nameOf={(id) => displayedName(participants.find((participant) => participant.id === id)?.name ?? "")}
          tellsLevels={state.audioLevels === "told"}
          onTellLevels={(told) => {
            storeTellsLevels(told);
            meeting.setAudioLevels(told ? "told" : "hidden");
          }}
          onChoose={(kind, id) => {
            rememberDevice(kind, id);
            void meeting.chooseDevice(kind, id);
          }}
        />
        <TooltipTrigger delay={500}>
          <Button className="leave-button" aria-label="Leave" onPress={onLeft}>
            <PhoneOff aria-hidden="true" /> <span className="leave-word">Leave</span>
          </Button>
          <Tooltip className="tooltip">Leave the call</Tooltip>
        </TooltipTrigger>
      </nav>
      <div className={latest === null ? "visually-hidden" : "toast message-toast"} role="status">
        {latest !== null && (
          <>
            <strong>
              <bdi>{displayedName(latest.name)}</bdi>
            </strong>{" "}
            {refuted.has(latest.sender) && (
              <>
                <RefutedDevice />:{" "}
              </>
            )}
            <bdi>{latest.text.slice(0, 200)}</bdi>
          </>
        )}
      </div>
      <ShortcutsDialog />
      {participants.map((participant) =>
        participant.isSelf || participant.microphone.stream === null ? null : (
          <Audio key={participant.id} stream={participant.microphone.stream} speaker={state.devices.chosen.speaker} />
        ),
      )}
    </div>
  );
}

// Phones' browsers have no such function.
const canShareScreen = "mediaDevices" in navigator && "getDisplayMedia" in navigator.mediaDevices;

/** From so many people on, who has the floor is shown larger. */
const crowd = 5;

interface StageState {
  readonly screens: readonly Participant[];
  readonly enlarged: string | null;
  /** Who has a tile. */
  readonly people: readonly string[];
}

/** Who is pinned is shown larger in any case, or else, among many, who has the floor. */
function useStage({ participants, mainSpeaker, lastSpeakers }: MeetingState, wanted: ParticipantId | null): StageState {
  const isWide = useIsWide();
  const before = useRef<readonly string[]>([]);
  const screens = participants.filter((participant) => participant.screen.on && participant.screen.stream !== null);
  const pinned = participants.find(({ id }) => id === wanted)?.id ?? null;
  const enlarged = screens.length > 0 ? null : (pinned ?? (participants.length >= crowd ? mainSpeaker : null));
  // Who has the floor may have begun before all of the others.
  const first = [pinned, mainSpeaker].filter((id) => id !== null);
  const spoke = [...new Set([...first, ...lastSpeakers])];
  const people = participants.map(({ id, isSelf, camera }) => ({ id, isSelf, hasPicture: camera.on }));
  before.current = chooseStage(before.current, people, spoke, placesFor(isWide, enlarged !== null));
  return { screens, enlarged, people: before.current };
}

interface StageProps {
  readonly participants: readonly Participant[];
  readonly stage: StageState;
  readonly onMore: () => void;
}

/** Screens first and large, people around; a grid of people otherwise. */
function Stage({ participants, stage: { screens, enlarged, people }, onMore }: StageProps): JSX.Element {
  const more = participants.length - people.length;
  const tiles = participants
    .filter(({ id }) => people.includes(id))
    .map((participant) => <Tile key={participant.id} participant={participant} source="camera" large={participant.id === enlarged} />);
  if (more > 0) {
    tiles.push(
      <Button key="more" className="tile more" onPress={onMore}>
        <strong>+{more}</strong>
        <span>more people. Who speaks comes to the front.</span>
      </Button>,
    );
  }
  if (screens.length === 0) {
    return (
      <div className={enlarged === null ? "grid" : "grid with-speaker"} data-count={Math.min(tiles.length + (enlarged === null ? 0 : 3), 12)}>
        {tiles}
      </div>
    );
  }
  return (
    <div className="presentation">
      <div className="screens">
        {screens.map((participant) => (
          <Tile key={participant.id} participant={participant} source="screen" />
        ))}
      </div>
      <div className="strip">{tiles}</div>
    </div>
  );
}

/** What is going on with the connection, as long as it is. */
function Banner({ state, invitation }: { readonly state: MeetingState; readonly invitation: Invitation }): JSX.Element | null {
  const { connection, participants, overdue } = state;
  switch (connection.status) {
    case "idle":
    case "connecting":
    case "waiting":
      return null;
    case "reconnecting":
      return (
        <div className="banner warning" role="status">
          <Spinner />
          <span>
            {connection.said === "" ? (
              "The connection to the server is gone."
            ) : (
              <SaidByServer words={connection.said} />
            )}{" "}
            Returning by itself{connection.attempt > 1 ? `, attempt ${String(connection.attempt)}` : ""}…
          </span>
        </div>
      );
    case "in-room":
      if (isMediaFailed(state)) {
        return (
          <div className="banner warning" role="status">
            Picture and sound do not get through. A firewall may be in the way: try another network.
          </div>
        );
      }
      if (overdue) {
        return (
          <div className="banner warning" role="status" data-overdue="">
            {overdueText}
          </div>
        );
      }
      if (participants.length === 1) {
        return <InvitationBanner invitation={invitation} />;
      }
      return null;
    case "left":
    case "failed":
      return null;
  }
}

/** Before there is anybody to show: what we wait for, and what to do if it lasts. */
function Entrance({ connection }: { readonly connection: Connection }): JSX.Element | null {
  if (connection.status !== "connecting" && connection.status !== "idle" && connection.status !== "waiting") return null;
  const reason = connection.status === "waiting" ? connection.reason : null;
  const refused = reason === "not-admitted" || reason === "no-secret";
  return (
    <div className="entrance" role="status">
      <Spinner />
      <h2>{connection.status !== "waiting" ? "Connecting…" : refused ? "Nobody has let you in yet" : reason === "empty" ? "Opening the room…" : "The others let you in…"}</h2>
      {connection.status === "connecting" && connection.said !== "" && (
        <p>
          <SaidByServer words={connection.said} /> This page tries again by itself.
        </p>
      )}
      {refused && (
        <>
          <p>If those inside have lost their connection, this settles by itself within half a minute.</p>
          <p>If it does not, the key in your link is not the one of this room: ask for the link again, and open the whole of it.</p>
        </>
      )}
    </div>
  );
}

function SaidByServer({ words }: { readonly words: string }): JSX.Element {
  return (
    <>
      The server says: “<bdi>{words}</bdi>”
    </>
  );
}

function Spinner(): JSX.Element {
  return <span className="spinner" aria-hidden="true" />;
}

/** Says who came and went, to eyes and to assistive technology. */
function Announcement({ state }: { readonly state: MeetingState }): JSX.Element {
  const number = state.safetyNumber;
  const changedAt = number?.changedAt ?? 0;
  const [shownFor, setShownFor] = useState(0);
  const first = useRef(true);
  useEffect(() => {
    if (changedAt === 0) return;
    if (first.current) {
      first.current = false;
      return;
    }
    setShownFor(changedAt);
    const timer = setTimeout(() => setShownFor(0), 5000);
    return () => clearTimeout(timer);
  }, [changedAt]);
  const visible = number !== null && shownFor === changedAt && changedAt !== 0;
  return (
    <div className={visible ? "announcement" : "visually-hidden"} role="status">
      {visible && `${reasonText(number.reason)}. New safety number.`}
    </div>
  );
}
