import type { Device, DeviceKind, Devices, MeetingStats, ParticipantId } from "@satsuma/core";
import { Settings } from "lucide-react";
import type { JSX } from "react";
import { DialogTrigger } from "react-aria-components";

import { DeviceSelect } from "./DeviceSelect.tsx";
import { IconButton } from "./IconButton.tsx";
import { LevelMeter } from "./LevelMeter.tsx";
import { KeyList } from "./ShortcutsDialog.tsx";
import { Statistics } from "./Statistics.tsx";
import { TellLevels } from "./TellLevels.tsx";
import { ThemeButton } from "./ThemeButton.tsx";
import { TitledDialog } from "./TitledDialog.tsx";

interface Props {
  readonly devices: Devices;
  readonly microphoneOn: boolean;
  readonly watchLevel: (listener: (level: number) => void, signal: AbortSignal) => void;
  readonly stats: () => Promise<MeetingStats>;
  readonly nameOf: (participant: ParticipantId) => string;
  readonly tellsLevels: boolean;
  readonly onTellLevels: (told: boolean) => void;
  readonly onChoose: (kind: DeviceKind, id: Device["id"] | null) => void;
}

export function SettingsDialog({ devices, microphoneOn, watchLevel, stats, nameOf, tellsLevels, onTellLevels, onChoose }: Props): JSX.Element {
  return (
    <DialogTrigger>
      <IconButton label="Settings">
        <Settings aria-hidden="true" />
      </IconButton>
      <TitledDialog title="Settings">
        <div className="device-list">
          <DeviceSelect kind="microphone" devices={devices} onChoose={onChoose} />
          <LevelMeter watch={watchLevel} active={microphoneOn} />
          <DeviceSelect kind="camera" devices={devices} onChoose={onChoose} />
          <DeviceSelect kind="speaker" devices={devices} onChoose={onChoose} />
        </div>
        <div className="row">
          <span>Colours</span>
          <ThemeButton />
        </div>
        <TellLevels told={tellsLevels} onChange={onTellLevels} />
        <Statistics stats={stats} nameOf={nameOf} />
        <details>
          <summary>Keys</summary>
          <KeyList />
        </details>
      </TitledDialog>
    </DialogTrigger>
  );
}
