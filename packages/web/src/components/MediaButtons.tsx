import type { LocalSource } from "@satsuma/core";
import { Mic, MicOff, Video as VideoIcon, VideoOff } from "lucide-react";
import type { JSX } from "react";

import { IconButton } from "./IconButton.tsx";

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
      <IconButton label={micOn ? "Mute microphone" : "Unmute microphone"} shortcut="D" off={!micOn} onPress={() => onMicrophone(!micOn)}>
        {micOn ? <Mic aria-hidden="true" /> : <MicOff aria-hidden="true" />}
      </IconButton>
      <IconButton label={cameraOn ? "Turn off camera" : "Turn on camera"} shortcut="E" off={!cameraOn} onPress={() => onCamera(!cameraOn)}>
        {cameraOn ? <VideoIcon aria-hidden="true" /> : <VideoOff aria-hidden="true" />}
      </IconButton>
    </>
  );
}
