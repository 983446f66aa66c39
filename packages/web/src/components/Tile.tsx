import type { Participant } from "@satsuma/core";
import { AudioLines, LockKeyhole, MicOff, TriangleAlert, WifiOff } from "lucide-react";
import type { CSSProperties, JSX } from "react";

import { displayedName } from "../words.ts";
import { Video } from "./Video.tsx";

interface TileProps {
  readonly participant: Participant;
  readonly source: "camera" | "screen";
  readonly large?: boolean;
}

export function Tile({ participant, source, large = false }: TileProps): JSX.Element {
  const name = displayedName(participant.name);
  const { stream, on, proof } = participant[source];
  const shown = on && stream !== null ? stream : null;
  const title = source === "screen" ? `${name}: screen` : participant.isSelf ? `${name} (you)` : name;
  const speaks = source === "camera" && participant.speaking;
  return (
    <figure className={`tile ${source}${speaks ? " speaking" : ""}${large ? " large" : ""}`} data-speaking={speaks} aria-label={title} data-participant={participant.id} data-source={source} data-proof={proof}>
      {shown !== null ? (
        <Video stream={shown} mirrored={participant.isSelf && source === "camera"} contain={source === "screen"} label={`Picture of ${title}`} />
      ) : (
        <div className="tile-avatar" style={hueOf(participant.device)}>
          <span aria-hidden="true">{initials(name)}</span>
        </div>
      )}
      {participant.deviceProof === "refuted" && (
        <div className="tile-veil" role="alert">
          <TriangleAlert size={20} aria-hidden="true" /> Not the device that {name} claims to be
        </div>
      )}
      {proof === "forged" && (
        <div className="tile-veil" role="alert">
          <TriangleAlert size={20} aria-hidden="true" /> Forged: {name} did not send this
        </div>
      )}
      {!participant.connected && (
        <div className="tile-veil">
          <WifiOff size={20} aria-hidden="true" /> {participant.departed ? "Left" : "Connection lost"}
        </div>
      )}
      <figcaption>
        {source === "camera" && !participant.microphone.on && <MicOff size={15} aria-label="Microphone off" role="img" />}
        {speaks && <AudioLines size={15} aria-label="Speaking" role="img" />}
        <span className="tile-name">{title}</span>
        {proof === "encrypted" && shown !== null && (
          <LockKeyhole size={14} role="img" aria-label={participant.isSelf ? "Encrypted before it leaves" : `Decrypted with ${name}'s own key`} />
        )}
      </figcaption>
    </figure>
  );
}

function initials(name: string): string {
  const words = name.split(/\s+/).filter((word) => word !== "");
  return words
    .slice(0, 2)
    .map((word) => [...word][0]?.toUpperCase() ?? "")
    .join("");
}

// The device's fingerprint picks the colour: the same person looks the same in the next meeting.
function hueOf(device: string): CSSProperties {
  const hue = (Number.parseInt(device.slice(0, 4), 16) || 0) % 360;
  return { "--hue": String(hue) } as CSSProperties;
}
