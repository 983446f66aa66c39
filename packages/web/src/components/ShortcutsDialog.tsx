import { useEffect, useState, type JSX } from "react";

import { TitledDialog } from "./TitledDialog.tsx";

const keys: readonly (readonly [string, string])[] = [
  ["Ctrl + D", "Microphone on or off"],
  ["Ctrl + E", "Camera on or off"],
  ["Tab, Shift + Tab", "To the next control, to the one before"],
  ["Enter or Space", "Press it"],
  ["Esc", "Close a dialog, leave full screen"],
  ["Double click", "A picture in full screen, and back; it has a button for that too"],
  ["?", "This list"],
];

/** Opens by itself when somebody asks with the question mark. */
export function ShortcutsDialog(): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    const ended = new AbortController();
    window.addEventListener(
      "keydown",
      (event) => {
        if (event.key !== "?" || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
        if (document.querySelector("[role=dialog]") !== null) return;
        event.preventDefault();
        setOpen(true);
      },
      { signal: ended.signal },
    );
    return () => ended.abort();
  }, []);
  return (
    <TitledDialog title="Keys" isOpen={isOpen} onOpenChange={setOpen}>
      <KeyList />
    </TitledDialog>
  );
}

export function KeyList(): JSX.Element {
  return (
    <>
      <dl className="keys">
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p className="hint">On a Mac, Command in place of Ctrl.</p>
    </>
  );
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName));
}
