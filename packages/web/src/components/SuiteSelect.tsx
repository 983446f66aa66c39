import { roomSuites, type RoomSuite } from "@satsuma/core";
import { ChevronDown } from "lucide-react";
import type { JSX } from "react";
import { Button, Label, ListBox, ListBoxItem, Popover, Select, SelectValue, Text } from "react-aria-components";

import { suiteWords } from "../words.ts";

interface Props {
  readonly suite: RoomSuite;
  readonly onChoose: (suite: RoomSuite) => void;
}

/** For a room that is to be made: its link says it to everybody, and nobody can change it afterwards. */
export function SuiteSelect({ suite, onChoose }: Props): JSX.Element {
  return (
    <Select
      className="suite-select"
      selectedKey={suite}
      onSelectionChange={(key) => {
        const chosen = roomSuites.find((one) => one === key);
        if (chosen !== undefined) onChoose(chosen);
      }}
    >
      <Label className="visually-hidden">Encryption of a new room</Label>
      <Button className="select-button">
        <SelectValue>{suiteWords[suite].name}</SelectValue>
        <ChevronDown size={16} aria-hidden="true" />
      </Button>
      <Text slot="description" className="hint">
        {suiteWords[suite].what}
      </Text>
      <Popover className="popover">
        <ListBox className="listbox" items={roomSuites.map((id) => ({ id, ...suiteWords[id] }))}>
          {(item) => (
            <ListBoxItem className="listbox-item" textValue={item.name}>
              <Text slot="label">{item.name}</Text>
              <Text slot="description" className="hint">
                {item.what}
              </Text>
            </ListBoxItem>
          )}
        </ListBox>
      </Popover>
    </Select>
  );
}
