/** One WebSocket after another to the same server, with a back-off between them. Bytes in, bytes out; no meaning. */

const subprotocol = "satsuma.1";
const connectTimeoutMs = 5000;
const firstDelayMs = 200;
const maxDelayMs = 5000;
/** A connection that the server ends sooner did not help: the back-off goes on. */
const lastingMs = 3000;

export interface SocketListener {
  handleConnecting(attempt: number): void;
  handleOpen(): void;
  /** `wasOpen`: the session saw this connection. */
  handleClosed(code: number, wasOpen: boolean, attempt: number): void;
  handleBinary(bytes: Uint8Array<ArrayBuffer>): void;
  handleText(text: string): void;
}

export class ReconnectingSocket {
  readonly #url: string;
  readonly #listener: SocketListener;
  #socket: WebSocket | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #confirmedAt: number | null = null;
  #stopped = false;

  constructor(url: string, listener: SocketListener) {
    this.#url = url;
    this.#listener = listener;
  }

  connect(): void {
    if (this.#stopped || this.#socket !== null) return;
    clearTimeout(this.#timer);
    this.#attempt += 1;
    const socket = new WebSocket(this.#url, subprotocol);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    let open = false;
    const timeout = setTimeout(() => finish(1006), connectTimeoutMs);
    const finish = (closeCode: number): void => {
      if (this.#socket !== socket) return;
      clearTimeout(timeout);
      this.#socket = null;
      socket.close();
      const attempt = this.#attempt;
      this.#forgetFailuresIfLasting();
      this.#scheduleReconnect();
      this.#listener.handleClosed(closeCode, open, attempt);
    };
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      clearTimeout(timeout);
      open = true;
      this.#listener.handleOpen();
    };
    socket.onclose = (event) => finish(event.code);
    socket.onmessage = (event: MessageEvent<unknown>) => {
      if (this.#socket !== socket) return;
      if (event.data instanceof ArrayBuffer) this.#listener.handleBinary(new Uint8Array(event.data));
      else if (typeof event.data === "string") this.#listener.handleText(event.data);
    };
    this.#listener.handleConnecting(this.#attempt);
  }

  send(data: Uint8Array<ArrayBuffer> | string): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  /** Closes the present connection and makes a new one after the delay. */
  reconnectAfter(delayMs: number): void {
    const socket = this.#socket;
    const wasOpen = socket?.readyState === WebSocket.OPEN;
    this.#socket = null;
    socket?.close(1000);
    clearTimeout(this.#timer);
    this.#forgetFailuresIfLasting();
    if (socket !== null) this.#listener.handleClosed(1000, wasOpen, this.#attempt);
    if (!this.#stopped) this.#timer = setTimeout(() => this.connect(), delayMs);
  }

  /** The server knows us. If that lasts for a while, the next failure starts the back-off anew. */
  confirm(): void {
    this.#confirmedAt = performance.now();
  }

  /** The network came back: what was open may be dead without knowing it, and nothing is worth waiting for. */
  renew(): void {
    if (this.#socket !== null || this.#timer !== undefined) this.reconnectAfter(0);
  }

  /** For good; what was sent before is still delivered. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #forgetFailuresIfLasting(): void {
    if (this.#confirmedAt !== null && performance.now() - this.#confirmedAt > lastingMs) this.#attempt = 0;
    this.#confirmedAt = null;
  }

  #scheduleReconnect(): void {
    if (this.#stopped) return;
    const delay = Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(this.#attempt, 10));
    // Spread, so that a restarted server is not met by everybody at once.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.connect(), delay * (0.5 + Math.random()));
  }
}
