import type { LocalSource } from "@satsuma/core";
import { Mic, MicOff, Video as VideoIcon, VideoOff } from "lucide-react";
import type { JSX } from "react";
import { Button, Tooltip, TooltipTrigger } from "react-aria-components";

interface Props {
  readonly microphone: LocalSource;
  readonly camera: LocalSource;
  readonly onMicrophone: (on: boolean) => void;
  readonly onCamera: (on: boolean) => void;
}

export function isOn(source: LocalSource): boolean {
  return source.status === "on" || source.status === "starting";
}

/** The same two switches in the lobby and in the room. */
export function MediaButtons({ microphone, camera, onMicrophone, onCamera }: Props): JSX.Element {
  const micOn = isOn(microphone);
  const cameraOn = isOn(camera);
  return (
    <>
      <TooltipTrigger delay={500}>
        <Button
          className={`round-button${micOn ? "" : " off"}`}
          aria-label={micOn ? "Mute microphone" : "Unmute microphone"}
          aria-keyshortcuts="Control+D"
          onPress={() => onMicrophone(!micOn)}
        >
          {micOn ? <Mic aria-hidden="true" /> : <MicOff aria-hidden="true" />}
        </Button>
        <Tooltip className="tooltip">{micOn ? "Mute microphone" : "Unmute microphone"} (Ctrl+D)</Tooltip>
      </TooltipTrigger>
      <TooltipTrigger delay={500}>
        <Button
          className={`round-button${cameraOn ? "" : " off"}`}
          aria-label={cameraOn ? "Turn off camera" : "Turn on camera"}
          aria-keyshortcuts="Control+E"
          onPress={() => onCamera(!cameraOn)}
        >
          {cameraOn ? <VideoIcon aria-hidden="true" /> : <VideoOff aria-hidden="true" />}
        </Button>
        <Tooltip className="tooltip">{cameraOn ? "Turn off camera" : "Turn on camera"} (Ctrl+E)</Tooltip>
      </TooltipTrigger>
    </>
  );
}
