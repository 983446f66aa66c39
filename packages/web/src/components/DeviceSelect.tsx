import type { DeviceKind, Devices } from "@satsuma/core";
import { ChevronDown } from "lucide-react";
import type { JSX } from "react";
import { Button, Label, ListBox, ListBoxItem, Popover, Select, SelectValue } from "react-aria-components";

const labels: Readonly<Record<DeviceKind, string>> = { microphone: "Microphone", camera: "Camera", speaker: "Speaker" };
const systemDefault = "default-of-the-system";

interface Props {
  readonly kind: DeviceKind;
  readonly devices: Devices;
  readonly onChoose: (kind: DeviceKind, id: string | null) => void;
}

export function DeviceSelect({ kind, devices, onChoose }: Props): JSX.Element | null {
  const choices = devices.available.filter((device) => device.kind === kind && device.id !== "" && device.id !== "default");
  if (choices.length === 0 && kind === "speaker") return null; // the browser leaves it to the system
  const items = [
    { id: systemDefault, name: "System default" },
    ...choices.map((device, index) => ({ id: device.id, name: device.label === "" ? `${labels[kind]} ${String(index + 1)}` : device.label })),
  ];
  return (
    <Select
      className="device-select"
      selectedKey={items.find(({ id }) => id === devices.chosen[kind])?.id ?? systemDefault}
      onSelectionChange={(key) => onChoose(kind, key === systemDefault || key === null ? null : String(key))}
    >
      <Label>{labels[kind]}</Label>
      <Button className="select-button">
        <SelectValue />
        <ChevronDown size={16} aria-hidden="true" />
      </Button>
      <Popover className="popover">
        <ListBox className="listbox" items={items}>
          {(item) => <ListBoxItem className="listbox-item">{item.name}</ListBoxItem>}
        </ListBox>
      </Popover>
    </Select>
  );
}
