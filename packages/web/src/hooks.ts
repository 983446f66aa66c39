import type { ChatMessage, Participant, ParticipantId, StageView } from "@satsuma/core";
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";

import { comingsText } from "./words.ts";

interface Store<State> {
  getState(): State;
  subscribe(listener: (state: State) => void, signal: AbortSignal): void;
}

export function useStore<State>(store: Store<State>): State {
  const subscribe = useCallback(
    (listener: () => void) => {
      const ended = new AbortController();
      store.subscribe(listener, ended.signal);
      return () => ended.abort();
    },
    [store],
  );
  return useSyncExternalStore(subscribe, () => store.getState());
}

const viewIntervalMs = 500;

/**
 * Tells the meeting which tiles of the others are on the screen, and how large: what is not is not sent. At once when other people have tiles
 * (`shown` names them) than before.
 */
export function useView(setView: (stage: StageView) => void, participants: readonly Participant[], shown: readonly string[]): void {
  const latest = useRef(participants);
  latest.current = participants;
  const names = shown.join();
  useEffect(() => {
    const measure = (): void => {
      const tiles: StageView["tiles"][number][] = [];
      for (const tile of document.querySelectorAll<HTMLElement>("figure[data-participant]")) {
        const box = tile.getBoundingClientRect();
        const visible = box.bottom > 0 && box.right > 0 && box.top < window.innerHeight && box.left < window.innerWidth && box.height > 0;
        const participant = latest.current.find(({ id }) => id === tile.dataset["participant"]);
        if (!visible || participant === undefined || participant.isSelf) continue;
        // In steps, so that each pixel of a resize is no news.
        const height = Math.ceil((box.height * window.devicePixelRatio) / 30) * 30;
        tiles.push({ participant: participant.id, source: tile.dataset["source"] === "screen" ? "screen" : "camera", height });
      }
      setView({ tiles, isCrowded: names !== "" && names.split(",").length < latest.current.length });
    };
    measure();
    const timer = setInterval(measure, viewIntervalMs);
    return () => clearInterval(timer);
  }, [setView, names]);
}

/** While this is shown the screen does not go dark, where the browser lets a page ask for that; it forgets it whenever the page is hidden. */
export function useAwakeScreen(): void {
  useEffect(() => {
    const ended = new AbortController();
    let lock: WakeLockSentinel | null = null;
    const ask = async (): Promise<void> => {
      if (document.visibilityState !== "visible") return;
      try {
        lock = await navigator.wakeLock.request("screen");
        if (ended.signal.aborted) await lock.release();
      } catch {
        // Refused to save the battery, or unknown to this browser.
      }
    };
    void ask();
    document.addEventListener("visibilitychange", () => void ask(), { signal: ended.signal });
    return () => {
      ended.abort();
      void lock?.release();
    };
  }, []);
}

/** Whether the window is one of the wide ones of styles.css. */
export function useIsWide(): boolean {
  const [query] = useState(() => window.matchMedia("(min-width: 821px)"));
  const subscribe = useCallback(
    (listener: () => void) => {
      query.addEventListener("change", listener);
      return () => query.removeEventListener("change", listener);
    },
    [query],
  );
  return useSyncExternalStore(subscribe, () => query.matches);
}

/** Shortcuts of the whole page; Ctrl or, on a Mac, Command with a letter. */
export function useShortcuts(shortcuts: Readonly<Record<string, () => void>>): void {
  const latest = useRef(shortcuts);
  latest.current = shortcuts;
  useEffect(() => {
    const ended = new AbortController();
    window.addEventListener(
      "keydown",
      (event) => {
        if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.repeat) return;
        const action = latest.current[event.key.toLowerCase()];
        if (action === undefined) return;
        event.preventDefault();
        action();
      },
      { signal: ended.signal },
    );
    return () => ended.abort();
  }, []);
}

/** Who had a device that was found false stays in it, gone or not: what they wrote is still there. */
export function useRefuted(participants: readonly Participant[]): ReadonlySet<ParticipantId> {
  const [refuted, setRefuted] = useState<ReadonlySet<ParticipantId>>(new Set());
  const found = participants.filter(({ id, deviceProof }) => deviceProof === "refuted" && !refuted.has(id));
  if (found.length === 0) return refuted;
  const all = new Set([...refuted, ...found.map(({ id }) => id)]);
  setRefuted(all);
  return all;
}

/** Somebody came or went, between what was written. */
export interface Coming {
  readonly id: string;
  readonly sender: null;
  readonly at: number;
  readonly text: string;
}

const maxComings = 200;

/** Who came and went while the page was watched, by the group's own list. */
export function useComings(participants: readonly Participant[]): readonly Coming[] {
  const [comings, setComings] = useState<readonly Coming[]>([]);
  const before = useRef<ReadonlyMap<ParticipantId, string>>(new Map());
  const next = useRef(0);
  useEffect(() => {
    if (participants.length === 0) return; // on the way in, also anew
    const now = new Map(participants.filter(({ isSelf }) => !isSelf).map(({ id, name }) => [id, name]));
    const isFirst = next.current === 0;
    const joined = [...now].filter(([id]) => !before.current.has(id)).map(([, name]) => name);
    const left = [...before.current].filter(([id]) => !now.has(id)).map(([, name]) => name);
    before.current = now;
    next.current += 1;
    if (isFirst || joined.length + left.length === 0) return;
    const coming = { id: `coming-${String(next.current)}`, sender: null, at: Date.now(), text: comingsText(joined, left) };
    setComings((earlier) => [...earlier, coming].slice(-maxComings));
  }, [participants]);
  return comings;
}

/** What came while the chat was closed: how many, and for a moment the latest. */
export function useUnread(messages: readonly ChatMessage[], isOpen: boolean): { readonly unread: number; readonly latest: ChatMessage | null } {
  const [seen, setSeen] = useState<string | null>(null);
  const [expired, setExpired] = useState<string | null>(null);
  const last = messages.at(-1) ?? null;
  useEffect(() => {
    if (isOpen && last !== null) setSeen(last.id);
  }, [isOpen, last]);
  useEffect(() => {
    if (last === null) return;
    const timer = setTimeout(() => setExpired(last.id), 6000);
    return () => clearTimeout(timer);
  }, [last]);
  const after = messages.findIndex(({ id }) => id === seen) + 1;
  const unread = isOpen ? 0 : messages.slice(after).filter(({ isSelf }) => !isSelf).length;
  return { unread, latest: unread > 0 && last !== null && !last.isSelf && last.id !== expired ? last : null };
}
