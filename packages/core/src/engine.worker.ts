/** The engine's worker: wires its global scope to an Engine. */
import { Engine, type Transformer } from "./engine/engine.ts";
import { loadModule } from "./engine/module.ts";
import { type FromWorker, isToWorker, parseTransformOptions } from "./messages.ts";

interface TransformEvent {
  readonly transformer: Transformer & { readonly options: unknown };
}

/** What we use of DedicatedWorkerGlobalScope; the DOM and worker libraries of TypeScript exclude each other. */
interface WorkerScope {
  postMessage(message: FromWorker): void;
  addEventListener(type: "message", listener: (event: MessageEvent<unknown>) => void): void;
  addEventListener(type: "online", listener: () => void): void;
  addEventListener(type: "rtctransform", listener: (event: TransformEvent) => void): void;
}

const scope = globalThis as unknown as WorkerScope;
const engine = new Engine(loadModule(new URL("../wasm/satsuma.wasm", import.meta.url)), (message) =>
  scope.postMessage(message),
);

scope.addEventListener("message", (event) => {
  if (isToWorker(event.data)) engine.handleMessage(event.data);
});
scope.addEventListener("online", () => engine.handleOnline());
scope.addEventListener("rtctransform", ({ transformer }) => {
  const options = parseTransformOptions(transformer.options);
  // Without a known purpose the stream stays unread: nothing passes.
  if (options !== null) engine.handleTransform(transformer, options);
});
scope.postMessage({ type: "listening" });
