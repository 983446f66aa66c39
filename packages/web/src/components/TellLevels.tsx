/** Whether the server may know how loud one is: asked in the lobby and in the settings, remembered in this browser. */
import type { JSX } from "react";

import { readStored, writeStored } from "../theme.ts";

const levelsKey = "satsuma.audio-levels";

export function storedTellsLevels(): boolean {
  return readStored(levelsKey) === "told";
}

export function storeTellsLevels(told: boolean): void {
  writeStored(levelsKey, told ? "told" : "hidden");
}

interface Props {
  readonly told: boolean;
  readonly onChange: (told: boolean) => void;
}

export function TellLevels({ told, onChange }: Props): JSX.Element {
  return (
    <div className="choice">
      <label>
        <input type="checkbox" checked={told} aria-describedby="tell-levels" onChange={(event) => onChange(event.currentTarget.checked)} /> Let the server see when I speak
      </label>
      <p id="tell-levels" className="hint">
        For meetings with more people than fit on a screen: when you begin to speak, your picture reaches the others at once. The server and your network then know exactly when you speak
        and how loud you are, never what you say. Without it the others’ browsers hear who speaks, and ask for the picture a moment later.
      </p>
    </div>
  );
}
