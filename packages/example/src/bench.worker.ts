/** What a transform costs that copies each frame and does nothing else: two ways to wire it, told apart by the option `way`. */
interface Options {
  readonly way: "pipe" | "writer";
}
interface Scope {
  postMessage(message: unknown): void;
  addEventListener(type: string, listener: (event: never) => void): void;
}
type Frame = RTCEncodedVideoFrame | RTCEncodedAudioFrame;
interface TransformEvent {
  readonly transformer: { readonly readable: ReadableStream<Frame>; readonly writable: WritableStream<Frame>; readonly options: Options };
}

const scope = globalThis as unknown as Scope;
let frames = 0;
let spentMs = 0;

function copy(frame: Frame): void {
  const begin = performance.now();
  frame.getMetadata();
  frame.data = new Uint8Array(frame.data).slice().buffer;
  frames += 1;
  spentMs += performance.now() - begin;
}

scope.addEventListener("rtctransform", ({ transformer: { readable, writable, options } }: TransformEvent) => {
  if (options.way === "pipe") {
    const stream = new TransformStream<Frame, Frame>({
      transform(frame, controller) {
        copy(frame);
        controller.enqueue(frame);
      },
    });
    readable.pipeThrough(stream).pipeTo(writable).catch(() => undefined);
  } else {
    const writer = writable.getWriter();
    const sink = new WritableStream<Frame>({
      write(frame) {
        copy(frame);
        void writer.write(frame);
      },
    });
    readable.pipeTo(sink).catch(() => undefined);
  }
});
scope.addEventListener("message", () => scope.postMessage({ frames, spentMs }));
scope.postMessage("ready");
