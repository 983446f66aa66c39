import type { Participant, ParticipantId } from "@satsuma/core";
import { AudioLines, Mic, MicOff, MonitorUp, Pin, PinOff, Video as VideoIcon, VideoOff, X } from "lucide-react";
import type { JSX } from "react";
import { Button } from "react-aria-components";

import { displayedName } from "../words.ts";
import { RefutedDevice } from "./RefutedDevice.tsx";

interface Props {
  readonly participants: readonly Participant[];
  /** Whose picture is large, whoever speaks. */
  readonly pinned: ParticipantId | null;
  readonly onPin: (id: ParticipantId | null) => void;
  readonly onClose: () => void;
}

export function Participants({ participants, pinned, onPin, onClose }: Props): JSX.Element {
  return (
    <aside className="panel" aria-label="Participants">
      <header className="dialog-header">
        <h2>Participants ({participants.length})</h2>
        <Button className="icon-button quiet" aria-label="Close the list of participants" onPress={onClose} autoFocus>
          <X size={18} aria-hidden="true" />
        </Button>
      </header>
      <ul className="participants">
        {participants.map((participant) => (
          <li key={participant.id}>
            <div>
              <span className="participant-name">
                <bdi>{displayedName(participant.name)}</bdi>
                {participant.isSelf && " (you)"}
              </span>
              <span className="hint">
                {participant.departed
                  ? "Has left; new keys without this person are on the way"
                  : participant.connected
                    ? "Connected"
                    : "Connection lost, waiting for the return"}{" "}
                · <Device participant={participant} />
              </span>
            </div>
            <span className="participant-state">
              {participant.speaking && <AudioLines size={16} role="img" aria-label="Speaking" className="speaks" />}
              {participant.screen.on && <MonitorUp size={16} role="img" aria-label="Shares a screen" />}
              {participant.camera.on ? <VideoIcon size={16} role="img" aria-label="Camera on" /> : <VideoOff size={16} role="img" aria-label="Camera off" />}
              {participant.microphone.on ? <Mic size={16} role="img" aria-label="Microphone on" /> : <MicOff size={16} role="img" aria-label="Microphone off" />}
              <Button
                className="icon-button quiet"
                aria-label={participant.id === pinned ? `Do not keep ${displayedName(participant.name)} large` : `Keep ${displayedName(participant.name)} large`}
                onPress={() => onPin(participant.id === pinned ? null : participant.id)}
              >
                {participant.id === pinned ? <PinOff size={16} aria-hidden="true" /> : <Pin size={16} aria-hidden="true" />}
              </Button>
            </span>
          </li>
        ))}
      </ul>
      <p className="hint">This list comes from the encrypted group itself, not from the server.</p>
    </aside>
  );
}

function Device({ participant }: { readonly participant: Participant }) {
  switch (participant.deviceProof) {
    case "pending":
      return "device is being checked";
    case "refuted":
      return (
        <span role="alert">
          <RefutedDevice />
        </span>
      );
    case "proven":
      return (
        <>
          device{" "}
          <code title="Fingerprint of this device's identity key: the same device shows the same one in each meeting">{participant.device.slice(0, 8)}</code>
        </>
      );
  }
}
