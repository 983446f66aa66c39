import { createMeeting, createPreview, type DeviceError, type DeviceKind, type LocalPreview, type LocalSource, type Meeting, type RoomLink } from "@satsuma/core";
import { CameraOff } from "lucide-react";
import { useCallback, useEffect, useState, type JSX } from "react";
import { Button, Form, Input, Label, TextField } from "react-aria-components";

import { AboutDialog } from "../components/AboutDialog.tsx";
import { Brand } from "../components/Brand.tsx";
import { DeviceSelect } from "../components/DeviceSelect.tsx";
import { LevelMeter } from "../components/LevelMeter.tsx";
import { isOn, MediaButtons } from "../components/MediaButtons.tsx";
import { storedTellsLevels, storeTellsLevels, TellLevels } from "../components/TellLevels.tsx";
import { ThemeButton } from "../components/ThemeButton.tsx";
import { Video } from "../components/Video.tsx";
import { useShortcuts, useStore } from "../hooks.ts";
import { rememberDevice, rememberedDevice, rememberOff, wasOff } from "../remembered.ts";
import { readStored, writeStored } from "../theme.ts";
import { suiteWords } from "../words.ts";

const nameKey = "satsuma.name";

interface Props {
  readonly link: Extract<RoomLink, { kind: "complete" }>;
  readonly onEnter: (meeting: Meeting) => void;
}

export function Lobby(props: Props): JSX.Element {
  const [preview, setPreview] = useState<LocalPreview | null>(null);
  useEffect(() => {
    const created = createPreview();
    setPreview(created);
    for (const kind of ["microphone", "camera", "speaker"] as const) void created.chooseDevice(kind, rememberedDevice(kind));
    if (!wasOff("camera")) void created.setCamera(true);
    if (!wasOff("microphone")) void created.setMicrophone(true);
    return () => created.stop(); // what was taken into the meeting goes on
  }, []);
  return preview === null ? <div className="page" /> : <LobbyWithPreview {...props} preview={preview} />;
}

function LobbyWithPreview({ link, onEnter, preview }: Props & { readonly preview: LocalPreview }): JSX.Element {
  const state = useStore(preview);
  const [name, setName] = useState(() => readStored(nameKey) ?? "");
  const [tellsLevels, setTellsLevels] = useState(storedTellsLevels);
  const watchLevel = useCallback(preview.watchMicrophoneLevel.bind(preview), [preview]);
  useEffect(() => {
    document.title = `${link.room} – Satsuma`;
  }, [link.room]);
  useShortcuts({
    d: () => void preview.setMicrophone(!isOn(state.microphone)),
    e: () => void preview.setCamera(!isOn(state.camera)),
  });

  function chooseDevice(kind: DeviceKind, id: string | null): void {
    rememberDevice(kind, id);
    void preview.chooseDevice(kind, id);
  }

  function enter(): void {
    writeStored(nameKey, name.trim());
    rememberOff("microphone", state.microphone.status === "off");
    rememberOff("camera", state.camera.status === "off");
    storeTellsLevels(tellsLevels);
    const meeting = createMeeting({
      serverUrl: location.origin,
      room: link.room,
      secret: link.secret,
      suite: link.suite,
      displayName: name.trim() === "" ? "Guest" : name.trim(),
      audioLevels: tellsLevels ? "told" : "hidden",
      devices: state.devices.chosen,
      local: preview.take(),
    });
    // What was still starting could not be taken along.
    if (state.microphone.status === "starting") void meeting.setMicrophone(true);
    if (state.camera.status === "starting") void meeting.setCamera(true);
    onEnter(meeting);
    void meeting.join();
  }

  return (
    <div className="page">
      <header className="page-header">
        <Brand />
        <ThemeButton />
      </header>
      <main className="lobby">
        <section className="lobby-preview" aria-label="Your picture">
          <div className="tile camera">
            {state.cameraStream !== null ? (
              <Video stream={state.cameraStream} mirrored label="Your own picture" />
            ) : (
              <div className="tile-avatar">
                <CameraOff size={40} aria-hidden="true" />
                <span className="hint">{state.camera.status === "starting" ? "The camera starts…" : "Your camera is off"}</span>
              </div>
            )}
            <div className="lobby-controls">
              <MediaButtons
                microphone={state.microphone}
                camera={state.camera}
                onMicrophone={(on) => void preview.setMicrophone(on)}
                onCamera={(on) => void preview.setCamera(on)}
              />
            </div>
          </div>
          <DeviceProblem what="Camera" source={state.camera} />
          <DeviceProblem what="Microphone" source={state.microphone} />
        </section>
        <section className="lobby-form">
          <p className="eyebrow">You are about to enter</p>
          <h1>{link.room}</h1>
          <Form
            onSubmit={(event) => {
              event.preventDefault();
              enter();
            }}
          >
            <TextField value={name} onChange={setName} autoFocus>
              <Label>Your name</Label>
              <Input placeholder="How the others see you" autoComplete="name" maxLength={40} />
            </TextField>
            <Button type="submit" className="primary-button wide">
              Join
            </Button>
            <div className="device-list">
              <DeviceSelect kind="microphone" devices={state.devices} onChoose={chooseDevice} />
              <LevelMeter watch={watchLevel} active={state.microphone.status === "on"} />
              <DeviceSelect kind="camera" devices={state.devices} onChoose={chooseDevice} />
              <DeviceSelect kind="speaker" devices={state.devices} onChoose={chooseDevice} />
            </div>
            <details className="hint">
              <summary>For very large meetings</summary>
              <TellLevels told={tellsLevels} onChange={setTellsLevels} />
            </details>
          </Form>
          <p className="hint">
            Your name, picture and sound are encrypted on this device. The server sees none of them. Encryption of this room: {suiteWords[link.suite].name} ({suiteWords[link.suite].what.split(". ")[0]}).
          </p>
          <AboutDialog />
        </section>
      </main>
    </div>
  );
}

function DeviceProblem({ what, source }: { readonly what: string; readonly source: LocalSource }): JSX.Element | null {
  if (source.status !== "failed") return null;
  const error: DeviceError = source.error;
  return (
    <p className="inline-problem" role="alert">
      <strong>
        {what}: {error.message}
      </strong>{" "}
      {error.advice} You can also join without.
    </p>
  );
}
