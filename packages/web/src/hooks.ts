import { useCallback, useEffect, useRef, useSyncExternalStore } from "react";

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

/** Tells the meeting what of the others is on the screen, and how large: what is not is not sent. */
export function useView(setView: (heights: ReadonlyMap<MediaStream, number>) => void): void {
  useEffect(() => {
    const measure = (): void => {
      const heights = new Map<MediaStream, number>();
      for (const video of document.querySelectorAll("video")) {
        const box = video.getBoundingClientRect();
        const visible = box.bottom > 0 && box.right > 0 && box.top < window.innerHeight && box.left < window.innerWidth && box.height > 0;
        const stream = video.srcObject;
        if (!visible || !(stream instanceof MediaStream)) continue;
        // In steps, so that each pixel of a resize is no news.
        const height = Math.ceil((box.height * window.devicePixelRatio) / 30) * 30;
        heights.set(stream, Math.max(height, heights.get(stream) ?? 0));
      }
      setView(heights);
    };
    const timer = setInterval(measure, viewIntervalMs);
    return () => clearInterval(timer);
  }, [setView]);
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
