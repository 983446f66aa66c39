/** The page's end of the engine's worker. */
import { type Counts, type EncoderRecording, type FromWorker, isFromWorker, type ToWorker } from "./messages.ts";

const answerTimeoutMs = 3000;

export class EngineClient {
  readonly worker: Worker;
  /** Transforms may be made from then on: before, the worker might miss them. */
  readonly listening: Promise<void>;
  readonly #waiting = new Map<number, (message: FromWorker) => void>();
  #request = 0;
  #listener: ((message: FromWorker) => void) | null = null;
  /** What came before anybody listened: hardly more than "listening", or why it could not start. */
  #early: FromWorker[] = [];

  constructor() {
    this.worker = new Worker(new URL("./engine.worker.ts", import.meta.url), { type: "module", name: "satsuma engine" });
    this.listening = new Promise((resolve) => {
      this.worker.addEventListener("message", (event: MessageEvent<unknown>) => {
        const message = event.data;
        if (!isFromWorker(message)) return;
        if (message.type === "listening") resolve();
        if (message.type === "counts" || message.type === "recordings") this.#waiting.get(message.request)?.(message);
        else this.#deliver(message);
      });
    });
    this.worker.addEventListener("error", (event) => {
      this.#deliver({ type: "failed", reason: event.message === "" ? "the worker did not start" : event.message });
    });
  }

  listen(listener: (message: FromWorker) => void): void {
    this.#listener = listener;
    for (const message of this.#early.splice(0)) listener(message);
  }

  post(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  async counts(restartGaps = false): Promise<Counts | null> {
    const answer = await this.#ask((request) => ({ type: "counts", request, restartGaps }));
    return answer?.type === "counts" ? answer.counts : null;
  }

  async recordings(): Promise<readonly EncoderRecording[]> {
    const answer = await this.#ask((request) => ({ type: "recordings", request }));
    return answer?.type === "recordings" ? answer.recordings : [];
  }

  /** Wipes everything that it holds. */
  terminate(): void {
    this.worker.terminate();
  }

  #deliver(message: FromWorker): void {
    if (this.#listener === null) this.#early.push(message);
    else this.#listener(message);
  }

  #ask(make: (request: number) => ToWorker): Promise<FromWorker | null> {
    this.#request += 1;
    const request = this.#request;
    return new Promise((resolve) => {
      const finish = (message: FromWorker | null): void => {
        clearTimeout(timer);
        this.#waiting.delete(request);
        resolve(message);
      };
      const timer = setTimeout(() => finish(null), answerTimeoutMs);
      this.#waiting.set(request, finish);
      this.post(make(request));
    });
  }
}

let spare: EngineClient | null = null;

/** Starts an engine ahead of time: it takes some ten milliseconds that nobody should wait for after a click. */
export function prepareEngine(): void {
  spare ??= new EngineClient();
}

export function takeEngine(): EngineClient {
  const engine = spare ?? new EngineClient();
  spare = null;
  return engine;
}
