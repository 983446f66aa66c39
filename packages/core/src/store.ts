/** An immutable value that others watch. */
export class Store<State> {
  #state: State;
  readonly #listeners = new Set<(state: State) => void>();

  constructor(state: State) {
    this.#state = state;
  }

  get state(): State {
    return this.#state;
  }

  set(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) listener(state);
  }

  subscribe(listener: (state: State) => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    // A wrapper of its own, so that one function may subscribe twice.
    const entry = (state: State): void => listener(state);
    this.#listeners.add(entry);
    signal.addEventListener("abort", () => this.#listeners.delete(entry), { once: true });
  }
}
