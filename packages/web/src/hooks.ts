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
