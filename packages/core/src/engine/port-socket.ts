/** In place of a WebSocket: a MessagePort, at whose other end somebody's own signaling takes binary messages and gives them. */
import type { SocketListener } from "./socket.ts";

export class PortSocket {
  readonly #port: MessagePort;
  readonly #listener: SocketListener;
  #open = false;
  #stopped = false;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(port: MessagePort, listener: SocketListener) {
    this.#port = port;
    this.#listener = listener;
    port.onmessage = (event: MessageEvent<unknown>) => {
      if (!this.#open) return;
      if (event.data instanceof Uint8Array) listener.handleBinary(new Uint8Array(event.data));
    };
  }

  connect(): void {
    if (this.#stopped || this.#open) return;
    this.#attempt += 1;
    this.#listener.handleConnecting(this.#attempt);
    this.#open = true;
    this.#listener.handleOpen();
  }

  /** Media control is between a page and our server alone. */
  send(data: Uint8Array<ArrayBuffer> | string): void {
    if (this.#open && typeof data !== "string") this.#port.postMessage(data, [data.buffer]);
  }

  /** The next message is a hello again. */
  reconnectAfter(delayMs: number): void {
    const wasOpen = this.#open;
    this.#open = false;
    clearTimeout(this.#timer);
    if (wasOpen) this.#listener.handleClosed(1000, true, this.#attempt);
    if (!this.#stopped) this.#timer = setTimeout(() => this.connect(), delayMs);
  }

  confirm(): void {
    this.#attempt = 0;
  }

  renew(): void {
    // What carries the port looks after itself.
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#open = false;
    this.#port.close();
  }
}
