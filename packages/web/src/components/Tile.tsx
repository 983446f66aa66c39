import type { Participant } from "@satsuma/core";
import { AudioLines, LockKeyhole, Maximize2, MicOff, TriangleAlert, WifiOff } from "lucide-react";
import { type CSSProperties, type JSX, useEffect, useState } from "react";
import { Button } from "react-aria-components";

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
  const [isFull, toggleFullScreen] = useFullScreen();
  return (
    <figure
      onDoubleClick={(event) => {
        const onButton = event.target instanceof Element && event.target.closest("button") !== null;
        if (!onButton && shown !== null) toggleFullScreen();
      }}
      className={`tile ${source}${speaks ? " speaking" : ""}${large ? " large" : ""}${isFull ? " full" : ""}`}
      data-speaking={speaks} aria-label={title} data-participant={participant.id} data-source={source} data-proof={proof}>
      {shown !== null ? (
        <Video stream={shown} mirrored={participant.isSelf && source === "camera"} contain={source === "screen"} label={`Picture of ${title}`} />
      ) : (
        <div className="tile-avatar" style={hueOf(participant.device)}>
          <span aria-hidden="true">{initials(name)}</span>
        </div>
      )}
      {participant.deviceProof === "refuted" && (
        <div className="tile-veil" role="alert">
          <TriangleAlert size={20} aria-hidden="true" />
          <span>
            Not the device that <bdi>{name}</bdi> claims to be
          </span>
        </div>
      )}
      {proof === "forged" && (
        <div className="tile-veil" role="alert">
          <TriangleAlert size={20} aria-hidden="true" />
          <span>
            Forged: <bdi>{name}</bdi> did not send this
          </span>
        </div>
      )}
      {!participant.connected && (
        <div className="tile-veil">
          <WifiOff size={20} aria-hidden="true" /> {participant.departed ? "Left" : "Connection lost"}
        </div>
      )}
      {shown !== null && document.fullscreenEnabled && (
        <Button className="tile-button" aria-label={`${title}: full screen, and back`} onPress={toggleFullScreen}>
          <Maximize2 size={18} aria-hidden="true" />
        </Button>
      )}
      <figcaption>
        {source === "camera" && !participant.microphone.on && <MicOff size={15} aria-label="Microphone off" role="img" />}
        {speaks && <AudioLines size={15} aria-label="Speaking" role="img" />}
        <span className="tile-name">
          <bdi>{name}</bdi>
          {title.slice(name.length)}
        </span>
        {proof === "encrypted" && shown !== null && (
          <LockKeyhole size={14} role="img" aria-label={participant.isSelf ? "Encrypted before it leaves" : `Decrypted with ${name}'s own key`} />
        )}
      </figcaption>
    </figure>
  );
}

/**
 * The whole page goes full screen and the tile fills it, so that who comes in, what is written and what goes wrong is still seen above it.
 * Refused where the browser has none, or asks for a touch first: the tile stays as large as it is.
 */
function useFullScreen(): readonly [boolean, () => void] {
  const [isFull, setFull] = useState(false);
  useEffect(() => {
    if (!isFull) return;
    const ended = new AbortController();
    document.addEventListener(
      "fullscreenchange",
      () => {
        if (document.fullscreenElement === null) setFull(false);
      },
      { signal: ended.signal },
    );
    return () => {
      ended.abort();
      // The tile is gone, with who was in it or what was shared.
      if (document.fullscreenElement !== null) void document.exitFullscreen().catch(() => undefined);
    };
  }, [isFull]);
  const toggle = (): void => {
    if (document.fullscreenElement !== null) void document.exitFullscreen().catch(() => undefined);
    else if (document.fullscreenEnabled) {
      void document.documentElement.requestFullscreen().then(
        () => setFull(true),
        () => undefined,
      );
    }
  };
  return [isFull, toggle];
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
